"""Names of crates: rules, canonical form and path in the index."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from crates import names
from registry_site.errors import Invalid
from tests.support.refusals import refusal_of

NAMES = ["a", "ab", "abc", "serde", "Foo_bar", "a-b", "a1", "x-", "A" * 64, "com10", "console"]


def test_name_is_allowed() -> None:
    assert [name for name in NAMES if refusal_of(names.validate, name)] == []


BAD_NAMES = [
    "",
    " ",
    "a b",
    " a",
    "a\n",
    "a\0",
    "1a",
    "-a",
    "_a",
    "a" * 65,
    "a" * 100_000,
    ".",
    "..",
    "a.b",
    "a/b",
    "../a",
    "a\\b",
    "a%2fb",
    "a+b",
    "a:b",
    "a'b",
    "\u0455erde",  # Cyrillic s
    "sérde",
    "\uff53erde",  # full width
    "serde\u200b",
    "serde\u202e",
    "a\uff11",
    "\u017ferde",  # becomes s in upper case
    "\u212aelvin",  # becomes k in lower case
    "config.json",
]


def test_name_is_refused() -> None:
    assert [name for name in BAD_NAMES if "is not allowed" not in refusal_of(names.validate, name)] == []


RESERVED = [
    *("nul", "NUL", "con", "prn", "aux", "com1", "com9", "Lpt9", "lpt1"),
    *("std", "core", "alloc", "test", "proc-macro", "PROC_macro"),
]


def test_reserved_name_is_refused() -> None:
    assert [name for name in RESERVED if "reserved" not in refusal_of(names.validate, name)] == []


def test_canonical_form_ignores_case_and_dashes() -> None:
    pairs = [("Foo_bar", "foo-bar"), ("A-B", "a_b"), ("SERDE", "serde"), ("a--b", "a_-b"), ("x-", "X_")]
    assert [pair for pair in pairs if names.canonical(pair[0]) != names.canonical(pair[1])] == []


def test_different_names_have_different_forms() -> None:
    pairs = [("foo", "foo-1"), ("foobar", "foo_bar"), ("a-b", "a--b"), ("l", "I")]
    assert [pair for pair in pairs if names.canonical(pair[0]) == names.canonical(pair[1])] == []


# The examples of The Cargo Book, "Index Format", and some more.
PATHS = {
    "a": "1/a",
    "A": "1/a",
    "ab": "2/ab",
    "abc": "3/a/abc",
    "My-": "3/m/my-",
    "cargo": "ca/rg/cargo",
    "Serde": "se/rd/serde",
    "a-_b": "a-/_b/a-_b",
}


def test_index_path_follows_the_book() -> None:
    assert {name: names.index_path(name) for name in PATHS} == PATHS


@given(st.text(st.characters(max_codepoint=127), max_size=70))
def test_allowed_name_makes_a_harmless_path(name: str) -> None:
    try:
        names.validate(name)
    except Invalid:
        return
    path = names.index_path(name)
    assert path.isascii()
    assert path == path.lower()
    assert not {"", ".", ".."} & set(path.split("/"))


@given(st.text(max_size=70))
def test_any_text_is_allowed_or_refused(name: str) -> None:
    with suppress(Invalid):
        names.validate(name)
        assert len(names.index_path(name)) <= 80
