"""The forms of the second factor: pass it, prove oneself again, add and remove authenticators."""

from typing import Any, Self

from django import forms
from django.http import HttpRequest

from accounts.credentials import pending_sign_ins
from accounts.forms.account import OwnForm
from accounts.forms.fields import PasswordField
from accounts.models import Authenticator, User
from accounts.passwords import proof
from accounts.principals import Principal
from accounts.second_factor import apps, authenticators, codes, passkeys, proofs
from registry_site.forms import VerbForm

DIGITS = {"autocomplete": "one-time-code", "inputmode": "numeric", "spellcheck": "false"}
MAX_SEALED_LENGTH = 1000


class NameOfAuthenticator(forms.CharField):
    """The name of an authenticator, for its owner alone."""

    def __init__(self, **options: Any) -> None:
        widget = forms.TextInput({"autocomplete": "off"})
        super().__init__(label="Name", max_length=authenticators.MAX_NAME_LENGTH, widget=widget, **options)


class CodeFields(forms.Form):
    """A code of an app, or a recovery code."""

    code = forms.CharField(
        label="Code of your authenticator app",
        required=False,
        max_length=codes.MAX_LENGTH,
        widget=forms.TextInput({**DIGITS, "autofocus": True}),
    )
    recovery_code = forms.CharField(
        label="Or a recovery code",
        required=False,
        max_length=codes.MAX_LENGTH,
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
        help_text="One of those that you have printed or stored. It counts once.",
    )

    def clean(self) -> dict[str, Any]:
        if not self.errors and not self.typed_code:
            missing = "the six digits that the app shows, or " if "code" in self.fields else ""
            self.add_error(next(iter(self.fields)), f"Type {missing}a recovery code.")
        return self.cleaned_data

    @property
    def typed_code(self) -> str:
        code: str = self.cleaned_data.get("code") or self.cleaned_data["recovery_code"]
        return code

    def fit_to(self, user: User) -> Self:
        """Ask an account without an app for a recovery code alone."""
        if Authenticator.Kind.APP not in authenticators.kinds_of(user):
            del self.fields["code"]
            self.fields["recovery_code"].label = "A recovery code"
        return self


class StepForm(VerbForm):
    """The second step of a sign-in."""

    def __init__(self, request: HttpRequest, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.request = request


class CodeForm(CodeFields, StepForm):
    def act(self) -> User:
        return pending_sign_ins.complete(self.request, lambda user: codes.use(user, self.typed_code))


class PasskeyFields(forms.Form):
    """The browser's answer, and the signed challenge of the form. Without JavaScript there is no answer."""

    credential = forms.CharField(required=False, max_length=passkeys.MAX_ANSWER_LENGTH, widget=forms.HiddenInput)
    challenge = forms.CharField(required=False, max_length=1000, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        if not self.cleaned_data.get("credential"):
            self.add_error(None, "Your browser sent no passkey. This needs JavaScript.")
        return self.cleaned_data


class PasskeyForm(PasskeyFields, StepForm):
    def act(self) -> User:
        state = pending_sign_ins.state_of(self.request)
        challenge, credential = self.cleaned_data["challenge"], self.cleaned_data["credential"]
        return pending_sign_ins.complete(self.request, lambda user: passkeys.use(user, state, challenge, credential))


class ConfirmByPasskeyForm(PasskeyFields, OwnForm):
    def act(self) -> None:
        passkeys.prove(self.principal, self.cleaned_data["challenge"], self.cleaned_data["credential"])


class NewPasskeyForm(PasskeyFields, OwnForm):
    name = NameOfAuthenticator(initial="Passkey", help_text="For yourself: where it is stored.")

    fields_of_codes = {"authenticator_name": "name"}

    def act(self) -> list[str]:
        data = self.cleaned_data
        return passkeys.add(self.principal, data["name"], data["challenge"], data["credential"])


class ConfirmByCodeForm(CodeFields, OwnForm):
    def act(self) -> None:
        proofs.prove_by_code(self.principal, self.typed_code)


class ConfirmByPasswordForm(OwnForm):
    password = PasswordField(label="Your password")

    fields_of_codes = {"wrong_password": "password"}

    def act(self) -> None:
        proof.prove_by_password(self.principal, self.cleaned_data["password"])


class AppForm(OwnForm):
    """A new app: its first code shows that it has the secret. The form carries that, encrypted for the account."""

    name = NameOfAuthenticator(initial="Phone", help_text="For yourself: where the app is.")
    code = forms.CharField(label="Six digits that the app shows", max_length=20, widget=forms.TextInput(DIGITS))
    sealed = forms.CharField(max_length=MAX_SEALED_LENGTH, widget=forms.HiddenInput)

    fields_of_codes = {"authenticator_name": "name", "code_mismatch": "code"}

    def __init__(self, principal: Principal, *args: Any, **options: Any) -> None:
        super().__init__(principal, *args, **options)
        user = principal.user
        self.secret = apps.unseal(user, self.data.get("sealed", "")) if self.is_bound else apps.new_secret()
        if not self.is_bound:
            self.initial["sealed"] = apps.seal(user, self.secret)

    @property
    def setup_url(self) -> str:
        """What the QR code says."""
        return apps.setup_url(self.principal.user, self.secret)

    @property
    def typed_secret(self) -> str:
        """The secret in groups of four, for who types it."""
        return " ".join(self.secret[start : start + 4] for start in range(0, len(self.secret), 4))

    def act(self) -> list[str]:
        return authenticators.add_app(self.principal, **self.cleaned_data)


class RemoveForm(OwnForm):
    """The button beside an authenticator: its key."""

    remove = forms.IntegerField(min_value=1, max_value=2**63 - 1)

    def act(self) -> Authenticator:
        return authenticators.remove(self.principal, self.cleaned_data["remove"])


class RecoveryCodesForm(OwnForm):
    """The button for new recovery codes. It carries the newest one, so that a reload makes no others."""

    newest = forms.IntegerField(min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    def act(self) -> list[str]:
        return authenticators.make_recovery_codes(self.principal, self.cleaned_data["newest"])
