"""The forms for a lost password: ask for a link, and choose a new password by it."""

from typing import Any

from accounts.forms.fields import (
    EMAIL_CODES,
    PASSWORD_CODES,
    AddressField,
    PasswordField,
    RepeatedPasswordField,
    password_rule,
)
from accounts.models import User
from accounts.passwords import reset
from registry_site.forms import VerbForm


class LinkForm(VerbForm):
    email = AddressField(label="E-mail address of your account")

    fields_of_codes = dict.fromkeys(EMAIL_CODES, "email")

    def act(self) -> None:
        reset.request_link(self.cleaned_data["email"])


class NewPasswordForm(VerbForm):
    password = PasswordField(label="New password", is_new=True)
    confirmation = RepeatedPasswordField(label="New password again")

    fields_of_codes = {**dict.fromkeys(PASSWORD_CODES, "password"), "passwords_differ": "confirmation"}

    def __init__(self, token: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.token = token
        self.fields["password"].help_text = password_rule()

    def act(self) -> User:
        return reset.set_password(self.token, **self.cleaned_data)
