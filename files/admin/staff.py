"""The member of staff who acts on machines and files, and rules of the domain at the fields of forms."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest

from files.actors import Actor
from registry_site.errors import RegistryError


def actor_of(user: Any) -> Actor:
    """Return a member of staff as the author of changes."""
    return Actor(f"staff {user.get_username()}")


def staff_actor(request: HttpRequest) -> Actor:
    return actor_of(request.user)


def validate_field(check: Callable[[Any], object], value: Any) -> None:
    """Call a rule of the domain; raise `ValidationError` for its refusal, which the form shows at the field."""
    try:
        check(value)
    except RegistryError as error:
        raise ValidationError(error.message) from error
