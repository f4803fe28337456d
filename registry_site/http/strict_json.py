"""Strict JSON for untrusted input: one value, bounded depth, no NaN, no text that a database cannot hold."""

import json
import math
from typing import Any, NoReturn

from registry_site.errors import Invalid, ParseError

MAX_DEPTH = 32


def loads(body: bytes) -> Any:
    """Return the value in `body` (UTF-8). Raises `ParseError` that says what is wrong with it."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=refuse_constant, parse_float=parse_float)
    except UnicodeDecodeError as error:
        raise ParseError("The JSON is not UTF-8.") from error
    except RecursionError as error:
        raise ParseError("The JSON is nested too deeply.") from error
    except json.JSONDecodeError as error:
        raise ParseError(f"The JSON cannot be read: {str(error)[:200]}.") from error
    except ValueError as error:  # Python limits the digits of an integer, since reading them takes quadratic time
        raise ParseError("The JSON cannot be read: a number in it has too many digits.") from error
    check_value(value, MAX_DEPTH)
    return value


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads and RFC 8259 does not know."""
    raise ParseError(f"The JSON cannot be read: {name} is no JSON number.")


def parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):  # 1e999: it could not be written as JSON again
        raise ParseError(f"The JSON cannot be read: {text[:20]} is too large a number.")
    return number


def check_value(value: Any, depth: int) -> None:
    if depth == 0:
        raise ParseError(f"The JSON is nested more than {MAX_DEPTH} deep.")
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            check_value(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            check_value(item, depth - 1)


def check_text(text: str) -> None:
    """Raise `Invalid` for NUL, which PostgreSQL refuses, and for lone surrogates, which UTF-8 cannot encode."""
    if "\0" in text:
        raise Invalid("A text contains a NUL character.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Invalid("A text contains half of a surrogate pair, which is no character.") from error
