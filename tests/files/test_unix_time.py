"""Unix time in texts: a time that a client received is parsed as the same time, and none is rounded up."""

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files import unix_time

pytestmark = pytest.mark.database_independent

# A float distinguishes microseconds until then.
EXACT = st.datetimes(datetime(1970, 1, 1), datetime(2242, 1, 1), timezones=st.just(UTC))
DIGITS = st.text("0123456789", min_size=1, max_size=60)


def seconds_of(time: datetime) -> Fraction:
    return Fraction((time - unix_time.EPOCH) // timedelta(microseconds=1), 1_000_000)


@given(EXACT)
def test_float_is_parsed_as_its_own_time(time: datetime) -> None:
    assert unix_time.parse(repr(time.timestamp())) == time
    assert unix_time.parse(str(json.loads(json.dumps(time.timestamp())))) == time


@given(st.integers(0, unix_time.MAX_SECONDS - 1), DIGITS)
def test_fraction_is_cut_after_microseconds(seconds: int, digits: str) -> None:
    time = unix_time.parse(f"{seconds}.{digits}")
    assert time is not None
    assert 0 <= Fraction(f"{seconds}.{digits}") - seconds_of(time) < Fraction(1, 1_000_000)


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_none(text: str) -> None:
    time = unix_time.parse(text)
    assert time is None or unix_time.EPOCH <= time <= datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


TIMES = {
    "0": datetime(1970, 1, 1, tzinfo=UTC),
    "1461571200": datetime(2016, 4, 25, 8, tzinfo=UTC),
    "1461571200.123456": datetime(2016, 4, 25, 8, 0, 0, 123456, tzinfo=UTC),
    "1461571200.1234569": datetime(2016, 4, 25, 8, 0, 0, 123456, tzinfo=UTC),
    "1.4615712e9": datetime(2016, 4, 25, 8, tzinfo=UTC),
    " 5 ": datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC),
    "-0": datetime(1970, 1, 1, tzinfo=UTC),
    "-1": datetime(1970, 1, 1, tzinfo=UTC),
    "-1e20": datetime(1970, 1, 1, tzinfo=UTC),
    "1e-999999": datetime(1970, 1, 1, tzinfo=UTC),
    "1e20": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "1e999999": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
}


def test_number_is_the_nearest_possible_time() -> None:
    assert {text: unix_time.parse(text) for text in TIMES} == TIMES


def test_malformed_number_is_none() -> None:
    texts = [
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
    ]
    assert [text for text in texts if unix_time.parse(text) is not None] == []
