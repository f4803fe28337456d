"""Values that requests leave in memory, and that a thread of each worker stores every few seconds.

So a request writes nothing for them. A killed process loses what came since its last flush, and nothing more.
"""

import atexit
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction

from registry_site.logs import log_event

FLUSH_SECONDS = 5
BATCH_SIZE = 500  # rows of a statement, so that other writers of SQLite come between
STOP_SECONDS = 10  # for the last flush; gunicorn kills a worker after 30

Key = TypeVar("Key")
Value = TypeVar("Value")


class WriteBuffer(ABC, Generic[Key, Value]):
    """Values of one kind that are not stored yet, by key."""

    subject: ClassVar[str]  # the first word of its events in the log
    max_keys: int

    def __init__(self, **log_fields: str) -> None:
        self.log_fields = log_fields
        self.pending: dict[Key, Value] = {}
        self.lock = threading.Lock()
        self.is_failing = self.is_full = False
        buffers.append(self)

    @abstractmethod
    def merge(self, former: Value, value: Value) -> Value:
        """Return what is stored for a key that has two values."""

    @abstractmethod
    def store(self, values: Any) -> None:
        """Store values by key, in a transaction that it gets. What was deleted meanwhile is left out."""

    def amount(self, values: Mapping[Key, Value]) -> int:
        """Return how many things these values stand for."""
        return len(values)

    def add(self, values: Mapping[Key, Value]) -> None:
        """Add values to those in memory, as far as there is room for their keys."""
        with self.lock:
            for key, value in values.items():
                if key in self.pending:
                    self.pending[key] = self.merge(self.pending[key], value)
                elif len(self.pending) < self.max_keys:
                    self.pending[key] = value
                elif not self.is_full:
                    self.is_full = True
                    self.log("not_kept", logging.ERROR, cause="too many wait for storage")

    def flush(self) -> None:
        """Store what is pending. What cannot be stored stays in memory for the next flush."""
        values = self.take()
        keys: list[Any] = sorted(values)  # so that no two workers wait for each other's rows
        for start in range(0, len(keys), BATCH_SIZE):
            batch = {key: values.pop(key) for key in keys[start : start + BATCH_SIZE]}
            try:
                with transaction.atomic():
                    self.store(batch)
            except Exception as error:  # whatever it is, the storage of the others goes on
                self.add(batch)
                self.log_failure(error)
                if isinstance(error, OperationalError | InterfaceError):  # no other batch would fare better
                    self.add(values)
                    return
            else:
                self.is_failing = self.is_full = False

    def take(self) -> dict[Key, Value]:
        """Return what is pending, and forget it."""
        with self.lock:
            values, self.pending = self.pending, {}
        return values

    def log(self, ending: str, level: int, **fields: Any) -> None:
        log_event(f"{self.subject}_{ending}", level, **self.log_fields, **fields)

    def log_failure(self, error: Exception) -> None:
        """Log the first of several failures in a row."""
        if not self.is_failing:
            self.is_failing = True
            self.log("not_stored", logging.WARNING, cause=f"{type(error).__name__}: {error}")


buffers: list[WriteBuffer[Any, Any]] = []  # all of this process


@atexit.register  # for processes without the thread
def flush() -> None:
    """Store what is pending in this process."""
    for buffer in buffers:
        if buffer.pending:
            buffer.flush()


class FlushThread(threading.Thread):
    """The thread of a worker that flushes every few seconds, and once more at its end."""

    def __init__(self) -> None:
        super().__init__(name="flush", daemon=True)
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(FLUSH_SECONDS):
            self.flush()
        self.flush()

    def flush(self) -> None:
        """Flush, without a connection to the database that would be open all the time."""
        try:
            flush()
        finally:
            connections.close_all()

    def stop(self) -> None:
        """Store what is left, for a limited time, before the process ends."""
        self.stopping.set()
        self.join(STOP_SECONDS)
        for buffer in buffers:
            if lost := buffer.take():
                buffer.log("lost", logging.ERROR, count=buffer.amount(lost))
