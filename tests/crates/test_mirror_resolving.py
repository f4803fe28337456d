"""Requirements applied to the texts of an index, some of which are no versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crates.mirror import resolving
from tests.support.refusals import refusal_of

pytestmark = pytest.mark.database_independent

VERSIONS = ["0.9.0", "1.0.0", "1.0.1+b7", "1.2.0-rc.1", "1.10.0", "1.9.0", "2.0.0-rc.10", "2.0.0-rc.9"]
NO_VERSIONS = ["", "1", "1.0", "v1.0.0", "1.0.0.0", "latest", "99999999999999999999.0.0", "1.0.0-ü"]
NO_REQUIREMENTS = ["", " ", "=*", "1.x.2", "1,,2", "latest", "^", "1.2.3.4", "01", "1 || 2", ">*"]


@given(st.permutations(VERSIONS))
def test_highest_match_is_the_newest(versions: list[str]) -> None:
    requirements = ("*", "~1.0", ">=2.0.0-a", "3")
    assert [resolving.newest(text, versions) for text in requirements] == ["1.10.0", "1.0.1+b7", "2.0.0-rc.10", None]


def test_nothing_is_newest_of_nothing() -> None:
    assert resolving.newest("*", []) is None


def test_bad_requirement_is_refused() -> None:
    assert [text for text in NO_REQUIREMENTS if not refusal_of(resolving.newest, text, VERSIONS)] == []
    assert [text for text in NO_REQUIREMENTS if not refusal_of(resolving.range_matcher, text)] == []


def test_text_that_is_no_version_is_never_chosen() -> None:
    assert resolving.newest("*", [*NO_VERSIONS, "0.1.0"]) == "0.1.0"


def test_range_contains_pre_releases_too() -> None:
    contains = resolving.range_matcher("^1")
    assert [version for version in VERSIONS if contains(version)] == VERSIONS[1:6]


def test_only_the_full_range_contains_other_texts() -> None:
    assert all(map(resolving.range_matcher("*"), NO_VERSIONS))
    assert not any(map(resolving.range_matcher(">=0.0.0-0"), NO_VERSIONS))
