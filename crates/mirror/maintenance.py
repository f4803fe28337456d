"""Maintenance of the mirror's caches: totals, unused crates, verification, deletion, and the daily purge."""

import shutil
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Count, Model, QuerySet, Sum
from django.dispatch import receiver
from django.utils import timezone

from accounts.models import User
from crates.mirror import descriptions, incidents
from crates.mirror.crate_cache import RefusedArchive, check_archive, lock_bytes
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident
from registry_site import audit
from registry_site.errors import Unavailable
from registry_site.signals import purge_requested
from registry_site.storage import blobs, free_space

Row = TypeVar("Row", bound=Model)


def totals() -> dict[str, int]:
    """Return the numbers of mirrored crates, cached files, their bytes, and incidents that are not settled."""
    cached = CachedCrate.objects.aggregate(files=Count("pk"), size=Sum("size"))
    return {
        "crates": CachedIndexFile.objects.filter(status=200).count(),
        "files": cached["files"],
        "bytes": cached["size"] or 0,
        "incidents": Incident.objects.filter(settled_at=None).count(),
    }


def unused_crates(days: int) -> QuerySet[CachedCrate]:
    """Return the cached crates that nobody has requested for so many days."""
    return CachedCrate.objects.filter(last_used_at__lt=timezone.now() - timedelta(days=days))


def verify_or_discard(crate: CachedCrate) -> bool:
    """Return whether the bytes of a crate are intact. Otherwise delete it, so that the next request fetches it."""
    is_intact = blobs.is_intact(crate.blob())
    if not is_intact:
        incidents.record(Incident.Kind.DAMAGED, str(crate), "the bytes that were kept are damaged or gone")
        delete_crate(crate, actor=None)
    return is_intact


def refusal_of_archive(crate: CachedCrate) -> str:
    """Return why the archive of a private upstream is refused, and delete it; empty for one that may stay."""
    try:
        with free_space.TemporaryFile() as file:
            with crate.blob().read() as content:
                shutil.copyfileobj(content, file, blobs.CHUNK_SIZE)
            check_archive(crate.upstream, file)
    except RefusedArchive as error:
        incidents.record(error.kind, str(crate), str(error))
        delete_crate(crate, actor=None)
        return str(error)
    return ""


def delete_crate(crate: CachedCrate, *, actor: User | None) -> None:
    """Delete a crate, and its bytes unless another crate has the same. Raises `Unavailable`; then the crate stays."""
    with lock_bytes(crate.sha256):
        # Bytes first: those without a row would stay for ever, and a row without bytes is mended by the next request.
        if not CachedCrate.objects.filter(sha256=crate.sha256).exclude(pk=crate.pk).exists():
            blobs.delete(crate.blob())
        with transaction.atomic():
            audit.record(actor, audit.Action.MIRROR_DELETE, crate, sha256=crate.sha256)
            rows = CachedCrate.objects.filter(pk=crate.pk)
            list(rows.select_for_update())  # before the facts of the crate, as all who change these do
            rows.delete()
            descriptions.update([crate.name])


def delete_crates(crates: Iterable[CachedCrate], *, actor: User | None) -> tuple[int, str]:
    """Delete crates until the storage fails; return how many are deleted, and why the others are not."""
    deleted = 0
    try:
        for crate in crates:
            delete_crate(crate, actor=actor)
            deleted += 1
    except Unavailable as error:
        return deleted, error.message
    return deleted, ""


def iterate(crates: QuerySet[CachedCrate]) -> Iterator[CachedCrate]:
    """Yield crates page by page, so that they may be deleted meanwhile and need not fit into memory."""
    return chain.from_iterable(iterate_pages(crates, 500))


def iterate_pages(rows: QuerySet[Row], size: int) -> Iterator[list[Row]]:
    """Yield lists of at most `size` rows, by primary key: an offset would skip rows when others are deleted."""
    last = 0
    while page := list(rows.filter(pk__gt=last).order_by("pk")[:size]):
        yield page
        last = page[-1].pk


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Delete the rows of absent crates a day after they were looked up, except those that upstream had once.

    Only older releases made such rows. Checksums that were seen count for good, so they stay.
    """
    day_ago = timezone.now() - timedelta(days=1)
    absent = CachedIndexFile.objects.exclude(status=200).filter(checksums={}, checked_at__lt=day_ago)
    deleted, _ = absent.delete()
    return f"{deleted} absent crates of the mirror forgotten."
