"""Lines of index files: parsed leniently, relayed byte for byte, and marked as yanked."""

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
    """Return a line as crates.io writes it."""
    line = {"name": "demo", "vers": "1.0.0", "deps": [], "cksum": SHA256, "features": {}, "yanked": False, **changes}
    return json.dumps(line, separators=(",", ":")).encode()


def line(text: bytes) -> Line:
    (line,) = index_lines.parse(text + b"\n")
    return line


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
    versions = ["2.0.0", "1.0.0", "1.0.0+b"]
    lines = index_lines.parse(b"".join(raw(vers=version) + b"\n" for version in versions))
    assert [line.version for line in lines] == versions


def test_bad_line_has_no_version() -> None:
    good, newer = raw(), raw(vers="2.0.0")
    for case, text in BAD.items():
        lines = index_lines.parse(good + b"\n" + text + b"\n" + newer)
        assert lines == [line(good), Line(text), line(newer)], case


def test_long_and_odd_versions_are_none() -> None:
    longest = "1.0.0-" + "a" * 144
    assert line(raw(vers=longest)).version == longest
    bad = [f"{longest}a", "", "1.0.0 ", "../1", "1/0", ".", "-1", "1.0.0\0", "1.0.0\n", "é"]
    assert [text for text in bad if line(raw(vers=text)).version] == []


def test_odd_checksums_make_a_bad_line() -> None:
    bad = ["", SHA256[:-1], SHA256 + "0", "g" * 64, SHA256 + "\n"]
    assert [text for text in bad if line(raw(cksum=text)).version] == []


def test_only_true_is_yanked() -> None:
    values: list[Any] = ["true", 1, None, "", [True]]
    assert [value for value in values if line(raw(yanked=value)).yanked] == []


def test_unparseable_time_is_none() -> None:
    values: list[Any] = [None, "", "yesterday", 0, [], {}, "2026-01-02T03:04:05", "9" * 100]
    assert [value for value in values if line(raw(pubtime=value)).published_at is not None] == []


# --- Writing -----------------------------------------------------------------------------------------------------


def test_lines_are_relayed_byte_for_byte() -> None:
    for text in (raw(), raw(name="Démo").replace(b":", b" : "), *BAD.values()):
        body = raw(vers="0.1.0") + b"\n" + text + b"\n"
        assert index_lines.join(index_lines.parse(body)) == body


def test_last_line_gets_its_end() -> None:
    assert index_lines.join(index_lines.parse(raw())) == raw() + b"\n"


def test_empty_file_has_no_lines() -> None:
    for body in (b"", b"\n", b"\n \n\n"):
        assert (index_lines.parse(body), index_lines.join(index_lines.parse(body))) == ([], b"")


@given(st.lists(st.binary(min_size=1).filter(lambda text: b"\n" not in text and bool(text.strip()))))
def test_any_lines_are_relayed_byte_for_byte(texts: list[bytes]) -> None:
    body = b"".join(text + b"\n" for text in texts)
    assert index_lines.join(index_lines.parse(body)) == body


# --- Yanking -------------------------------------------------------------------------------------------------------

NOT_YANKED = {
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


def test_marked_line_is_yanked_and_else_unchanged() -> None:
    for case, text in NOT_YANKED.items():
        marked = index_lines.mark_yanked(line(text))
        assert (marked.yanked, line(marked.raw)) == (True, marked), case
        assert json.loads(marked.raw) == {**json.loads(text), "yanked": True}, case


def test_usual_line_changes_in_one_word() -> None:
    for blank in (b"", b" "):
        text = raw(name="Démo").replace(b'"yanked":', b'"yanked":' + blank)
        expected = text.replace(b'"yanked":' + blank + b"false", b'"yanked":true')
        assert index_lines.mark_yanked(line(text)).raw == expected


def test_yanked_and_bad_lines_stay() -> None:
    lines = [line(text) for text in (raw(yanked=True), *BAD.values())]
    assert [index_lines.mark_yanked(line) for line in lines] == lines
