"""Overrides and allowed names in the admin site: what staff decide on names of upstream."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts.admin.fields import LoginField
from accounts.admin.staff import staff
from crates import names
from crates.mirror import index_lines, overrides, shared_names
from crates.mirror.models import AllowedName, Override
from crates.package import requirements
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import UnchangedAdmin
from registry_site.admin.fields import EndField
from registry_site.admin.lists import state_filter
from registry_site.errors import Invalid


class CrateNameForm(forms.ModelForm):
    """A form with the name of a crate, which staff write in any spelling."""

    def clean_name(self) -> str:
        if not index_lines.NAME.fullmatch(self.cleaned_data["name"]):
            raise ValidationError("This is no name of a crate.")
        return names.canonical(self.cleaned_data["name"])


class OverrideForm(CrateNameForm):
    until = EndField()

    def clean_requirement(self) -> str:
        try:
            return requirements.normalize(self.cleaned_data["requirement"])
        except Invalid as error:
            raise ValidationError(error.message) from error


@admin.register(Override)
class OverrideAdmin(UnchangedAdmin):
    """A list of overrides. They are added and ended here, but never changed: the audit log refers to them."""

    list_display = ("name", "requirement", "kind_value", "reason", "until", "created_at", "created_by", "ended_at")
    list_filter = (
        "kind",
        ("ended_at", state_filter("state", "not ended", "ended by staff")),
        "created_at",
        "until",
    )
    search_fields = ("name", "reason")
    list_select_related = ("created_by",)
    staff_actions = (
        StaffAction(
            "end",
            "End",
            "mirror.change_override",
            overrides.end_override,
            done="ended",
            explanation="What they block is served again, and what they exempt is under the policies again.",
            applies=lambda override: override.ended_at is None,
        ),
    )
    form = OverrideForm
    fields = ("kind", "name", "requirement", "reason", "until", "created_at", "created_by", "ended_at")
    readonly_fields = ("created_at", "created_by", "ended_at")

    @admin.display(description="kind", ordering="kind")
    def kind_value(self, override: Override) -> str:
        return override.kind  # the column is too narrow for the label

    def get_fields(self, request: HttpRequest, obj: Override | None = None) -> Any:
        return [field for field in self.fields if obj or field not in self.readonly_fields]

    def save_model(self, request: HttpRequest, obj: Override, form: Any, change: bool) -> None:
        override = overrides.create_override(
            Override.Kind(obj.kind),
            obj.name,
            obj.requirement,
            actor=staff(request),
            reason=obj.reason,
            until=obj.until,
        )
        obj.pk = override.pk  # of the row that the verb has created: the admin links to it


class AllowedNameForm(CrateNameForm):
    user = LoginField()


@admin.register(AllowedName)
class AllowedNameAdmin(UnchangedAdmin):
    """A list of names of upstream that accounts may publish here. They are added and withdrawn, but never changed."""

    list_display = ("name", "user", "allowed_at", "allowed_by")
    list_filter = ("allowed_at",)
    search_fields = ("name", "user__username")
    list_select_related = ("user", "allowed_by")
    typed_fields = ("user",)
    staff_actions = (
        StaffAction(
            "withdraw",
            "Withdraw",
            "mirror.change_allowedname",
            shared_names.disallow,
            done="withdrawn",
            explanation="The accounts may not publish new crates of these names; crates of them stay.",
        ),
    )
    form = AllowedNameForm
    fields = ("name", "user")

    def save_model(self, request: HttpRequest, obj: AllowedName, form: Any, change: bool) -> None:
        assert obj.user is not None  # noqa: S101 - the form needs one
        # The key of the row that the verb has created: the admin links to it.
        obj.pk = shared_names.allow(obj.name, obj.user, actor=staff(request)).pk
