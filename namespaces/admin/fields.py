"""The field of forms of staff that takes a namespace by its name."""

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError

from namespaces import membership
from registry_site.errors import NotFound


class NamespaceField(forms.CharField):
    """A shared or personal namespace, by its name. Its clean value is the namespace."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 255, "widget": AdminTextInputWidget({"autocomplete": "off"}), **kwargs})

    def clean(self, value: Any) -> Any:
        name = super().clean(value)
        try:
            return membership.get_any_namespace(name)
        except NotFound as error:
            raise ValidationError(error.message) from error
