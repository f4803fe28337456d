"""Removed versions whose time in the trash is over: destroyed, so that nobody can restore them."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.dispatch import receiver
from django.utils import timezone

from crates import removal
from crates.models import Crate, Version
from registry_site.signals import purge_requested

ACTOR = "manage.py purge"


@receiver(purge_requested)
def purge_versions(**kwargs: Any) -> str:
    """Destroy expired versions, crate by crate."""
    limit = timezone.now() - timedelta(days=settings.TRASH_DAYS)
    expired = Version.with_removed.filter(removed_at__lt=limit, destroyed_at=None)
    crates = Crate.with_removed.filter(pk__in=expired.values("crate")).without_large_columns()
    count = sum(removal.destroy_expired(crate, actor=ACTOR) for crate in crates.iterator(chunk_size=100))
    return f"Removed versions of {count} crates destroyed for good."
