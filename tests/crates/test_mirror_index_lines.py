"""The lines of an index file are read as far as they can be, and go on as they came."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crates.mirror import index_lines
from crates.mirror.index_lines import Line

pytestmark = pytest.mark.database_independent

SHA256 = "0123456789abcdef" * 4


def raw(**changes: Any) -> bytes:
    """A line as crates.io writes it."""
    line = {"name": "demo", "vers": "1.0.0", "deps": [], "cksum": SHA256, "features": {}, "yanked": False, **changes}
    return json.dumps(line, separators=(",", ":")).encode()


def line(text: bytes) -> Line:
    (found,) = index_lines.parse(text + b"\n")
    return found


BAD = {
    "nothing of JSON": b"<html>",
    "half of a line": raw()[:-9],
    "a text": b'"demo"',
    "a list": b'["vers","cksum"]',
    "null": b"null",
    "without a version": b'{"cksum":"00"}',
    "without a checksum": b'{"vers":"1.0.0"}',
    "with a version that is a number": raw(vers=1),
    "with a checksum that is null": raw(cksum=None),
    "of bytes that are no text": b'{"vers":"\xff","cksum":"00"}',
    "with a NUL": b"\0",
    "that nests too deeply": b"[" * 100_000,
    "with a number without end": b'{"vers":"1.0.0","cksum":"00","n":' + b"9" * 5000 + b"}",
}


# --- Reading -----------------------------------------------------------------------------------------------------


def test_line_is_read() -> None:
    text = raw(pubtime="2026-01-02T03:04:05Z", yanked=True)
    assert line(text) == Line(text, "1.0.0", SHA256, True, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "demo")


def test_checksum_is_read_in_lower_case() -> None:
    assert line(raw(cksum=SHA256.upper())).checksum == SHA256


def test_lines_keep_their_order() -> None:
    found = index_lines.parse(raw(vers="2.0.0") + b"\n" + raw(vers="1.0.0") + b"\n" + raw(vers="1.0.0+b") + b"\n")
    assert [one.version for one in found] == ["2.0.0", "1.0.0", "1.0.0+b"]


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_bad_line_is_kept_and_has_no_version(text: bytes) -> None:
    assert index_lines.parse(raw() + b"\n" + text + b"\n" + raw(vers="2.0.0")) == [
        line(raw()),
        Line(text),
        line(raw(vers="2.0.0")),
    ]


@pytest.mark.parametrize("yanked", ["true", 1, None, "", [True]])
def test_only_true_is_yanked(yanked: Any) -> None:
    assert line(raw(yanked=yanked)).yanked is False


@pytest.mark.parametrize("moment", [None, "", "yesterday", 0, [], {}, "2026-01-02T03:04:05", "9" * 100])
def test_moment_that_is_not_understood_is_none(moment: Any) -> None:
    assert line(raw(pubtime=moment)).published_at is None


# --- Writing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [raw(), raw(name="Démo").replace(b":", b" : "), *BAD.values()])
def test_lines_go_on_byte_for_byte(text: bytes) -> None:
    body = raw(vers="0.1.0") + b"\n" + text + b"\n"
    assert index_lines.join(index_lines.parse(body)) == body


def test_last_line_is_ended() -> None:
    assert index_lines.join(index_lines.parse(raw())) == raw() + b"\n"


@pytest.mark.parametrize("body", [b"", b"\n", b"\n \n\n"])
def test_empty_file_has_no_lines(body: bytes) -> None:
    assert (index_lines.parse(body), index_lines.join(index_lines.parse(body))) == ([], b"")


@given(st.lists(st.binary(min_size=1).filter(lambda text: b"\n" not in text and bool(text.strip()))))
def test_any_lines_go_on_byte_for_byte(texts: list[bytes]) -> None:
    body = b"".join(text + b"\n" for text in texts)
    assert index_lines.join(index_lines.parse(body)) == body


# --- Holding back ------------------------------------------------------------------------------------------------

FREE = {
    "as crates.io writes it": raw(),
    "with a blank": raw().replace(b'"yanked":false', b'"yanked": false'),
    "with many blanks": raw().replace(b'"yanked":false', b'"yanked"  :\t false'),
    "said nothing of": raw().replace(b',"yanked":false', b""),
    "null": raw(yanked=None),
    "said so in a feature, too": raw(features={"f": ['"yanked":false']}),
    "said so twice": raw().replace(b"{", b'{"yanked":false,', 1),
    "said so twice in two spellings": raw()
    .replace(b"{", b'{"yanked":false,', 1)
    .replace(b'"yanked":false}', b'"yanked" :false}'),
    "only in a dependency": raw(deps=[{"name": "other", "yanked": False}])[: -len(b',"yanked":false}')] + b"}",
    "with an escape": raw().replace(b'"yanked"', b'"y\\u0061nked"'),
}


@pytest.mark.parametrize("text", FREE.values(), ids=FREE)
def test_line_that_is_held_back_is_said_to_be_yanked(text: bytes) -> None:
    held = index_lines.mark_yanked(line(text))
    assert held.yanked is True
    assert line(held.raw) == held


@pytest.mark.parametrize("text", FREE.values(), ids=FREE)
def test_nothing_else_of_a_line_that_is_held_back_changes(text: bytes) -> None:
    assert json.loads(index_lines.mark_yanked(line(text)).raw) == {**json.loads(text), "yanked": True}


@pytest.mark.parametrize("blank", [b"", b" "])
def test_usual_line_that_is_held_back_changes_in_one_word(blank: bytes) -> None:
    text = raw(name="Démo").replace(b'"yanked":', b'"yanked":' + blank)
    assert index_lines.mark_yanked(line(text)).raw == text.replace(b'"yanked":' + blank + b"false", b'"yanked":true')


@pytest.mark.parametrize("text", [raw(yanked=True), *BAD.values()], ids=["yanked", *BAD])
def test_yanked_and_bad_lines_are_held_back_as_they_are(text: bytes) -> None:
    assert index_lines.mark_yanked(line(text)) == line(text)
