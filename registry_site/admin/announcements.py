"""Announcements in the admin site."""

from collections.abc import Iterator
from datetime import time
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import linebreaksbr
from django.utils import timezone

from registry_site import announcements
from registry_site.admin import front_page
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import UnchangedAdmin
from registry_site.admin.fields import END_OF_DAY, MomentField
from registry_site.admin.object_pages import Description, Fact, ObjectPage, link_to, list_url
from registry_site.errors import RegistryError
from registry_site.models import Announcement

PLACES = ("on_pages", "in_publish_warnings")


class AnnouncementForm(forms.ModelForm):
    starts_at = MomentField(label="Starts at", default_time=time.min, help_text="In UTC. Empty: at once.")
    ends_at = MomentField(label="Ends at", default_time=END_OF_DAY, help_text="In UTC. Empty: until it is withdrawn.")

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
class Announcements(UnchangedAdmin, ObjectPage):
    """Announcements of staff. They are made and withdrawn, but never changed."""

    list_display = ("__str__", "level", "state", "starts_at", "ends_at", "shown_to")
    list_filter = ("level", "starts_at")
    search_fields = ("text",)
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

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[Announcement]:
        return Announcement.objects.select_related("created_by")

    def describe(self, request: HttpRequest, row: Announcement) -> Description:
        state = row.state_at(timezone.now())
        facts = (
            Fact("State", state, "good" if state == "shown" else ""),
            Fact("Text", linebreaksbr(row.text)),
            Fact("Level", row.get_level_display()),
            Fact("Shown to", self.shown_to(row)),
            Fact("From", row.starts_at),
            Fact("Until", row.ends_at or "it is withdrawn"),
            Fact("By", link_to(row.created_by)),
            Fact("Withdrawn at", row.withdrawn_at),
        )
        return Description(facts)

    @admin.display
    def shown_to(self, announcement: Announcement) -> str:
        audiences = (("visitors", announcement.on_pages), ("publishers", announcement.in_publish_warnings))
        return " and ".join(audience for audience, is_shown in audiences if is_shown)

    @admin.display
    def state(self, announcement: Announcement) -> str:
        return announcement.state_at(timezone.now())

    def save_model(self, request: HttpRequest, obj: Announcement, form: Any, change: bool) -> None:
        announcements.announce(obj, actor=request.user)  # type: ignore[arg-type]  # staff have signed in


@front_page.add("registry_site.view_announcement", "Upkeep")
def announcements_of_today() -> Iterator[front_page.Fact]:
    """Yield how many announcements are shown now."""
    shown = len(announcements.current.get())
    yield front_page.Fact("Announcements", f"{shown} shown now", list_url(Announcement))
