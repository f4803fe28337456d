"""Version requirements: cargo's own answers, and its rules in their shortest form.

cargo 1.95 made the tables. It also gave the same answers as `would_match` below for 420 pairs of comparators, drawn at
random.
"""

import re
from contextlib import suppress

import pytest
import semver
from hypothesis import given, settings
from hypothesis import strategies as st

from crates.package import requirements
from crates.package.requirements import Requirement
from registry_site.errors import Invalid
from tests.support.refusals import refusal_of

pytestmark = pytest.mark.database_independent

# --- Normal form ------------------------------------------------------------------------------------------------

# cargo 1.95 made both tables: each text stood as the version of a dependency in a manifest, and
# `cargo metadata --no-deps --offline` either printed its `req` or refused it.
NORMALIZED = [
    ("1", "^1"),
    ("1.2", "^1.2"),
    ("1.2.3", "^1.2.3"),
    ("^1.2", "^1.2"),
    ("~1.2.3", "~1.2.3"),
    ("=1.2.3", "=1.2.3"),
    ("=1.2", "=1.2"),
    (">=1.2, <2", ">=1.2, <2"),
    (">= 1.2.0", ">=1.2.0"),
    (">1.2", ">1.2"),
    ("<=1.2.3", "<=1.2.3"),
    ("<2.0", "<2.0"),
    ("*", "*"),
    ("1.*", "1.*"),
    ("1.x", "1.*"),
    ("1.2.*", "1.2.*"),
    ("1.X.*", "1.*"),
    ("x", "*"),
    (">1.2.*", ">1.2"),
    (">=1.*", ">=1"),
    ("=1.0.0+build", "=1.0.0"),
    ("=1.*", "=1"),
    ("~1", "~1"),
    ("~1.*", "~1"),
    ("^1.*", "^1"),
    ("1.0.0-alpha.1", "^1.0.0-alpha.1"),
    ("^1.0.0-rc.1+b", "^1.0.0-rc.1"),
    ("18446744073709551615", "^18446744073709551615"),
    (" 1.2 ", "^1.2"),
    ("^ 1", "^1"),
    (">=0.0.0", ">=0.0.0"),
    ("^0", "^0"),
    ("X", "*"),
    ("^1.2.3-a.0.b", "^1.2.3-a.0.b"),
    (" ^1,~2 ", "^1, ~2"),
    ("1.2.x", "1.2.*"),
    ("1.x.x", "1.*"),
    ("1.*.*", "1.*"),
    ("1.2.3, 4.5.6-beta+x", "^1.2.3, ^4.5.6-beta"),
    ("1" + ",1" * 31, "^1" + ", ^1" * 31),
    ("1.2.3-rc.1, <2", "^1.2.3-rc.1, <2"),
    ("^1.2.3-alpha+build.5", "^1.2.3-alpha"),
    (">=1.0.0+b", ">=1.0.0"),
    ("~1.2.3-beta", "~1.2.3-beta"),
    ("=1.2.3-beta.2", "=1.2.3-beta.2"),
    ("<1.0.0-0", "<1.0.0-0"),
    (">=1.2.*", ">=1.2"),
    ("<=1.*", "<=1"),
    ("<1.2.x", "<1.2"),
    ("~1.2.*", "~1.2"),
    ("^1.2.x", "^1.2"),
    ("=1.2.X", "=1.2"),
    ("^0.0", "^0.0"),
    ("^0.0.0", "^0.0.0"),
    ("0.0.*", "0.0.*"),
    ("0", "^0"),
    ("0.*", "0.*"),
    ("1.2.3+a.b", "^1.2.3"),
    ("1.2.3+001", "^1.2.3"),
    ("1.2.3-0", "^1.2.3-0"),
    ("1.2.3-0a", "^1.2.3-0a"),
    ("1.2.3--", "^1.2.3--"),
    ("1.2.3--1", "^1.2.3--1"),
    ("1.2.3-a-b.c-d", "^1.2.3-a-b.c-d"),
    ("= 1", "=1"),
    (">  1", ">1"),
    ("1.x.*", "1.*"),
    ("1.*.x", "1.*"),
    ("* ", "*"),
    ("  *  ", "*"),
    ("1.*, 2.*", "1.*, 2.*"),
    ("1.*,>2", "1.*, >2"),
    ("1,2,3", "^1, ^2, ^3"),
    ("1 , 2", "^1, ^2"),
    ("0.18446744073709551615.0", "^0.18446744073709551615.0"),
    ("1.2.3-18446744073709551616", "^1.2.3-18446744073709551616"),
    ("1.2.3-99999999999999999999999", "^1.2.3-99999999999999999999999"),
    ("1.X.x", "1.*"),
    ("1.2.3-x", "^1.2.3-x"),
    ("=1.2.3-a, =1.2.3-b", "=1.2.3-a, =1.2.3-b"),
    ("11111111111111111111", "^11111111111111111111"),
    ("1111111111111111111", "^1111111111111111111"),
    ("=1.0.0-" + "a" * 200, "=1.0.0-" + "a" * 200),
    (">= 1.2 , < 2 ", ">=1.2, <2"),
    ("^ 1 , ~ 2", "^1, ~2"),
]

