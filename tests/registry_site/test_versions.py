"""Versions by SemVer 2.0, compared with cargo's own reading."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_site import semantic_versions
from registry_site.errors import Invalid
from tests.support.refusals import refusal_of

pytestmark = pytest.mark.database_independent

# cargo 1.95 made both tables: each text stood as the `version` of a package, and was printed or refused. The blanks
# around one cargo trims in a manifest, but never sends; here they are refused.
VERSIONS = [
    "1.2.3",
    "0.0.0",
    "1.0.0-0",
    "1.0.0-0a",
    "1.0.0--",
    "1.0.0-alpha-a.b-c",
    "1.0.0-x.7.z.92",
    "1.0.0-A.B.c",
    "1.0.0-99999999999999999999",
    "1.0.0+build.001",
    "1.0.0-a.b+c.d-e",
    "18446744073709551615.0.0",
]
REFUSED = [
    "",
    "1",
    "1.0",
    "1.0.0.0",
    "v1.0.0",
    "=1.0.0",
    "+1.0.0",
    "-1.0.0",
    "1.0.*",
    "01.0.0",
    "1.00.0",
    "1.0.01",
    "1.0.0-",
    "1.0.0-01",
    "1.0.0-00",
    "1.0.0-alpha.01",
    "1.0.0-a..b",
    "1.0.0-+a",
    "1.0.0-a_b",
    "1.0.0-a/b",
    "1.0.0/..",
    "1.0.0\\",
    "1.0.0%0a",
    "1.0.0+",
    "1.0.0+a..b",
    "1.0.0+a+b",
    "1.0.0 -a",
    "1. 0.0",
    " 1.0.0",
    "1.0.0 ",
    "1.0.0\n",
    "1.0.0\0",
    "1.0.0-\xe9",
    "1.0.0+\xe9",
    "\uff11.0.0",
    "\u0661.0.0",
    "1.0.0\u200b",
    "18446744073709551616.0.0",
    "0.18446744073709551616.0",
    "0.0.18446744073709551616",
    "1" * 5000 + ".0.0",
    "1.0.0-" + "a" * 10_000,
]
# From low to high, as SemVer 2.0 orders them (section 11).
ORDER = [
    "0.9.10",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-99999999999999999999",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.10",
    "1.9.0",
    "1.10.0",
]


def test_version_is_parsed() -> None:
    assert [text for text in VERSIONS if str(semantic_versions.parse(text)) != text] == []


def test_text_that_is_no_version_is_refused() -> None:
    assert [text for text in REFUSED if not refusal_of(semantic_versions.parse, text)] == []


def test_length_of_a_version_is_limited() -> None:
    longest = "1.0.0-".ljust(semantic_versions.MAX_LENGTH, "a")
    assert str(semantic_versions.parse(longest)) == longest
    assert "is not understood" in refusal_of(semantic_versions.parse, longest + "a")


def test_versions_are_ordered() -> None:
    pairs = itertools.pairwise(ORDER)
    assert [pair for pair in pairs if not semantic_versions.parse(pair[0]) < semantic_versions.parse(pair[1])] == []


def test_keys_sort_as_versions_do() -> None:
    assert sorted(reversed(ORDER), key=semantic_versions.order_of) == ORDER
    keys = [semantic_versions.order_of(text) for text in VERSIONS]
    assert sorted(keys) == [
        semantic_versions.order_of(str(version)) for version in sorted(map(semantic_versions.parse, VERSIONS))
    ]


def test_build_metadata_is_left_out() -> None:
    releases = {"1.0.0": "1.0.0", "1.0.0+a": "1.0.0", "1.0.0-a.1+b-c.d": "1.0.0-a.1", "1.0.0-a": "1.0.0-a"}
    assert {text: semantic_versions.without_build(text) for text in releases} == releases


@given(st.text() | st.from_regex(r"[0-9]{1,25}\.[0-9]\.[0-9](-[0-9a-z.-]*)?(\+[0-9a-z.-]*)?", fullmatch=True))
def test_parsed_version_is_written_as_it_was(text: str) -> None:
    with suppress(Invalid):
        assert str(semantic_versions.parse(text)) == text


def test_stable_versions_follow_stable_ones() -> None:
    numbers = ["2.0.0", "2.0.0-rc.2", "2.0.0-rc.1", "1.1.0+a-b", "1.0.0", "1.0.0-rc.1"]
    assert semantic_versions.numbers_before(numbers) == {
        "2.0.0": "1.1.0+a-b",
        "2.0.0-rc.2": "2.0.0-rc.1",
        "2.0.0-rc.1": "1.1.0+a-b",
        "1.1.0+a-b": "1.0.0",
        "1.0.0": "1.0.0-rc.1",
    }
