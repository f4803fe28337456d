"""The forms to make and to revoke cargo tokens and app keys."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple

from django import forms
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.credentials import app_keys, cargo_tokens, own_tokens
from accounts.credentials.repeated_forms import newest_key
from accounts.forms.account import OwnForm
from accounts.models import Credential
from accounts.scopes import CARGO_SCOPES, Scope
from registry_site.errors import RegistryError

KEY = re.compile(r"[0-9]{1,18}")
SEPARATORS = re.compile(r"[\s,]+")
MAX_PATTERNS_LENGTH = 10_000  # characters of the field: more than the most and longest patterns of a token

ALL, SOME = "all", "some"
ON_DATE, NEVER = "date", "never"
LIFETIMES = {"30": "in 30 days", "60": "in 60 days", "90": "in 90 days", "365": "in a year"}


class Preset(NamedTuple):
    title: str
    scopes: tuple[Scope, ...]
    reach: str = ALL
    lifetime: str = "90"


PRESETS: Mapping[str, Preset] = {
    "publish": Preset("Publish everything", CARGO_SCOPES),
    "ci": Preset("CI for one crate", (Scope.PUBLISH_UPDATE, Scope.READ), SOME),
    "read": Preset("Read only", (Scope.READ,), lifetime="365"),
}


def scope_label(scope: Scope) -> SafeString:
    """Return the name of a scope with what it is for."""
    return format_html('<code>{}</code> <span class="muted">{}</span>', scope.value, scope.label)


class MakingForm(OwnForm):
    """A form that makes a credential. It carries the newest one, so that a reload makes no other."""

    kind: Credential.Kind

    @property
    def newest_key(self) -> int:
        """The key for the page that shows the form: after a refusal it can be sent once more."""
        return newest_key(self.principal.user, self.kind)

    @property
    def sent_key(self) -> int:
        """The key that came with the form."""
        text = self.data.get("newest", "")
        return int(text) if KEY.fullmatch(text) else 0


class TokenForm(MakingForm):
    kind = Credential.Kind.CARGO_TOKEN

    name = forms.CharField(
        max_length=cargo_tokens.MAX_NAME_LENGTH,
        help_text="For yourself: where it is used, such as laptop or the name of a build.",
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=[(scope.value, scope_label(scope)) for scope in CARGO_SCOPES],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Tick what the token is for."},
    )
    reach = forms.ChoiceField(
        label="It may change",
        choices=[(ALL, "all crates that you own, also later ones"), (SOME, "these crates only:")],
        widget=forms.RadioSelect,
        initial=ALL,
    )
    patterns = forms.CharField(
        label="Crates",
        required=False,
        max_length=MAX_PATTERNS_LENGTH,
        widget=forms.Textarea({"rows": 3, "autocapitalize": "none", "spellcheck": "false"}),
        help_text="One on each line: a name such as serde_json, or how names begin and a star, such as serde*. "
        "Reading is not limited to them: cargo needs the dependencies, too.",
    )
    lifetime = forms.ChoiceField(
        label="It ends", choices=[*LIFETIMES.items(), (ON_DATE, "on the day below"), (NEVER, "never")], initial="90"
    )
    last_day = forms.DateField(
        label="Last day", required=False, widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    )

    fields_of_codes = {
        **dict.fromkeys(("token_name", "token_name_taken"), "name"),
        "crate_pattern": "patterns",
        "scope": "scopes",
        "token_end": "last_day",
    }

    def clean(self) -> dict[str, Any]:
        fields = self.cleaned_data
        patterns = [pattern for pattern in SEPARATORS.split(fields.get("patterns", "")) if pattern]
        if fields.get("reach") == SOME and not patterns and "patterns" not in self.errors:
            self.add_error("patterns", "Name at least one crate, or choose all crates above.")
        if fields.get("reach") == ALL and patterns:
            self.add_error("patterns", "Choose “these crates only” above, or leave this empty.")
        if fields.get("lifetime") == ON_DATE and not fields.get("last_day") and "last_day" not in self.errors:
            self.add_error("last_day", "Give the last day of the token.")
        return {**fields, "patterns": patterns}

    def clean_last_day(self) -> Any:
        day = self.cleaned_data["last_day"]
        if day is not None and day > timezone.now().date() + timedelta(days=cargo_tokens.MAX_DAYS):
            raise forms.ValidationError("This is more than a hundred years away: choose “never”.")
        return day

    def expires_at(self) -> datetime | None:
        """Return the end of the token; its last day counts."""
        lifetime = self.cleaned_data["lifetime"]
        if lifetime == NEVER:
            return None
        if lifetime == ON_DATE:
            return datetime.combine(self.cleaned_data["last_day"], time(23, 59, 59), UTC)
        return timezone.now() + timedelta(days=int(lifetime))

    def act(self) -> tuple[Credential, str]:
        fields = self.cleaned_data
        return own_tokens.create_token(
            self.principal, fields["name"], fields["scopes"], self.expires_at(), fields["patterns"], self.sent_key
        )

    def message_of(self, error: RegistryError) -> str:
        if error.code == "token_name_taken":
            return "You have a token of this name; choose another, or revoke that one first."
        return "This day is over." if error.code == "token_end" else super().message_of(error)


def preset_values(name: str, crate: str = "") -> dict[str, Any]:
    """Return the initial values of a token for a purpose, and for a crate if a page of one leads here."""
    preset = PRESETS.get(name, PRESETS["publish"])
    values = {"scopes": [scope.value for scope in preset.scopes], "reach": preset.reach, "lifetime": preset.lifetime}
    return {**values, "reach": SOME, "patterns": crate} if crate else values


class RevokeTokenForm(OwnForm):
    revoke = forms.IntegerField(min_value=1, max_value=2**63 - 1)

    def act(self) -> Credential:
        return own_tokens.revoke_token(self.principal, self.cleaned_data["revoke"])


class AppKeyForm(MakingForm):
    kind = Credential.Kind.APP_KEY

    type = forms.ChoiceField(
        label="It may",
        choices=[
            (app_keys.Type.READ_ONLY, "read packages that you may read"),
            (app_keys.Type.PUBLISH, "read and publish packages"),
            (app_keys.Type.ALL, "do all that you may do, also change your account"),
        ],
        widget=forms.RadioSelect,
        initial=app_keys.Type.READ_ONLY,
    )

    def act(self) -> app_keys.AppKey:
        return app_keys.issue(self.principal, self.cleaned_data["type"], self.sent_key)


class RevokeAppKeyForm(OwnForm):
    revoke = forms.CharField(max_length=64)

    def act(self) -> str:
        appid: str = self.cleaned_data["revoke"]
        app_keys.delete(self.principal, appid)
        return appid