REFUSED = [
    "^1.2.3 || 2",
    ">=1.2 <2",
    "",
    "1.*.3",
    "^v1",
    "==1.0",
    "1,",
    ", 1",
    "01.0",
    "1.01",
    "1.2.3.4",
    "> 1, < 2 , !=1.5",
    "18446744073709551616",
    "1 . 2",
    "~>1.2",
    "1.2-alpha",
    "1.*-a",
    "*,1",
    "*, >1",
    "1, *",
    "**",
    "*.1",
    "1.2.3-",
    "1.2.3+",
    "1.2.3-01",
    "1.2.3-a..b",
    "=",
    "1.0.0\n",
    "\uff11",
    ">x",
    "<*",
    "=*",
    "^*",
    "~*",
    "x.x",
    "*.*",
    "*.*.*",
    "1.x.3",
    "*.1.2",
    "1" + ",1" * 32,
    "\t1.2",
    "1.2\t",
    "1.2\n",
    "1.2\xa0",
    "1,\t2",
    "1.2.3+a..b",
    "1.2.3-00",
    "1.2.3-\xe9",
    "1.2.3-a_b",
    "1.2.3- a",
    "1.2.3 -a",
    "1.2. 3",
    "1 .2",
    "1.",
    "1..2",
    ".1",
    "^",
    "~",
    "<",
    ">",
    "<=",
    ">=",
    "> =1",
    ">= = 1",
    "=>1",
    "!=1",
    "^^1",
    "1-2",
    "1.0 - 2.0",
    "1.2.3 - 2",
    "v1",
    "V1",
    "=v1",
    "latest",
    "any",
    "1.2.3.*",
    "1.*.*.*",
    "1.*.2",
    "*.1.*",
    "* , *",
    "*,",
    "x,1",
    "1,x",
    "1,,2",
    ",",
    ", ",
    "1,\n2",
    "0.18446744073709551616.0",
    "0.0.18446744073709551616",
    "00",
    "0.00",
    "0.0.00",
    "1.2.03",
    "+1",
    "-1",
    "1.-2",
    "1.+2",
    "1.2.*-a",
    "1.2.*+a",
    "1.*+a",
    "1+a",
    "1.2+a",
    "1-a",
    "*-a",
    "*+a",
    "1.2.3-a+",
    "1.2.3-+a",
    "1.2.3-a.",
    "1.2.3-.a",
    "1.2.3+.a",
    "1.2.3+a.",
    "1.2.3-a+b+c",
    "1.2.3+a+b",
    "1.2.3-a b",
    "1.2.3 a",
    "1.2.3\02",
    "x.1",
    "X.X.X",
    "x.x.x",
    "\u0663",
    "1.\uff12",
    "1.2.3-\u0663",
    "1.2.3\u200b",
    "\ufeff1",
    "1.2.3-*",
    "1.2.3-a.*",
    "1.2.3-a*",
    "99999999999999999999",
]

TOO_LONG = ["1" * 5000, "1." + "9" * 5000, "," * 100_000, "1," * 100_000, "^" * 100_000]


def test_requirement_is_normalized_as_by_cargo() -> None:
    normalized = {text: requirements.normalize(text) for text, _ in NORMALIZED}
    assert normalized == dict(NORMALIZED)


def test_requirement_that_cargo_refuses_is_refused() -> None:
    texts = REFUSED + TOO_LONG
    assert [text for text in texts if "is not understood" not in refusal_of(requirements.normalize, text)] == []


_similar_texts = st.lists(
    st.sampled_from(
        ["0", "1", "12", "01", ".", "*", "x", "-", "+", "a", "rc", "^", "~", "=", "<", ">", " ", ",", "1.2.3"]
    )
).map("".join)


@given(st.text() | _similar_texts)
def test_normal_form_is_stable(text: str) -> None:
    with suppress(Invalid):
        normal = requirements.normalize(text)
        assert requirements.normalize(normal) == normal


# --- Choice of a version ----------------------------------------------------------------------------------------

