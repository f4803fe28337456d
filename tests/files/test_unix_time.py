"""Unix time in texts: what a client was told finds the same moment again, and nothing is ever rounded up."""

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from files import unix_time

pytestmark = pytest.mark.database_independent

# Microseconds are told apart in a float until then.
EXACT = st.datetimes(datetime(1970, 1, 1), datetime(2242, 1, 1), timezones=st.just(UTC))
DIGITS = st.text("0123456789", min_size=1, max_size=60)


def exact(moment: datetime) -> Fraction:
    return Fraction((moment - unix_time.EPOCH) // timedelta(microseconds=1), 1_000_000)


@given(EXACT)
@settings(deadline=None)
def test_float_is_read_as_the_moment_that_it_was_made_of(moment: datetime) -> None:
    assert unix_time.parse(repr(moment.timestamp())) == moment


@given(EXACT)
@settings(deadline=None)
def test_number_in_json_is_read_as_the_moment_that_it_was_made_of(moment: datetime) -> None:
    assert unix_time.parse(str(json.loads(json.dumps(moment.timestamp())))) == moment


@given(st.integers(0, unix_time.MAX_SECONDS - 1), DIGITS)
@settings(deadline=None)
def test_fraction_is_cut_off_after_the_microseconds(seconds: int, digits: str) -> None:
    moment = unix_time.parse(f"{seconds}.{digits}")
    assert moment is not None
    assert 0 <= Fraction(f"{seconds}.{digits}") - exact(moment) < Fraction(1, 1_000_000)


@given(st.text(max_size=30))
@settings(deadline=None)
def test_any_text_is_a_moment_or_none(text: str) -> None:
    moment = unix_time.parse(text)
    assert moment is None or unix_time.EPOCH <= moment <= datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1461571200", datetime(2016, 4, 25, 8, tzinfo=UTC)),
        ("1461571200.123456", datetime(2016, 4, 25, 8, 0, 0, 123456, tzinfo=UTC)),
        ("1461571200.1234569", datetime(2016, 4, 25, 8, 0, 0, 123456, tzinfo=UTC)),
        ("1.4615712e9", datetime(2016, 4, 25, 8, tzinfo=UTC)),
        (" 5 ", datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)),
        ("-0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("-1", datetime(1970, 1, 1, tzinfo=UTC)),
        ("-1e20", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1e-999999", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1e20", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("1e999999", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_number_is_the_nearest_moment_that_there_is(text: str, moment: datetime) -> None:
    assert unix_time.parse(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "nan",
        "-nan",
        "snan",
        "inf",
        "-Infinity",
        "1e99999999999999999999",
        "0x10",
        "1,5",
        "2016-04-25",
        "\udcff",
        "\0",
    ],
)
def test_what_is_no_number_is_no_moment(text: str) -> None:
    assert unix_time.parse(text) is None
