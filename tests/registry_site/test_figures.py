"""Numbers, sizes and days as pages write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from registry_site.templatetags import figures

pytestmark = pytest.mark.database_independent


def test_large_numbers_have_commas() -> None:
    texts = {0: "0", 999: "999", 1000: "1,000", 12345678: "12,345,678"}
    assert {number: figures.grouped(number) for number in texts} == texts


def test_counts_have_their_noun() -> None:
    texts = {0: "0 crates", 1: "1 crate", 1234: "1,234 crates"}
    assert {number: figures.counted(number, "crate") for number in texts} == texts


def test_long_texts_are_shortened() -> None:
    texts = {"": "", "abcd": "abcd", "abcde": "abc…", "e\u0301" * 4: "e\u0301e…"}
    assert {text: figures.shortened(text, 4) for text in texts} == texts


def test_sizes_have_a_fitting_unit() -> None:
    texts = {
        0: "0 B",
        999: "999 B",
        1000: "1.0 kB",
        12_345: "12.3 kB",
        10**6: "1.0 MB",
        10**9: "1.0 GB",
        10**15: "1000.0 TB",
    }
    assert {number: figures.size(number) for number in texts} == texts


def test_day_is_that_of_utc() -> None:
    text = '<time datetime="2026-12-01">2026-12-01</time>'
    moment = datetime(2026, 12, 1, 0, 30, tzinfo=UTC)
    assert figures.day(moment) == text
    assert figures.day(moment.astimezone(timezone(timedelta(hours=-8)))) == text
