"""Announcements in the admin site."""

from collections.abc import Iterator
from datetime import time
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from registry_site import announcements
from registry_site.admin import front_page
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import DomainAdmin
from registry_site.admin.fields import MomentField
from registry_site.admin.front_page import Fact
from registry_site.errors import RegistryError
from registry_site.models import Announcement

PLACES = ("on_pages", "in_publish_warnings")


class AnnouncementForm(forms.ModelForm):
    starts_at = MomentField(label="Starts at", default_time=time.min, help_text="In UTC. Empty: at once.")
    ends_at = MomentField(
        label="Ends at", default_time=time(23, 59, 59), help_text="In UTC. Empty: until it is withdrawn."
    )

    class Meta:
        model = Announcement
        fields = ("text", "level", "starts_at", "ends_at", *PLACES)
        widgets = {"text": AdminTextareaWidget({"rows": 3}), "level": forms.RadioSelect}

    def clean(self) -> dict[str, Any] | None:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        try:
            announcement = announcements.new(**cleaned)
        except RegistryError as error:
            self.add_error(error.code, error.message)
            return None
        return {name: getattr(announcement, name) for name in cleaned}


@admin.register(Announcement)
class Announcements(DomainAdmin):
    """Announcements of staff. They are made and withdrawn, but never changed."""

    list_display = ("__str__", "level", "state", "starts_at", "ends_at", *PLACES, "created_by")
    list_filter = ("level", "starts_at")
    search_fields = ("text",)
    list_select_related = ("created_by",)
    form = AnnouncementForm
    staff_actions = (
        StaffAction(
            "withdraw",
            "Withdraw",
            "registry_site.change_announcement",
            announcements.withdraw,
            done="withdrawn",
            explanation="They are shown no longer, from some seconds on.",
            applies=lambda announcement: announcement.withdrawn_at is None,
        ),
    )

    def has_change_permission(self, request: HttpRequest, obj: Announcement | None = None) -> bool:
        return obj is None and bool(super().has_change_permission(request))

    @admin.display
    def state(self, announcement: Announcement) -> str:
        return announcement.state_at(timezone.now())

    def save_model(self, request: HttpRequest, obj: Announcement, form: Any, change: bool) -> None:
        announcements.announce(obj, actor=request.user)  # type: ignore[arg-type]  # staff have signed in


@front_page.add("registry_site.view_announcement", "Upkeep")
def announcements_of_today() -> Iterator[Fact]:
    """Yield how many announcements are shown now."""
    shown = len(announcements.current.get())
    yield Fact("Announcements", f"{shown} shown now", reverse("admin:registry_site_announcement_changelist"))
