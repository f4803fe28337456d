"""Fields that several forms share. Their `autocomplete` lets password managers fill them in."""

from typing import Any

from django import forms
from django.conf import settings

from accounts import emails, names
from accounts.passwords.login import MAX_PASSWORD_BYTES

# The field that a refusal belongs to, by its code.
NAME_CODES = ("name_taken", "name_invalid", "name_too_similar")
EMAIL_CODES = ("email_required", "email_invalid", "email_taken")
PASSWORD_CODES = ("password_too_short", "password_too_long", "password_content", "password_is_name")


class NameField(forms.CharField):
    """The name of a user."""

    def __init__(self, **options: Any) -> None:
        attributes = {"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
        options = {"max_length": names.MAX_LOGIN_LENGTH, **options}
        super().__init__(widget=forms.TextInput(attributes), **options)


class AddressField(forms.CharField):
    """An e-mail address. The domain checks its syntax, so that there is one rule for all forms and APIs."""

    def __init__(self, **options: Any) -> None:
        widget = forms.EmailInput({"autocomplete": "email"})
        super().__init__(widget=widget, max_length=emails.MAX_LENGTH, **options)


class PasswordField(forms.CharField):
    """A password that exists already, or a new one. The page never shows it again."""

    def __init__(self, *, is_new: bool = False, **options: Any) -> None:
        widget = forms.PasswordInput({"autocomplete": "new-password" if is_new else "current-password"})
        super().__init__(widget=widget, strip=False, max_length=MAX_PASSWORD_BYTES, **options)


def password_rule() -> str:
    """Return the help text of a new password."""
    return f"{settings.MIN_PASSWORD_LENGTH} to {settings.MAX_PASSWORD_LENGTH} characters, and not the user name."
