"""Fields that several forms share. Their `autocomplete` lets password managers fill them in."""

from typing import Any

from django import forms
from django.conf import settings

from accounts import emails, names
from accounts.models import User
from accounts.passwords.change import validate_password
from accounts.passwords.login import MAX_PASSWORD_BYTES
from registry_site.forms import validator

# The field that a refusal belongs to, by its code.
NAME_CODES = ("name_taken", "name_invalid", "name_too_similar")
EMAIL_CODES = ("email_required", "email_invalid", "email_taken")
PASSWORD_CODES = ("password_too_short", "password_too_long", "password_content", "password_is_name")


class NameField(forms.CharField):
    """The name of a user, or one to sign in with. With `autocomplete="off"` it is that of somebody else."""

    def __init__(self, *, is_new: bool = False, autocomplete: str = "username", **options: Any) -> None:
        attributes = {"autocomplete": autocomplete, "autocapitalize": "none", "spellcheck": "false"}
        validators, max_length = [], names.MAX_LOGIN_LENGTH
        if is_new:
            validators, max_length = [validator(names.validate_for_signup)], names.MAX_LENGTH
        super().__init__(widget=forms.TextInput(attributes), max_length=max_length, validators=validators, **options)


class AddressField(forms.CharField):
    """An e-mail address, by the syntax of the domain, which is the same for all forms and APIs."""

    def __init__(self, **options: Any) -> None:
        options = {"widget": forms.EmailInput({"autocomplete": "email"}), "max_length": emails.MAX_LENGTH, **options}
        super().__init__(validators=[validator(emails.normalize)], **options)


class PasswordField(forms.CharField):
    """A password that exists already, or a new one. The page never shows it again."""

    def __init__(self, *, is_new: bool = False, **options: Any) -> None:
        widget = forms.PasswordInput({"autocomplete": "new-password" if is_new else "current-password"})
        super().__init__(widget=widget, strip=False, max_length=MAX_PASSWORD_BYTES, **options)
        if is_new:
            self.validators.append(validator(lambda password: validate_password(password, User())))


class RepeatedPasswordField(PasswordField):
    """A new password once more: only whether it is the same counts."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.widget.attrs["autocomplete"] = "new-password"


def password_rule() -> str:
    """Return the help text of a new password."""
    return f"{settings.MIN_PASSWORD_LENGTH} to {settings.MAX_PASSWORD_LENGTH} characters, and not the user name."
