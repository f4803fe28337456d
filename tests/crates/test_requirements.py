"""Which version a requirement chooses: what cargo chose, and the rules of cargo's `semver` in the shortest form.

The table was made by cargo 1.95: for each requirement, `cargo generate-lockfile` in a project with that one
dependency, from a local registry whose index has `VERSIONS`. The rules here gave the same as cargo for all of the
table and for 420 pairs of comparators besides, drawn at random.
"""

import re

import pytest
import semver
from hypothesis import given, settings
from hypothesis import strategies as st

from crates.mirror import resolving
from crates.package.requirements import normalize
from registry_site.errors import Invalid

pytestmark = pytest.mark.database_independent

VERSIONS = [
    "0.0.1",
    "0.0.2",
    "0.0.3-a",
    "0.1.0",
    "0.1.5",
    "0.2.0-rc.1",
    "0.2.0",
    "0.2.1-beta",
    "1.0.0-alpha",
    "1.0.0",
    "1.0.1+b7",
    "1.2.0-rc.1",
    "1.2.0-rc.2",
    "1.2.3",
    "1.2.4-pre",
    "1.10.0",
    "2.0.0-rc.1",
    "2.0.0-rc.10",
    "2.0.0-rc.9",
    "2.1.0-x",
    "3.0.0-a",
]
# By what was chosen among them; the requirements stand between bars.
CHOSEN = {
    "1.10.0": (
        "* | 1 | 1.* | 1.*.* | ^1 | ~1 | =1 | 1.0 | 1.0.1 | 1.2 | ^1.2 | ^1.2.0-rc.1 | ^1.2.4-a | ^1.2.4 | >1.2 | "
        ">1.2.3 | >=1.2.3 | >1.2.0-rc.1 | >=1.2.0-rc.2 | >=1 | <=1 | >=0.0.0-0 | <=99 | x"
    ),
    "0.2.0": "0 | 0.2 | ^0.2.0-a | ~0.2 | 0.* | ^0 | ~0 | =0.2 | =0.2.0 | <1 | <1.0.0 | <1.0.0-alpha | >=0.1, <=0.2",
    "0.0.2": "0.0 | ^0.0.2 | ^0.0 | ~0.0 | ~0.0.1",
    "0.0.1": "0.0.1 | ^0.0.1",
    "none": (
        "0.0.3 | =0.2.1 | ~1.2.4 | >1 | >=2 | >2.0.0-rc.10 | <0.0.1 | >1, <2 | =2 | 2 | 2.1 | ^3 | ^0.0.0 | =3.* | "
        "1.2.*, ^1.2.4-pre | <=1, =1.2.4-pre | =1.2, =1.2.4-pre"
    ),
    "0.0.3-a": "0.0.3-a | ~0.0.3-a",
    "0.1.5": "0.1 | 0.1.* | ^0.1.2 | ~0.1.2 | >=0, <=0.2.0-rc.1",
    "0.2.1-beta": "=0.2.1-beta",
    "1.0.1+b7": "~1.0 | =1.0 | =1.0.1 | =1.0.1+zz | <1.2 | >=1, <1.2 | <=1, <=1.2.0-rc.1 | <=1.2.0-rc.1, ~1",
    "1.2.3": "~1.2 | =1.2 | 1.2.* | ~1.2.0-rc.1 | <=1.2 | ~1.2, >=1.2.1",
    "1.2.0-rc.1": "=1.2.0-rc.1 | <=1.2.0-rc.1 | <1.2.0-rc.2",
    "1.2.4-pre": "~1.2.4-pre | =1.2.4-pre | >=1.2.4-a, <1.3",
    "2.0.0-rc.10": ">=2.0.0-rc.1 | >2.0.0-rc.9 | >=1.0.0, <2.0.0-z | ^2.0.0-rc.1 | ~2.0.0-rc.1 | >2.0.0-rc.9, <2.0.0",
    "1.0.0": "<=1.0.0",
    "1.0.0-alpha": "<1.0.0-b | <=1.0.0-alpha",
    "2.0.0-rc.9": "<2.0.0-rc.10 | <=2.0.0-rc.9 | =2.0.0-rc.9 | 2, <=2.0.0-rc.9",
    "1.2.0-rc.2": ">=1.2.0-rc.1, <1.2.0 | <1.2.0, ^1.2.0-rc.1",
    "0.2.0-rc.1": ">=0.2.0-a, <0.2.0 | ^0.2, =0.2.0-rc.1",
    "2.1.0-x": "=2.1.0-x | ^2.1.0-a",
    "3.0.0-a": "^3.0.0-a",
}
CASES = [(requirement, version) for version, all_of_it in CHOSEN.items() for requirement in all_of_it.split(" | ")]

