"""Names of crates: which are allowed, which are the same, and where they stand in the index."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crates import names
from registry_site.errors import Invalid


@pytest.mark.parametrize(
    "name", ["a", "ab", "abc", "serde", "Foo_bar", "a-b", "a1", "x-", "A" * 64, "com10", "console"]
)
def test_name_is_allowed(name: str) -> None:
    names.validate(name)


@pytest.mark.parametrize(
    "name",
    [
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
    ],
)
def test_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="is not allowed"):
        names.validate(name)


@pytest.mark.parametrize(
    "name",
    ["nul", "NUL", "con", "prn", "aux", "com1", "Lpt9", "std", "core", "alloc", "test", "proc-macro", "PROC_macro"],
)
def test_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="reserved"):
        names.validate(name)


@pytest.mark.parametrize(
    ("one", "other"), [("Foo_bar", "foo-bar"), ("A-B", "a_b"), ("SERDE", "serde"), ("a--b", "a_-b"), ("x-", "X_")]
)
def test_names_are_the_same(one: str, other: str) -> None:
    assert names.canonical(one) == names.canonical(other)


@pytest.mark.parametrize(("one", "other"), [("foo", "foo-1"), ("foobar", "foo_bar"), ("a-b", "a--b"), ("l", "I")])
def test_names_are_different(one: str, other: str) -> None:
    assert names.canonical(one) != names.canonical(other)


# The examples of The Cargo Book, "Index Format".
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", "1/a"),
        ("A", "1/a"),
        ("ab", "2/ab"),
        ("abc", "3/a/abc"),
        ("My-", "3/m/my-"),
        ("cargo", "ca/rg/cargo"),
        ("Serde", "se/rd/serde"),
        ("a-_b", "a-/_b/a-_b"),
    ],
)
def test_index_path_follows_the_book(name: str, path: str) -> None:
    assert names.index_path(name) == path


@settings(deadline=None)
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


@settings(deadline=None)
@given(st.text(max_size=70))
def test_any_text_is_allowed_or_refused(name: str) -> None:
    with suppress(Invalid):
        names.validate(name)
        assert len(names.index_path(name)) <= 80
