"""Looking after what the mirror keeps: whether it is what it should be, and what nobody has asked for in long."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from typing import TypeVar

from django.db.models import Count, Model, QuerySet, Sum
from django.utils import timezone

from crates.mirror import incidents
from crates.mirror.crate_cache import lock_bytes
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident
from registry_site.errors import NotFound
from registry_site.storage import blobs

Row = TypeVar("Row", bound=Model)


def totals() -> dict[str, int]:
    """How much there is: crates, files, their bytes, and incidents that nobody has settled."""
    kept = CachedCrate.objects.aggregate(files=Count("pk"), size=Sum("size"))
    return {
        "crates": CachedIndexFile.objects.filter(status=200).count(),
        "files": kept["files"],
        "bytes": kept["size"] or 0,
        "incidents": Incident.objects.filter(settled_at=None).count(),
    }


def unused_crates(days: int) -> QuerySet[CachedCrate]:
    """Files that nobody has asked for in so many days."""
    return CachedCrate.objects.filter(last_used_at__lt=timezone.now() - timedelta(days=days))


def verify_or_discard(archive: CachedCrate) -> bool:
    """Are its bytes there, and the right ones? One that is not is forgotten, and fetched again when somebody asks."""
    try:
        with archive.blob().read() as content:
            whole = blobs.sha256_of_stream(content) == archive.sha256
    except NotFound:
        whole = False
    if not whole:
        incidents.record(Incident.Kind.WRONG_BYTES, str(archive), "the bytes that were kept are damaged or gone")
        delete_crate(archive)
    return whole


def delete_crate(archive: CachedCrate) -> None:
    """The row first: bytes without a row are never handed out."""
    with lock_bytes(archive.sha256):
        CachedCrate.objects.filter(pk=archive.pk).delete()
        if not CachedCrate.objects.filter(sha256=archive.sha256).exists():
            blobs.delete(archive.blob())


def iterate(archives: QuerySet[CachedCrate]) -> Iterator[CachedCrate]:
    """One by one, however many there are and whatever happens to them meanwhile."""
    return chain.from_iterable(iterate_pages(archives, 500))


def iterate_pages(rows: QuerySet[Row], size: int) -> Iterator[list[Row]]:
    """All of them, so many at a time."""
    last = 0
    while page := list(rows.filter(pk__gt=last).order_by("pk")[:size]):
        yield page
        last = page[-1].pk
