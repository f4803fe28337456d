"""Reserved names in the admin site."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.staff import staff
from crates import reserved_names
from crates.models import ReservedName
from registry_site.admin.base import DomainAdmin
from registry_site.errors import Invalid


class ReservedNameForm(forms.ModelForm):
    def clean_pattern(self) -> str:
        try:
            return reserved_names.normalize(self.cleaned_data["pattern"])
        except Invalid as error:
            raise ValidationError(error.message) from error


@admin.register(ReservedName)
class ReservedNameAdmin(DomainAdmin):
    """A list of names that no new crate may have. They are added and released, but never changed."""

    list_display = ("pattern", "reason", "reserved_at", "reserved_by")
    list_filter = ("reserved_at",)
    search_fields = ("pattern", "reason")
    list_select_related = ("reserved_by",)
    actions = ["release"]
    form = ReservedNameForm
    fields = ("pattern", "reason")

    def has_change_permission(self, request: HttpRequest, obj: ReservedName | None = None) -> bool:
        return obj is None and bool(super().has_change_permission(request))

    def save_model(self, request: HttpRequest, obj: ReservedName, form: Any, change: bool) -> None:
        # The key of the row that the verb has created: the admin links to it.
        obj.pk = reserved_names.reserve(obj.pattern, obj.reason, actor=staff(request)).pk

    @admin.action(description="Release the selected names: everybody may publish them", permissions=["change"])
    def release(self, request: HttpRequest, queryset: QuerySet[ReservedName]) -> None:
        released = sum(reserved_names.release(reserved, actor=staff(request)) for reserved in queryset)
        self.message_user(request, f"{released} released.")
