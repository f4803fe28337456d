"""JSON from strangers: one value, bounded depth, no NaN, no text that a database or a terminal cannot hold."""

import json
import math
from typing import Any

from registry_site.errors import Invalid, ParseError

MAX_DEPTH = 32


def loads(body: bytes) -> Any:
    """The value in `body` (UTF-8); raises `ParseError` saying what is wrong with it."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise ParseError("The JSON is not UTF-8.") from error
    except RecursionError as error:
        raise ParseError("The JSON is nested too deeply.") from error
    except json.JSONDecodeError as error:
        raise ParseError(f"The JSON cannot be read: {str(error)[:200]}.") from error
    except ValueError as error:
        raise ParseError("The JSON cannot be read: a number in it has too many digits.") from error
    _check(value, MAX_DEPTH)
    return value


def _refuse_constant(name: str) -> None:
    raise ParseError(f"The JSON cannot be read: {name} is no JSON number.")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ParseError(f"The JSON cannot be read: {text[:20]} is too large a number.")
    return number


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise ParseError(f"The JSON is nested more than {MAX_DEPTH} deep.")
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)


def check_text(text: str) -> None:
    """Raises `Invalid` for NUL and for surrogates, which neither UTF-8 nor a database can hold."""
    if "\0" in text:
        raise Invalid("A text contains a NUL character.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Invalid("A text contains half of a surrogate pair, which is no character.") from error
