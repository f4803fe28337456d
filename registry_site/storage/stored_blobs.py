"""Blobs that rows of any room refer to, each known by a row of its own, so that those without a reference are deleted.

1. `put` writes or renews the row of a blob, and then the bytes. A process that is killed leaves a row without bytes, or
   bytes without a reference: `collect` deletes either.
2. Whoever inserts a reference calls `hold` in that transaction. It locks the blob's row, or refuses a blob that is
   being deleted.
3. A deletion claims the row, and commits that. It waits for transactions that hold the row, and no later one can hold
   it. Then it asks all rooms. If none needs the blob, the bytes go, and then the row.

So no reference to deleted bytes is ever committed, whatever the clocks say. A `put` waits for a deletion of the same
blob. A claim of a killed process ends after `CLAIM`, which is longer than any storage may take for a request.
The blobs of the mirror have rows of their own kind, and are no part of this.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import IO, Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, transaction
from django.db.models import Q, QuerySet
from django.dispatch import receiver
from django.utils import timezone

from registry_site.compiled_queries import compiled
from registry_site.errors import Unavailable
from registry_site.models import StoredBlob
from registry_site.row_writes import insert
from registry_site.signals import blobs_needed, purge_requested
from registry_site.sqlite.base import DatabaseWrapper
from registry_site.storage import blobs
from registry_site.storage.blobs import Blob

GRACE = timedelta(days=1)  # for uploads that a client sends again
CLAIM = timedelta(minutes=10)
WAIT_SECONDS = 5  # for a deletion of the same blob
RETRY_SECONDS = 0.05
BATCH_SIZE = 500
WALK_SECONDS = 300
PREFIXES = 256


def put(content: IO[bytes]) -> Blob:
    """Store all bytes of a seekable stream, as `blobs.put`, and remember them. Call it outside of transactions."""
    blob = blobs.identify(content)
    put_identified(blob, content)
    return blob


def put_identified(blob: Blob, content: IO[bytes]) -> None:
    """Store the bytes of a blob that was made of them, as `put`."""
    register(blob)
    blobs.write(blob, content)


def register(blob: Blob) -> None:
    """Write or renew the row of a blob. Raises `Unavailable` while the blob is being deleted."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (_insert(blob) or _renew(blob)):
        if time.monotonic() > deadline:
            raise being_deleted()
        time.sleep(RETRY_SECONDS)


def hold(sha256: str) -> None:
    """Keep a blob until the transaction ends, which inserts a reference to it. Raises `Unavailable`."""
    if not _unclaimed(sha256):
        raise being_deleted()


@compiled
def _unclaimed(sha256: str) -> QuerySet[StoredBlob, str]:
    rows = StoredBlob.objects.select_for_update(no_key=True).filter(sha256=sha256, claimed_at=None)
    return rows.values_list("pk", flat=True)


def being_deleted() -> Unavailable:
    return Unavailable("The registry is deleting a file with the same bytes at present; try again.", retry_after=1)


def _insert(blob: Blob) -> bool:
    try:
        with without_sync(), transaction.atomic():
            insert(StoredBlob(sha256=blob.sha256, size=blob.size))
    except IntegrityError:
        return False
    return True


def _renew(blob: Blob) -> bool:
    now = timezone.now()
    with without_sync():
        return bool(StoredBlob.objects.filter(free(), pk=blob.sha256).update(put_at=now, claimed_at=None))


def free() -> Q:
    """Select rows that nobody claims, or whose claim is over."""
    return Q(claimed_at=None) | Q(claimed_at__lt=timezone.now() - CLAIM)


@contextmanager
def without_sync() -> Iterator[None]:
    """Commit without waiting for the disk. The next commit that waits, as of the reference, makes this one durable.

    A power cut before that can leave bytes without a row, to which `adopt` gives one.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.in_atomic_block:  # a test
        yield
    elif isinstance(database, DatabaseWrapper):
        with database.without_sync():
            yield
    elif database.vendor == "sqlite":  # in memory, also a test
        yield
    else:
        with database.cursor() as cursor:
            cursor.execute("SET synchronous_commit TO OFF")
            try:
                yield
            finally:
                cursor.execute("RESET synchronous_commit")


# --- Deletion --------------------------------------------------------------------------------------------------------


def needed(checksums: Sequence[str]) -> set[str]:
    """Return those of some checksums that a row of any room refers to."""
    answers: Any = blobs_needed.send(sender=None, checksums=checksums)  # a room that fails stops the deletion
    return {checksum for _, present in answers for checksum in present}


def delete_unless_needed(sha256: str, condition: Q | None = None) -> bool:
    """Delete a blob without a reference, if its row meets a condition; return whether it is deleted.

    Raises `Unavailable` when the storage fails. The claim then stays: the storage may do later what it was asked.
    """
    claimed_at, began = timezone.now(), time.monotonic()
    rows = StoredBlob.objects.filter(pk=sha256)
    if not rows.filter(free(), condition or Q()).update(claimed_at=claimed_at):
        return False
    rows = rows.filter(claimed_at=claimed_at)
    is_late = time.monotonic() - began > CLAIM.total_seconds() / 2  # this process was stopped
    if needed([sha256]) or is_late:
        rows.update(claimed_at=None)
        return False
    blobs.delete(Blob(sha256, 0))
    rows.delete()
    return True


def discard(sha256: str) -> bool:
    """Delete a blob at once, without the time of grace, unless a row refers to it.

    Return False if somebody else is deleting it, and may fail.
    """
    StoredBlob.objects.get_or_create(pk=sha256, defaults={"size": 0})  # it may be older than the rows
    return delete_unless_needed(sha256) or bool(needed([sha256]))


def collect() -> int:
    """Delete the blobs that nobody refers to, a day after they were put; return their number. Raises `Unavailable`."""
    is_old = Q(put_at__lt=timezone.now() - GRACE)
    deleted, last = 0, ""
    while page := list(
        StoredBlob.objects.filter(is_old, pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH_SIZE]
    ):
        present = needed(page)
        deleted += sum(delete_unless_needed(sha256, is_old) for sha256 in page if sha256 not in present)
        last = page[-1]
    return deleted


def adopt() -> int:
    """Give rows to stored blobs without one: those from before there were rows, and what a power cut has left.

    It walks over the storage, at most some minutes: a large one is walked in parts, by several calls.
    """
    start, deadline = secrets.randbelow(PREFIXES), time.monotonic() + WALK_SECONDS
    adopted = 0
    for number in range(start, start + PREFIXES):
        stored = blobs.stored(f"{number % PREFIXES:02x}")
        while page := {blob.sha256: blob.size for blob in islice(stored, BATCH_SIZE)}:
            present = StoredBlob.objects.filter(pk__in=page).values_list("pk", flat=True)
            missing = [StoredBlob(sha256=sha256, size=page[sha256]) for sha256 in page.keys() - set(present)]
            StoredBlob.objects.bulk_create(missing, ignore_conflicts=True)
            adopted += len(missing)
        if time.monotonic() > deadline:
            break
    return adopted


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Delete the blobs that nobody refers to, unless the storage fails."""
    try:
        deleted = collect()  # first, since the keys of a bucket may not be allowed to list it
        adopted = adopt()
    except Unavailable as error:
        return f"Unused files are not all deleted: {error.message}"
    return f"{deleted} unused files deleted; {adopted} had no row until now."
