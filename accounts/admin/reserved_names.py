"""Reserved names in the admin site."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import reserved_names
from accounts.admin.staff import staff
from accounts.models import ReservedName
from accounts.name_patterns import NameKind
from accounts.reserved_names import Matches
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import UnchangedAdmin
from registry_site.admin.object_pages import Description, Fact, ObjectPage, link_to
from registry_site.errors import RegistryError

PREVIEW = "_preview"  # the name of the button that shows what would match


class ReservedNameForm(forms.ModelForm):
    matches: Matches | None = None

    def clean(self) -> dict[str, Any] | None:
        cleaned: dict[str, Any] | None = super().clean()
        kind, pattern = self.cleaned_data.get("kind"), self.cleaned_data.get("pattern")
        if kind and pattern:
            try:
                reserved = reserved_names.new(NameKind(kind), pattern, "", actor=None)
                self.matches = reserved_names.matches_today(reserved)
            except RegistryError as error:
                self.add_error("pattern", error.message)
        return cleaned

    def is_valid(self) -> bool:
        return PREVIEW not in self.data and super().is_valid()


@admin.register(ReservedName)
class ReservedNames(UnchangedAdmin, ObjectPage):
    """Names that nothing new may have. They are added and released, but never changed."""

    list_display = ("pattern", "kind", "reserved_at", "reserved_by", "reason")
    list_filter = ("kind", "reserved_at")
    search_fields = ("pattern", "reason")
    list_select_related = ("reserved_by",)
    form = ReservedNameForm
    fields = ("kind", "pattern", "reason")
    radio_fields = {"kind": admin.HORIZONTAL}
    staff_actions = (
        StaffAction(
            "release",
            "Release",
            "accounts.change_reservedname",
            reserved_names.release,
            done="released",
            explanation="Everybody may have these names at once.",
        ),
    )

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[ReservedName]:
        return ReservedName.objects.select_related("reserved_by")

    def describe(self, request: HttpRequest, row: ReservedName) -> Description:
        facts = (
            Fact("Reserved", f"as the name of a new {row.get_kind_display()}", "good"),
            Fact("Names of today", str(reserved_names.matches_today(row))),
            Fact("Reason", row.reason),
            Fact("Since", row.reserved_at),
            Fact("By", link_to(row.reserved_by)),
        )
        return Description(facts)

    def save_model(self, request: HttpRequest, obj: ReservedName, form: Any, change: bool) -> None:
        # The key of the row that the verb has created: the admin links to it.
        obj.pk = reserved_names.reserve(NameKind(obj.kind), obj.pattern, obj.reason, actor=staff(request)).pk
        self.message_user(request, str(form.matches))
