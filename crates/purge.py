"""Removed versions: destroyed when their time in the trash is over; and the traces of destroyed ones, erased."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.dispatch import receiver
from django.utils import timezone

from crates import removal
from crates.models import (
    Category,
    Crate,
    CrateWords,
    Dependency,
    IndexLine,
    Keyword,
    PopularWords,
    UnrenderedReadme,
    Version,
    VersionContents,
)
from registry_site.erasure import erase_traces
from registry_site.errors import Unavailable
from registry_site.signals import blobs_needed, purge_requested
from registry_site.storage import stored_blobs

ACTOR = "manage.py purge"
TABLES = [
    Version,
    VersionContents,
    UnrenderedReadme,
    IndexLine,
    Dependency,
    CrateWords,
    PopularWords,
    Crate,
    Keyword,
    Category,
]
TABLES += [Crate.keywords.through, Crate.categories.through]


@receiver(blobs_needed)
def needed_blobs(checksums: Sequence[str], **kwargs: Any) -> set[str]:
    """Return the checksums of versions that can be downloaded, or restored."""
    versions = Version.with_removed.filter(checksum__in=checksums, destroyed_at=None).order_by()
    return set(versions.values_list("checksum", flat=True))


@receiver(purge_requested)
def purge_versions(**kwargs: Any) -> str:
    """Destroy expired versions, crate by crate."""
    limit = timezone.now() - timedelta(days=settings.TRASH_DAYS)
    expired = Version.with_removed.filter(removed_at__lt=limit, destroyed_at=None)
    crates = Crate.with_removed.filter(pk__in=expired.values("crate"))
    count = sum(removal.destroy_expired(crate, actor=ACTOR) for crate in crates.iterator(chunk_size=100))
    return f"Removed versions of {count} crates destroyed for good. {erase_destroyed()}"


def erase_destroyed() -> str:
    """Erase the files of destroyed versions, and what the database has of their texts; return a sentence about it."""
    destroyed = Version.with_removed.exclude(removed_at=None).exclude(destroyed_at=None).filter(erased_at=None)
    versions = dict(destroyed.values_list("pk", "checksum"))
    try:
        are_gone = all([stored_blobs.discard(checksum) for checksum in versions.values()])
    except Unavailable as error:
        return f"{len(versions)} destroyed versions are not erased: {error.message}"
    if versions and not (are_gone and erase_traces(TABLES)):
        return f"{len(versions)} destroyed versions are not erased yet; run it again."
    Version.with_removed.filter(pk__in=versions).update(erased_at=timezone.now())
    return f"{len(versions)} destroyed versions erased."
