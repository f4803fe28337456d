"""Forms for the owners of a crate: the same verbs as cargo's commands."""

from typing import Any

from django import forms

from accounts import names
from accounts.forms.account import OwnForm
from accounts.forms.fields import NameField
from accounts.principals import Principal
from crates import ownership, yanking
from crates.models import Version
from registry_site.errors import RegistryError


class CrateForm(OwnForm):
    """A form about a crate, or a version of it, by its name."""

    def __init__(self, principal: Principal, crate: str, *args: Any, **options: Any) -> None:
        super().__init__(principal, *args, **options)
        self.crate = crate


class AddOwnerForm(CrateForm):
    login = NameField(label="User name", autocomplete="off")

    fields_of_codes = {"logins_unknown": "login"}

    def act(self) -> str:
        return ownership.add(self.principal, self.crate, [self.cleaned_data["login"]])

    def message_of(self, error: RegistryError) -> str:
        return "There is no open account of this name." if error.code == "logins_unknown" else super().message_of(error)


class RemoveOwnerForm(CrateForm):
    """The button beside an owner: the user name."""

    remove = forms.CharField(max_length=names.MAX_LOGIN_LENGTH)

    def act(self) -> None:
        ownership.remove(self.principal, self.crate, [self.cleaned_data["remove"]])

    def message_of(self, error: RegistryError) -> str:
        return "This account is not an owner any more." if error.code == "logins_unknown" else super().message_of(error)


class VersionForm(CrateForm):
    """A form about a version of a crate, by its number."""

    def __init__(self, principal: Principal, crate: str, number: str, *args: Any, **options: Any) -> None:
        super().__init__(principal, crate, *args, **options)
        self.number = number


class YankForm(VersionForm):
    reason = forms.CharField(
        required=False,
        max_length=yanking.MAX_MESSAGE_LENGTH,
        widget=forms.Textarea({"rows": 3}),
        help_text="Pages and feeds of the crate show it. It can be changed, and left empty.",
    )

    def act(self) -> Version:
        reason = self.cleaned_data["reason"]
        return yanking.set_yanked(self.principal, self.crate, self.number, yanked=True, message=reason)


class UnyankForm(VersionForm):
    def act(self) -> Version:
        return yanking.set_yanked(self.principal, self.crate, self.number, yanked=False)
