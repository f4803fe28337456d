"""The forms of one's own account."""

from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest
from django.utils.html import format_html

from accounts import closing, profiles
from accounts.credentials import browser_sessions, own_sessions
from accounts.forms.fields import (
    EMAIL_CODES,
    NAME_CODES,
    PASSWORD_CODES,
    AddressField,
    NameField,
    PasswordField,
    RepeatedPasswordField,
    password_rule,
)
from accounts.models import User
from accounts.oidc import identities
from accounts.passwords import change
from accounts.principals import Principal
from accounts.profiles import ProfileChanges
from accounts.second_factor import proofs
from registry_site.errors import ConfirmationRequired, RegistryError, WrongPassword
from registry_site.forms import VerbForm


class OwnForm(VerbForm):
    """A form about the account of the signed-in principal."""

    def message_of(self, error: RegistryError) -> str:
        if isinstance(error, ConfirmationRequired):
            # In another tab: what was typed here stays.
            return format_html(
                "It is more than 15 minutes since you signed in. "
                '<a href="{}" target="_blank">Confirm that it is you</a> in another tab, then send this form again.',
                proofs.CONFIRM_PATH,
            )
        return "This is not your password." if isinstance(error, WrongPassword) else error.message

    def __init__(self, principal: Principal, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.principal = principal


class NameForm(OwnForm):
    username = NameField(label="New user name", is_new=True)

    fields_of_codes = dict.fromkeys((*NAME_CODES, "name_in_use"), "username")

    def act(self) -> User:
        return profiles.update_profile(self.principal, None, ProfileChanges(**self.cleaned_data))


class EmailForm(OwnForm):
    email = AddressField(label="New e-mail address")

    fields_of_codes = dict.fromkeys(EMAIL_CODES, "email")

    def act(self) -> User:
        return profiles.update_profile(self.principal, None, ProfileChanges(**self.cleaned_data))

    @property
    def sentence(self) -> str:
        """What has happened, or what is to be done next."""
        if not settings.EMAIL_VERIFICATION:
            return "Your e-mail address is changed."
        return f"Now follow the link that was sent to {self.cleaned_data['email']}."


class AvatarForm(OwnForm):
    avatar_uri = forms.CharField(
        label="Address of a picture",
        max_length=500,
        required=False,
        help_text="Such as https://example.org/me.png. Leave it empty for none.",
        widget=forms.URLInput,
    )

    fields_of_codes = {"invalid": "avatar_uri"}

    def act(self) -> User:
        return profiles.update_profile(self.principal, None, ProfileChanges(**self.cleaned_data))


class PasswordForm(OwnForm):
    current_password = PasswordField(label="Present password")
    password = PasswordField(label="New password", is_new=True)
    confirmation = RepeatedPasswordField(label="New password again")

    fields_of_codes = {
        "wrong_password": "current_password",
        **dict.fromkeys(PASSWORD_CODES, "password"),
        "passwords_differ": "confirmation",
    }

    def __init__(self, principal: Principal, request: HttpRequest, *args: Any, **options: Any) -> None:
        super().__init__(principal, *args, **options)
        self.request = request
        self.fields["password"].help_text = password_rule()

    def act(self) -> User:
        data, name = self.cleaned_data, self.principal.user.username
        user = change.change_password(
            self.principal, name, data["current_password"], data["password"], data["confirmation"]
        )
        browser_sessions.keep_after_password_change(self.request, user)
        return user


class EndSessionsForm(OwnForm):
    """The buttons of the list of sessions: the key of one, or `others` for all but this one."""

    end = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1)
    others = forms.BooleanField(required=False)

    def act(self) -> None:
        if self.cleaned_data["others"]:
            own_sessions.end_other_sessions(self.principal)
        else:
            own_sessions.end_session(self.principal, self.cleaned_data["end"] or 0)


class UnlinkForm(OwnForm):
    """The button beside an identity: its key."""

    unlink = forms.IntegerField(min_value=0, max_value=2**63 - 1)

    def act(self) -> None:
        identities.unlink_own(self.principal, self.cleaned_data["unlink"])


class CloseForm(OwnForm):
    password = PasswordField(label="Your password")

    fields_of_codes = {"wrong_password": "password"}

    def __init__(self, principal: Principal, *args: Any, **options: Any) -> None:
        super().__init__(principal, *args, **options)
        if not closing.needs_password(principal.user):
            del self.fields["password"]

    def act(self) -> None:
        closing.close_account(self.principal, **self.cleaned_data)
