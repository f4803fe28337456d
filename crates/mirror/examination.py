"""Examination of cached crates: their facts are read after the first download, in a thread of each worker."""

import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from django.db import connections, transaction

from crates.mirror import crate_facts, descriptions
from crates.mirror.models import CachedCrate, CrateFacts
from registry_site.errors import RegistryError

START_AFTER_SECONDS = 1  # in which a build fetches many more
# Facts that are stored together: a commit keeps other writers of SQLite waiting, and fewer commits do so less often.
MAX_TOGETHER = 20
MAX_SECONDS_TOGETHER = 1
MAX_WAITING = 1000  # crates of which a process remembers that it has fetched them

COLUMNS = [field.name for field in CrateFacts._meta.concrete_fields if not field.primary_key]

_log = logging.getLogger(__name__)


def examine(crate: CachedCrate) -> bool:
    """Read and store the facts of a crate; return False if it is deleted meanwhile.

    Raises `Lost`, also for damaged bytes, and `Unavailable`.
    """
    return store({crate.pk: crate_facts.read_stored(crate)}) == 1


def store(columns: Mapping[int, Mapping[str, Any]]) -> int:
    """Store the columns of facts by the primary keys of their crates; return how many of these are not deleted."""
    with transaction.atomic():
        locked = CachedCrate.objects.filter(pk__in=columns).order_by("pk").select_for_update(no_key=True)
        present = list(locked.only("name"))
        rows = [CrateFacts(crate_id=crate.pk, **columns[crate.pk]) for crate in present]
        CrateFacts.objects.bulk_create(rows, update_conflicts=True, unique_fields=["crate"], update_fields=COLUMNS)
        descriptions.update({crate.name for crate in present})
    return len(rows)


class Examiner:
    """Crates that a process has fetched, and the thread that reads their facts.

    What is too much, or lost with the process, `mirror examine` reads. The thread is a daemon: the end of a worker does
    not wait for what is left.
    """

    def __init__(self) -> None:
        self.waiting = queue.Queue[CachedCrate](MAX_WAITING)
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def submit(self, crate: CachedCrate) -> None:
        """Let the thread read the facts of a crate. The first starts it, and so a worker does, and not its parent."""
        with suppress(queue.Full):
            self.waiting.put_nowait(crate)
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name="examiner", daemon=True)
                self.thread.start()

    def finish(self) -> None:
        """Wait until the facts of all submitted crates are read, for a process that ends."""
        self.waiting.join()

    def run(self) -> None:
        while True:
            first = self.waiting.get()
            time.sleep(START_AFTER_SECONDS)
            taken = [first]
            try:
                examine_all(chain([first], self.take_waiting(taken)))
            except Exception:  # whatever it is, the next crates have their turn
                _log.exception("The facts of some mirrored crates are not stored; `mirror examine` reads them")
            finally:
                connections.close_all()  # no request ends in this thread, so Django would leave them open
                for _ in taken:
                    self.waiting.task_done()

    def take_waiting(self, taken: list[CachedCrate]) -> Iterator[CachedCrate]:
        """Take the waiting crates one by one, and note them as taken."""
        with suppress(queue.Empty):
            while True:
                taken.append(self.waiting.get_nowait())
                yield taken[-1]


examiner = Examiner()


def examine_all(crates: Iterable[CachedCrate]) -> None:
    """Read and store the facts of crates, except of those whose files are gone or cannot be read now."""
    facts: dict[int, dict[str, Any]] = {}
    deadline = time.monotonic() + MAX_SECONDS_TOGETHER
    for crate in crates:
        with suppress(RegistryError):  # `mirror examine` says what it is
            facts[crate.pk] = crate_facts.read_stored(crate)
        if len(facts) >= MAX_TOGETHER or time.monotonic() > deadline:
            store(facts)
            facts, deadline = {}, time.monotonic() + MAX_SECONDS_TOGETHER
    store(facts)
