"""Lines of the log, as JSON and for the console."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from registry_site import logs

pytestmark = pytest.mark.database_independent


@pytest.fixture(autouse=True)
def current_id() -> Iterator[None]:
    token = logs.request_id.set("")
    yield
    logs.request_id.reset(token)


def record(message: str = "", level: int = logging.INFO, exc_info: Any = None, **fields: Any) -> logging.LogRecord:
    line = logging.LogRecord("crates.mirror", level, __file__, 1, message, (), exc_info)
    line.created = 1_800_000_000.25
    if fields:
        line.fields = fields
    return line


def as_json(line: logging.LogRecord) -> Any:
    text = logs.JsonFormatter().format(line)
    assert text.isascii()
    assert len(text.splitlines()) == 1
    return json.loads(text)


def as_text(line: logging.LogRecord) -> str:
    return logs.ConsoleFormatter().format(line)


def test_event_is_an_object_with_its_fields() -> None:
    logs.request_id.set("r1")
    assert as_json(record(event="refused", status=403, user=None, code="")) == {
        "time": "2027-01-15T08:00:00.250+00:00",
        "level": "INFO",
        "event": "refused",
        "status": 403,
        "request_id": "r1",
    }


def test_message_names_its_logger() -> None:
    assert as_json(record("The disk is full", logging.ERROR)) == {
        "time": "2027-01-15T08:00:00.250+00:00",
        "level": "ERROR",
        "logger": "crates.mirror",
        "message": "The disk is full",
    }


def test_traceback_stays_in_its_json_line() -> None:
    try:
        raise ZeroDivisionError("a\nb")
    except ZeroDivisionError:
        line = as_json(record(event="crash", exc_info=sys.exc_info()))
    assert line["traceback"].endswith("ZeroDivisionError: a\nb")


def test_console_line_has_fields_as_pairs() -> None:
    logs.request_id.set("r1")
    line = as_text(record(event="refused", method="PUT", path="/api/v1/crates/new", status=403))
    expected = "INFO refused method=PUT path=/api/v1/crates/new status=403 request_id=r1"
    assert line == f"2027-01-15T08:00:00.250+00:00 {expected}"
    assert as_text(record("The disk is full")).endswith(" INFO crates.mirror: The disk is full request_id=r1")


def test_console_line_quotes_values_of_clients() -> None:
    line = as_text(record(event="refused", path="/a b\nINFO user.ban\x1b[31m", user="é"))
    assert line.endswith(r'INFO refused path="/a b\nINFO user.ban\u001b[31m" user="\u00e9"')
    assert len(line.splitlines()) == 1
