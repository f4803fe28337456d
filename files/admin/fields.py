"""Rules of the domain at the fields of forms."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError

from registry_site.errors import RegistryError


def validate_field(check: Callable[[Any], object], value: Any) -> None:
    """Call a rule of the domain; raise `ValidationError` for its refusal, which the form shows at the field."""
    try:
        check(value)
    except RegistryError as error:
        raise ValidationError(error.message) from error
