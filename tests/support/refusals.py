"""Refusals in loops over many cases, which list all offenders."""

from collections.abc import Callable
from typing import Any

from registry_site.errors import Invalid, RegistryError


def refusal_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Call a function and return the sentence of its `Invalid`; empty if it accepts the arguments."""
    try:
        function(*args, **kwargs)
    except Invalid as error:
        return str(error)
    return ""


def code_of(act: Callable[[], object]) -> str:
    """Call a verb and return the code of its refusal; empty if it does what was asked for."""
    try:
        act()
    except RegistryError as error:
        return error.code
    return ""
