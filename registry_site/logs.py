"""The log: events with fields, in lines of JSON or for the console.

An event never has a secret among its fields: no query, header or body of a request, no token and no password.
"""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

PLAIN_VALUE = re.compile(r"[A-Za-z0-9._:/@+*-]+")

# Of the request that is being answered; empty outside of a request, as in a command.
request_id: ContextVar[str] = ContextVar("request_id", default="")

_log = logging.getLogger(__name__)


def log_event(event: str, level: int = logging.INFO, exc_info: Any = None, **fields: Any) -> None:
    """Log an event; a field that is None or empty is left out."""
    _log.log(level, event, exc_info=exc_info, extra={"fields": {"event": event, **fields}})


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return all that a line says, in its order."""
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
    }
    event = getattr(record, "fields", None)
    fields |= event or {"logger": record.name, "message": record.getMessage()}
    fields["request_id"] = request_id.get()
    return {name: value for name, value in fields.items() if value is not None and value != ""}


class JsonFormatter(logging.Formatter):
    """One line of JSON in ASCII for each record, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class ConsoleFormatter(logging.Formatter):
    """`time LEVEL event field=value …`, or `time LEVEL logger: message`; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        parts = [fields.pop("time"), fields.pop("level")]
        if "event" in fields:
            parts.append(fields.pop("event"))
        else:
            parts += [f"{fields.pop('logger')}:", fields.pop("message", "")]
        parts += [f"{name}={quoted(value)}" for name, value in fields.items()]
        lines = [" ".join(parts)]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return "\n".join(lines)


def quoted(value: Any) -> str:
    """Return a value in quotes unless it is one plain word: clients choose names and paths, line ends included."""
    text = str(value)
    return text if PLAIN_VALUE.fullmatch(text) else json.dumps(text)
