"""Lines of the log that a test has caused, as fields."""

from typing import Any

import pytest


def request_failures(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the lines about failed requests to other servers, without how long they took."""
    lines = [dict(record.fields) for record in caplog.records if hasattr(record, "fields")]
    failures = [line for line in lines if line.pop("event") == "request_failed"]
    assert all(line.pop("duration_ms") >= 0 for line in failures)
    return failures