COMPARATOR = re.compile(r"(\^|~|>=|<=|=|>|<|)(\d+)(?:\.(\d+|\*))?(?:\.(\d+|\*))?(?:-([0-9A-Za-z.-]+))?(?:\+.*)?")


def fits(requirement: str, version: semver.Version) -> bool:
    """As cargo's `semver` says, number by number, without any bounds."""
    if requirement in ("*", "x"):
        return version.prerelease is None
    parts = [part.strip() for part in requirement.split(",")]
    numbers = str(version.finalize_version())
    named = any(re.search(rf"(?<![0-9.]){re.escape(numbers)}-", part) for part in parts)
    return all(_fits(part, version) for part in parts) and (version.prerelease is None or named)


def _fits(comparator: str, version: semver.Version) -> bool:
    match = COMPARATOR.fullmatch(comparator)
    assert match
    operator, *texts, pre = match.groups()
    asked = [int(text) for text in texts if text not in (None, "*")]
    have = [version.major, version.minor, version.patch][: len(asked)]
    rank, asked_rank = semver.Version(0, prerelease=version.prerelease), semver.Version(0, prerelease=pre)
    exact = have == asked and rank == asked_rank
    ahead = have > asked or (have == asked and len(asked) == 3 and rank > asked_rank)
    behind = have < asked or (have == asked and len(asked) == 3 and rank < asked_rank)
    at_least = have > asked or (have == asked and (rank >= asked_rank or len(asked) < 3))
    wild = not operator and "*" in texts
    match "=" if wild else operator:
        case "=":
            return exact
        case ">" | ">=":
            return ahead or (exact and operator == ">=")
        case "<" | "<=":
            return behind or (exact and operator == "<=")
        case "~":
            return have[:2] == asked[:2] and (have > asked or (have == asked and rank >= asked_rank))
    fixed = next((place for place, number in enumerate(asked) if number), len(asked) - 1) + 1
    return have[:fixed] == asked[:fixed] and at_least


def newest(requirement: str, versions: list[str]) -> semver.Version | None:
    fitting = [version for text in versions if fits(requirement, version := semver.Version.parse(text))]
    return max(fitting, default=None)


@pytest.mark.parametrize(("requirement", "version"), CASES)
def test_what_cargo_chose_is_chosen(requirement: str, version: str) -> None:
    assert (resolving.newest(requirement, VERSIONS) or "none") == version


@pytest.mark.parametrize(("requirement", "version"), CASES)
def test_rules_of_these_tests_are_those_of_cargo(requirement: str, version: str) -> None:
    assert str(newest(requirement, VERSIONS) or "none") == version


NUMBERS = st.integers(0, 1).map(str)
PRERELEASES = st.sampled_from(["", "", "-a", "-rc.1", "-rc.10"])
WHOLE = st.builds("{}.{}.{}{}".format, NUMBERS, NUMBERS, NUMBERS, PRERELEASES)
PARTIAL = st.one_of(NUMBERS, st.builds("{}.{}".format, NUMBERS, NUMBERS), WHOLE)
COMPARATORS = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["", "^", "~", "=", ">", ">=", "<", "<="]), PARTIAL),
    st.builds("{}.*".format, st.one_of(NUMBERS, st.builds("{}.{}".format, NUMBERS, NUMBERS))),
)


@given(requirement=COMPARATORS, versions=st.lists(WHOLE, unique=True, max_size=20))
def test_highest_that_fits_one_comparator_is_chosen(requirement: str, versions: list[str]) -> None:
    assert (resolving.newest(requirement, versions) or "none") == str(newest(requirement, versions) or "none")


@settings(max_examples=500)
@given(
    requirement=st.lists(COMPARATORS, min_size=2, max_size=3).map(", ".join),
    versions=st.lists(WHOLE, unique=True, max_size=20),
)
def test_highest_that_fits_all_comparators_is_chosen(requirement: str, versions: list[str]) -> None:
    assert (resolving.newest(requirement, versions) or "none") == str(newest(requirement, versions) or "none")


@given(requirement=COMPARATORS, versions=st.permutations(VERSIONS))
def test_order_of_the_versions_does_not_matter(requirement: str, versions: list[str]) -> None:
    assert resolving.newest(requirement, versions) == resolving.newest(requirement, VERSIONS)


@pytest.mark.parametrize(
    "requirement", ["", " ", "=*", "1.x.2", "1,,2", "latest", "^", "1.2.3.4", "01", "1 || 2", ">*"]
)
def test_what_is_no_requirement_is_refused(requirement: str) -> None:
    with pytest.raises(Invalid):
        resolving.newest(requirement, VERSIONS)


