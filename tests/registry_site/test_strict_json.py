"""JSON from strangers: what is taken, and what is refused without harm."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_site.errors import Invalid
from registry_site.http import strict_json

pytestmark = pytest.mark.database_independent


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "", "é", "🦀", [], {}, {"a": [{"b": None}]}, 2**64, "a\nb\u2028"]
)
def test_value_is_read(value: Any) -> None:
    assert strict_json.loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
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
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match=r"The JSON (is not UTF-8|cannot be read)"):
        strict_json.loads(body)


@pytest.mark.parametrize("body", [b"NaN", b"Infinity", b'{"a": [-Infinity]}', b"1e400", b"[-1e999]"])
def test_number_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        strict_json.loads(body)


@pytest.mark.parametrize("body", [b"1" * 5_000, b"[-" + b"9" * 1_000_000 + b"]"])
def test_number_of_thousands_of_digits_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        strict_json.loads(body)


@pytest.mark.parametrize("body", [rb'"\ud800"', rb'{"a": ["\udfff"]}', rb'{"\ud83d": 1}', rb'"\udd80\ud83e"'])
def test_half_of_a_surrogate_pair_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="surrogate"):
        strict_json.loads(body)


def test_whole_surrogate_pair_is_read() -> None:
    assert strict_json.loads(rb'"\ud83e\udd80"') == "🦀"


@pytest.mark.parametrize("body", [rb'"\u0000"', rb'["a", "b\u0000c"]', rb'{"\u0000": 1}'])
def test_nul_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="NUL"):
        strict_json.loads(body)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b"[" * 40 + b"]" * 40]
)
def test_deep_nesting_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="nested"):
        strict_json.loads(body)


def test_moderate_nesting_is_read() -> None:
    assert strict_json.loads(b"[" * 20 + b"]" * 20) is not None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(Invalid):
        value = strict_json.loads(body)
        assert strict_json.loads(json.dumps(value, allow_nan=False).encode()) == value


_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@settings(deadline=None)
@given(_values)
def test_what_is_read_can_be_stored(value: Any) -> None:
    with suppress(Invalid):
        read = strict_json.loads(json.dumps(value).encode())
        assert b"\\u0000" not in json.dumps(read, allow_nan=False).encode()
