"""Packages whose time in the trash is over: deleted for good, so that their names are free again."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.dispatch import receiver
from django.utils import timezone

from packages.models import Package, Release, SnapshotRevision
from registry_site.signals import blobs_needed, purge_requested


@receiver(blobs_needed)
def needed_blobs(checksums: Sequence[str], **kwargs: Any) -> set[str]:
    """Return the checksums of releases, and of the archives that were replaced."""
    # One statement: a replaced archive moves from the one table to the other.
    releases, revisions = (
        model.objects.filter(sha256__in=checksums).order_by().values_list("sha256", flat=True)
        for model in (Release, SnapshotRevision)
    )
    return set(releases.union(revisions))


@receiver(purge_requested)
def purge_packages(**kwargs: Any) -> str:
    """Delete expired packages. Their archives follow when no other row refers to them (`stored_blobs`)."""
    expired = Package.objects.filter(removed_at__lt=timezone.now() - timedelta(days=settings.TRASH_DAYS))
    count = expired.count()
    expired.delete()
    return f"{count} packages deleted for good."