@pytest.mark.parametrize(
    "version", ["", "1", "1.0", "v1.0.0", "1.0.0.0", "latest", "99999999999999999999.0.0", "1.0.0-ü"]
)
def test_what_is_no_version_is_never_chosen(version: str) -> None:
    assert resolving.newest("*", [version, "0.1.0"]) == "0.1.0"


def test_nothing_is_chosen_of_nothing() -> None:
    assert resolving.newest("*", []) is None


# --- Lying within ------------------------------------------------------------------------------------------------

LIE_WITHIN = {
    "*": "0.0.1 1.0.0-a 1.2.3+b latest",
    "1.2": "1.2.0 1.2.5 1.2.5-rc.1 1.3.0-rc.1 1.10.0",
    "~1.2": "1.2.0 1.2.5 1.2.5-rc.1",
    "1.2.*": "1.2.0 1.2.0-rc.1 1.2.5 1.2.5-rc.1",
    "=1.2": "1.2.0 1.2.0-rc.1 1.2.5 1.2.5-rc.1",
    "=1.2.5": "1.2.5 1.2.5+b",
    "=1.2.5-rc.1": "1.2.5-rc.1 1.2.5-rc.1+b",
    ">1.2": "1.3.0 1.3.0-rc.1 2.0.0-rc.1",
    ">=1.2": "1.2.0 1.2.5-rc.1 1.3.0-rc.1 2.0.0-rc.1",
    "<1.2": "1.1.9 1.1.9-a 0.0.1-a",
    "<=1.2": "1.1.9 1.2.0-rc.1 1.2.0 1.2.5-rc.1 1.2.5",
    "<1.2.0": "1.1.9 1.1.9-a 1.2.0-rc.1",
    ">=1.2.0": "1.2.0 1.2.5-rc.1 1.3.0 2.0.0-rc.1",
    "^1.2.0-rc.1": "1.2.0-rc.1 1.2.0-rc.2 1.2.0 1.9.0",
    "~1": "1.0.0 1.9.9-a",
    "^0.2": "0.2.0 0.2.9-a",
    "^0.0.3": "0.0.3",
    "^0": "0.0.0 0.9.9",
    ">=1.0, <1.4": "1.0.0 1.3.9-a",
}
LIE_OUTSIDE = {
    "1.2": "1.2.0-rc.1 1.1.9 2.0.0-rc.1 2.0.0 latest 1.2",
    "~1.2": "1.2.0-rc.1 1.3.0-rc.1 1.3.0",
    "1.2.*": "1.1.9 1.3.0-rc.1",
    "=1.2.5": "1.2.5-rc.1 1.2.6",
    ">1.2": "1.2.0 1.2.5 1.2.5-rc.1",
    ">=1.2": "1.2.0-rc.1 1.1.9",
    "<1.2": "1.2.0 1.2.0-rc.1",
    "<=1.2": "1.3.0-rc.1",
    "<1.2.0": "1.2.0 1.2.0+b",
    ">=1.2.0": "1.2.0-rc.1",
    "^1.2.0-rc.1": "1.2.0-a 2.0.0-rc.1",
    "~1": "1.0.0-a 2.0.0-a",
    "^0.2": "0.2.0-a 0.3.0-a",
    "^0.0.3": "0.0.3-a 0.0.4-a",
    ">=1.0, <1.4": "1.0.0-a 1.4.0-a",
}


@pytest.mark.parametrize("requirement", LIE_WITHIN)
def test_versions_lie_within(requirement: str) -> None:
    covers = resolving.range_matcher(requirement)
    assert [version for version in LIE_WITHIN[requirement].split() if not covers(version)] == []


@pytest.mark.parametrize("requirement", LIE_OUTSIDE)
def test_versions_lie_outside(requirement: str) -> None:
    covers = resolving.range_matcher(requirement)
    assert [version for version in LIE_OUTSIDE[requirement].split() if covers(version)] == []


@given(COMPARATORS, WHOLE.filter(lambda version: "-" not in version))
def test_release_lies_within_what_would_choose_it(requirement: str, version: str) -> None:
    assert resolving.range_matcher(requirement)(version) == (resolving.newest(requirement, [version]) == version)


@given(COMPARATORS)
def test_requirement_that_was_normalized_means_the_same(requirement: str) -> None:
    normal = normalize(requirement)
    assert normalize(normal) == normal
    assert [*map(resolving.range_matcher(normal), VERSIONS)] == [*map(resolving.range_matcher(requirement), VERSIONS)]
