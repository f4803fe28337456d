"""The form by which staff make a cargo token for an account, such as for a build server."""

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget

from accounts.crate_patterns import parse_patterns
from accounts.credentials import cargo_tokens
from accounts.forms.tokens import MAX_PATTERNS_LENGTH, SEPARATORS, scope_label
from accounts.scopes import CARGO_SCOPES, Scope
from registry_site.admin.actions import ActionForm
from registry_site.admin.fields import EndField
from registry_site.forms import validator


def split(text: str) -> list[str]:
    """Return the words of a text."""
    return [word for word in SEPARATORS.split(text) if word]


class NewTokenForm(ActionForm):
    """Name, scopes, crates and end of a token."""

    name = forms.CharField(
        max_length=cargo_tokens.MAX_NAME_LENGTH,
        widget=AdminTextInputWidget({"autocomplete": "off", "spellcheck": "false"}),
        validators=[validator(cargo_tokens.validate_name)],
        help_text="Where it is used, such as the name of a build.",
    )
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=[(scope.value, scope_label(scope)) for scope in CARGO_SCOPES],
        widget=forms.CheckboxSelectMultiple,
        initial=[Scope.PUBLISH_UPDATE.value, Scope.READ.value],
    )
    patterns = forms.CharField(
        label="Crates",
        required=False,
        max_length=MAX_PATTERNS_LENGTH,
        widget=AdminTextareaWidget({"rows": 3, "spellcheck": "false"}),
        validators=[validator(lambda text: parse_patterns(split(text)))],
        help_text="That it may change: names, or how names begin and a star, as in serde*. Empty: all of the account.",
    )
    expires_at = EndField("Ends")
    field_order = ("name", "scopes", "patterns", "expires_at", "reason")

    def arguments(self) -> dict[str, Any]:
        arguments = super().arguments()
        return {**arguments, "patterns": split(arguments["patterns"])}