# For each requirement: `cargo generate-lockfile` in a project with that one dependency, from a local registry whose
# index has these versions.
INDEX = [
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
# The requirements that choose a version, between bars.
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
CASES = [(requirement, version) for version, texts in CHOSEN.items() for requirement in texts.split(" | ")]

COMPARATOR = re.compile(r"(\^|~|>=|<=|=|>|<|)(\d+)(?:\.(\d+|\*))?(?:\.(\d+|\*))?(?:-([0-9A-Za-z.-]+))?(?:\+.*)?")


def would_match(requirement: str, version: semver.Version) -> bool:
    """Apply the rules of cargo's `semver` number by number, as a second opinion."""
    if requirement in ("*", "x"):
        return version.prerelease is None
    parts = [part.strip() for part in requirement.split(",")]
    numbers = str(version.finalize_version())
    is_named = any(re.search(rf"(?<![0-9.]){re.escape(numbers)}-", part) for part in parts)
    return all(comparator_matches(part, version) for part in parts) and (version.prerelease is None or is_named)


def comparator_matches(comparator: str, version: semver.Version) -> bool:
    match = COMPARATOR.fullmatch(comparator)
    assert match
    operator, *texts, prerelease = match.groups()
    bound = [int(text) for text in texts if text not in (None, "*")]
    numbers = [version.major, version.minor, version.patch][: len(bound)]
    rank, bound_rank = semver.Version(0, prerelease=version.prerelease), semver.Version(0, prerelease=prerelease)
    equal = numbers == bound and rank == bound_rank
    above = numbers > bound or (numbers == bound and len(bound) == 3 and rank > bound_rank)
    below = numbers < bound or (numbers == bound and len(bound) == 3 and rank < bound_rank)
    at_least = numbers > bound or (numbers == bound and (rank >= bound_rank or len(bound) < 3))
    is_wildcard = not operator and "*" in texts
    match "=" if is_wildcard else operator:
        case "=":
            return equal
        case ">" | ">=":
            return above or (equal and operator == ">=")
        case "<" | "<=":
            return below or (equal and operator == "<=")
        case "~":
            return numbers[:2] == bound[:2] and (numbers > bound or (numbers == bound and rank >= bound_rank))
    fixed = next((index for index, number in enumerate(bound) if number), len(bound) - 1) + 1
    return numbers[:fixed] == bound[:fixed] and at_least


def newest(requirement: str, versions: list[str]) -> str:
    parsed = Requirement.parse(requirement)
    matching = [version for version in map(semver.Version.parse, versions) if parsed.matches(version)]
    return str(max(matching, default="none"))


def newest_by_rules(requirement: str, versions: list[str]) -> str:
    matching = [version for version in map(semver.Version.parse, versions) if would_match(requirement, version)]
    return str(max(matching, default="none"))


def test_version_that_cargo_chose_is_chosen() -> None:
    assert [(text, version) for text, version in CASES if newest(text, INDEX) != version] == []


def test_rules_of_these_tests_are_those_of_cargo() -> None:
    assert [(text, version) for text, version in CASES if newest_by_rules(text, INDEX) != version] == []


NUMBERS = st.integers(0, 1).map(str)
PRERELEASES = st.sampled_from(["", "", "-a", "-rc.1", "-rc.10"])
VERSIONS = st.builds("{}.{}.{}{}".format, NUMBERS, NUMBERS, NUMBERS, PRERELEASES)
PARTIAL_VERSIONS = st.one_of(NUMBERS, st.builds("{}.{}".format, NUMBERS, NUMBERS), VERSIONS)
COMPARATORS = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["", "^", "~", "=", ">", ">=", "<", "<="]), PARTIAL_VERSIONS),
    st.builds("{}.*".format, st.one_of(NUMBERS, st.builds("{}.{}".format, NUMBERS, NUMBERS))),
)


@given(requirement=COMPARATORS, versions=st.lists(VERSIONS, unique=True, max_size=20))
def test_one_comparator_chooses_as_the_rules_do(requirement: str, versions: list[str]) -> None:
    assert newest(requirement, versions) == newest_by_rules(requirement, versions)


@settings(max_examples=500)
@given(
    requirement=st.lists(COMPARATORS, min_size=2, max_size=3).map(", ".join),
    versions=st.lists(VERSIONS, unique=True, max_size=20),
)
def test_several_comparators_choose_as_the_rules_do(requirement: str, versions: list[str]) -> None:
    assert newest(requirement, versions) == newest_by_rules(requirement, versions)


# --- Ranges -----------------------------------------------------------------------------------------------------

INSIDE = {
    "*": "0.0.1 1.0.0-a 1.2.3+b",
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
OUTSIDE = {
    "1.2": "1.2.0-rc.1 1.1.9 2.0.0-rc.1 2.0.0",
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


def contains(requirement: str, version: str) -> bool:
    return Requirement.parse(requirement).contains(semver.Version.parse(version))


def test_range_contains_versions_by_their_order() -> None:
    cases = [(requirement, version) for requirement, texts in INSIDE.items() for version in texts.split()]
    assert [case for case in cases if not contains(*case)] == []


def test_range_leaves_out_versions_by_their_order() -> None:
    cases = [(requirement, version) for requirement, texts in OUTSIDE.items() for version in texts.split()]
    assert [case for case in cases if contains(*case)] == []


@given(COMPARATORS, VERSIONS.filter(lambda version: "-" not in version))
def test_release_in_a_range_would_be_chosen(requirement: str, version: str) -> None:
    assert contains(requirement, version) == (newest(requirement, [version]) == version)


@given(COMPARATORS)
def test_normal_form_means_the_same(requirement: str) -> None:
    normal = requirements.normalize(requirement)
    assert [contains(normal, version) for version in INDEX] == [contains(requirement, version) for version in INDEX]
