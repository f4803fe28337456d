"""Strict JSON: values that are read, and input that is refused without harm."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_site.errors import Invalid
from registry_site.http import strict_json
from tests.support.refusals import refusal_of

pytestmark = pytest.mark.database_independent


def test_values_are_read() -> None:
    values: list[Any] = [None, True, 0, -1.5, "", "é", "🦀", [], {}, {"a": [{"b": None}]}, 2**64, "a\nb\u2028"]
    assert [value for value in values if strict_json.loads(json.dumps(value).encode()) != value] == []


def test_text_that_is_no_json_is_refused() -> None:
    bodies = [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"{} x",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[01]",
        b"[+1]",
        b"[1.]",
        b"[.5]",
        b"undefined",
        b"// comment\n{}",
        b'"a\nb"',
        b"\xef\xbb\xbf{}",  # a byte order mark
        '"é"'.encode("latin-1"),
        "{}".encode("utf-16"),
        b'"\xed\xa0\x80"',  # a surrogate, written in UTF-8
        b'"\xc0\xaf"',
        b"\0",
        b"\x1f\x8b",
    ]
    messages = {body: refusal_of(strict_json.loads, body) for body in bodies}
    beginnings = ("The JSON is not UTF-8", "The JSON cannot be read")
    assert {body: message for body, message in messages.items() if not message.startswith(beginnings)} == {}


def test_numbers_without_bounds_are_refused() -> None:
    bodies = [b"NaN", b"Infinity", b'{"a": [-Infinity]}', b"1e400", b"[-1e999]"]
    bodies += [b"1" * 5_000, b"[-" + b"9" * 1_000_000 + b"]"]
    assert [body[:20] for body in bodies if not refusal_of(strict_json.loads, body)] == []


def test_half_of_a_surrogate_pair_is_refused() -> None:
    bodies = [rb'"\ud800"', rb'{"a": ["\udfff"]}', rb'{"\ud83d": 1}', rb'"\udd80\ud83e"']
    assert [body for body in bodies if "surrogate" not in refusal_of(strict_json.loads, body)] == []


def test_whole_surrogate_pair_is_read() -> None:
    assert strict_json.loads(rb'"\ud83e\udd80"') == "🦀"


def test_nul_is_refused() -> None:
    bodies = [rb'"\u0000"', rb'["a", "b\u0000c"]', rb'{"\u0000": 1}']
    assert [body for body in bodies if "NUL" not in refusal_of(strict_json.loads, body)] == []


def test_deep_nesting_is_refused() -> None:
    bodies = [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, nested(strict_json.MAX_DEPTH + 1)]
    assert [body[:20] for body in bodies if "nested" not in refusal_of(strict_json.loads, body)] == []


def test_nesting_has_a_limit() -> None:
    assert strict_json.loads(nested(strict_json.MAX_DEPTH)) is not None


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(Invalid):
        value = strict_json.loads(body)
        assert strict_json.loads(json.dumps(value, allow_nan=False).encode()) == value


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(json_values)
def test_values_that_are_read_can_be_stored(value: Any) -> None:
    with suppress(Invalid):
        read = strict_json.loads(json.dumps(value).encode())
        assert b"\\u0000" not in json.dumps(read, allow_nan=False).encode()
