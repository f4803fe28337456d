"""Crate patterns of tokens: their form, and which crates they match."""

import pytest

from accounts.crate_patterns import MAX_PATTERNS, match, parse_patterns
from registry_site.errors import Invalid

pytestmark = pytest.mark.database_independent

# Pattern: what it matches, and what it does not.
MATCHES = {
    "serde": (["serde", "SERDE", "Serde"], ["serde_", "serde-", "serde_json", "serd", "xserde"]),
    "serde*": (["serde", "serde_json", "serde-json", "SERDEX", "serde_"], ["serd", "xserde", "s*", "*"]),
    "serde_": (["serde_", "serde-"], ["serde", "serde_json"]),
    "serde_*": (["serde_json", "serde-json", "SERDE-JSON", "serde_"], ["serde", "serdex"]),
    "serde-json": (["serde-json", "serde_json", "Serde_JSON"], ["serde--json", "serdejson", "serde_json2"]),
    "SERDE-*": (["serde_json", "Serde-Json"], ["serde"]),
    "*": (["a", "serde", "Z_-9"], []),
}

BAD = [
    *["", " ", "*serde", "ser*de", "serde**", "**", "-a", "_*", "1a", "a b", "a.b", "a/b", "sérde", "serde\n"],
    *[
        "serde\0",
        "serde?",
        "[a-z]*",
        "^serde",
        "serde.*",
        "a,b",
        "@a/b",
        "\uff53erde",
        "\u212a",
        "a" * 65,
        "a" * 65 + "*",
    ],
]


def test_patterns_match_names_and_their_beginnings() -> None:
    expected = {
        (pattern, name): value
        for pattern, sides in MATCHES.items()
        for value, names in zip((True, False), sides, strict=True)
        for name in names
    }
    assert {key: match([key[0]], key[1]) for key in expected} == expected


def test_any_pattern_may_match() -> None:
    assert match(["demo", "serde*"], "serde_json")
    assert not match([], "serde")


def is_refused(pattern: str) -> bool:
    try:
        parse_patterns(["serde", pattern])
    except Invalid as error:
        return "is no crate pattern" in error.message
    return False


def test_bad_patterns_are_refused() -> None:
    assert [pattern for pattern in BAD if not is_refused(pattern)] == []


def test_each_pattern_is_kept_once() -> None:
    assert parse_patterns(["Serde-JSON", "a" * 64 + "*", "serde_json", "serde"]) == [
        "Serde-JSON",
        "a" * 64 + "*",
        "serde",
    ]


def test_number_of_patterns_is_limited() -> None:
    names = [f"crate{number}" for number in range(MAX_PATTERNS)]
    assert parse_patterns(names) == names
    with pytest.raises(Invalid, match="101 crate patterns are too many: a token has at most 100"):
        parse_patterns([*names, "another"])
