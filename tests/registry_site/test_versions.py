"""Versions and requirements, held against what cargo itself makes of them."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crates.package import requirements
from registry_site import versions
from registry_site.errors import Invalid

# Both tables of requirements were made by cargo 1.95: each text stood as the version of a dependency in a manifest,
# and `cargo metadata --no-deps --offline` either printed its `req` or refused it.
UNDERSTOOD = [
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

# Likewise: the `version` of a package, printed or refused. Where cargo trims the blanks around it (in the manifest
# only, never in what it sends), a publish is refused.
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
NO_VERSIONS = [
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


@pytest.mark.parametrize(("text", "written"), UNDERSTOOD)
def test_requirement_is_read_as_cargo_reads_it(text: str, written: str) -> None:
    assert requirements.normalize(text) == written


@pytest.mark.parametrize("text", REFUSED)
def test_requirement_that_cargo_refuses_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not understood"):
        requirements.normalize(text)


@pytest.mark.parametrize("text", ["1" * 5000, "1." + "9" * 5000, "," * 100_000, "1," * 100_000, "^" * 100_000])
def test_very_long_requirement_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not understood"):
        requirements.normalize(text)


@pytest.mark.parametrize("text", VERSIONS)
def test_version_is_read(text: str) -> None:
    assert str(versions.parse(text)) == text


@pytest.mark.parametrize("text", NO_VERSIONS)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        versions.parse(text)


def test_version_of_the_greatest_length_is_read() -> None:
    longest = "1.0.0-".ljust(versions.MAXIMUM_LENGTH, "a")
    assert str(versions.parse(longest)) == longest


@pytest.mark.parametrize(("lower", "higher"), list(itertools.pairwise(ORDER)))
def test_versions_are_ordered(lower: str, higher: str) -> None:
    assert versions.parse(lower) < versions.parse(higher)


@pytest.mark.parametrize(
    ("text", "release"),
    [("1.0.0", "1.0.0"), ("1.0.0+a", "1.0.0"), ("1.0.0-a.1+b-c.d", "1.0.0-a.1"), ("1.0.0-a", "1.0.0-a")],
)
def test_build_metadata_is_left_out(text: str, release: str) -> None:
    assert versions.without_build(text) == release


_like_a_requirement = st.lists(
    st.sampled_from(
        ["0", "1", "12", "01", ".", "*", "x", "-", "+", "a", "rc", "^", "~", "=", "<", ">", " ", ",", "1.2.3"]
    )
).map("".join)


@settings(deadline=None)
@given(st.text() | _like_a_requirement)
def test_understood_requirement_stays_as_it_is_written(text: str) -> None:
    with suppress(Invalid):
        written = requirements.normalize(text)
        assert requirements.normalize(written) == written


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[0-9]{1,25}\.[0-9]\.[0-9](-[0-9a-z.-]*)?(\+[0-9a-z.-]*)?", fullmatch=True))
def test_understood_version_stays_as_it_is_written(text: str) -> None:
    with suppress(Invalid):
        assert str(versions.parse(text)) == text
