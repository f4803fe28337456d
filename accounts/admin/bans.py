"""Bans in the admin site."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.forms import CharField, ModelForm
from django.http import HttpRequest

from accounts import bans, roles
from accounts.admin.fields import LoginField
from accounts.admin.staff import rank_over, staff
from accounts.models import Ban, User
from registry_site.admin.actions import ReasonForm, StaffAction
from registry_site.admin.base import UnchangedAdmin
from registry_site.admin.fields import EndField
from registry_site.admin.lists import state_filter


class BanForm(ReasonForm):
    """Why accounts are banned, and until when."""

    until = EndField()


class NewBanForm(ModelForm):
    """A ban of an account by its login name."""

    user = LoginField()
    until = EndField()
    reason = CharField(required=False, max_length=bans.MAX_REASON_LENGTH, widget=AdminTextareaWidget({"rows": 3}))

    class Meta:
        model = Ban
        fields = ("user", "reason", "until")

    actor: User

    def clean_user(self) -> User:
        user: User = self.cleaned_data["user"]
        if user == self.actor:
            raise ValidationError("You cannot ban yourself here.")
        for message in roles.refusals(self.actor, [user]).values():
            raise ValidationError(message)
        return user


@admin.register(Ban)
class Bans(UnchangedAdmin):
    list_display = ("user", "reason", "created_at", "created_by", "until", "lifted_at", "is_in_force")
    list_filter = (("lifted_at", state_filter("state", "not lifted", "lifted")), "created_at", "until")
    search_fields = ("user__username", "reason")
    list_select_related = ("user", "created_by")
    fields = ("user", "reason", "until", "created_at", "created_by", "lifted_at")
    typed_fields = ("user",)
    staff_actions = (
        StaffAction(
            "lift",
            "Lift the ban",
            "accounts.change_ban",
            lambda ban, *, actor: ban.is_in_force and bans.unban(ban.user, actor=actor),
            done="lifted",
            explanation="The accounts can be used again at once.",
            applies=lambda ban: ban.is_in_force,
            undo="accounts.user undo_ban",
            refusals=rank_over(lambda ban: ban.user),
        ),
    )

    def get_subject(self, row: Ban) -> User:
        return row.user  # a ban and its end are events of the account

    def get_fields(self, request: HttpRequest, obj: Ban | None = None) -> Any:
        return self.fields if obj else ("user", "reason", "until")

    def get_readonly_fields(self, request: HttpRequest, obj: Ban | None = None) -> Any:
        return self.fields if obj else ()

    def get_form(self, request: HttpRequest, obj: Ban | None = None, change: bool = False, **kwargs: Any) -> Any:
        if not change:
            kwargs["form"] = type("BanForm", (NewBanForm,), {"actor": staff(request)})
        return super().get_form(request, obj, change, **kwargs)

    @admin.display(boolean=True, description="in force")
    def is_in_force(self, ban: Ban) -> bool:
        return ban.is_in_force

    def save_model(self, request: HttpRequest, obj: Ban, form: ModelForm, change: bool) -> None:
        until = form.cleaned_data["until"]
        obj.pk = bans.ban(obj.user, actor=staff(request), reason=obj.reason, until=until).pk
