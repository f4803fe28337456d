"""The forms to sign in and to sign up."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from accounts import registration
from accounts.credentials import pending_sign_ins
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
from registry_site.errors import AccountClosed, RegistryError
from registry_site.forms import VerbForm


class SignInForm(VerbForm):
    username = NameField(label="User name or e-mail address")
    password = PasswordField(label="Password")

    def __init__(self, request: HttpRequest, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.request = request

    def act(self) -> User | None:
        return pending_sign_ins.sign_in(self.request, **self.cleaned_data)

    def message_of(self, error: RegistryError) -> str:
        # Only who knows the password learns the state of the account.
        return error.explanation if isinstance(error, AccountClosed) else error.message

    @property
    def is_unverified(self) -> bool:
        return self.refusal is not None and self.refusal.code == "unverified"


class SignUpForm(VerbForm):
    username = NameField(label="User name", is_new=True, help_text="Letters, digits, -, _ and dots.")
    email = AddressField(label="E-mail address", required=False)
    password = PasswordField(label="Password", is_new=True)
    confirmation = RepeatedPasswordField(label="Password again")

    fields_of_codes = {
        **dict.fromkeys(NAME_CODES, "username"),
        **dict.fromkeys(EMAIL_CODES, "email"),
        **dict.fromkeys(PASSWORD_CODES, "password"),
        "passwords_differ": "confirmation",
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["password"].help_text = password_rule()
        email = self.fields["email"]
        email.required = settings.EMAIL_ON_SIGNUP == "required"
        if settings.EMAIL_ON_SIGNUP == "none":
            del self.fields["email"]
        elif settings.EMAIL_VERIFICATION:
            email.help_text = "A link is sent there. Follow it before you sign in."
        elif not email.required:
            email.help_text = "Not needed. Without it, only the operator can help after a lost password."

    def act(self) -> User:
        return registration.sign_up(**self.cleaned_data)

    def message_of(self, error: RegistryError) -> str:
        return "This user name is taken; choose another." if error.code == "name_taken" else error.message
