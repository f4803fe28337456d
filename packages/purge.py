"""Removed packages: out of sight at once, restorable for a while, then gone and their names free again."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.dispatch import receiver
from django.utils import timezone

from accounts import audit
from accounts.models import User
from packages import search
from packages.models import Package
from registry_site.maintenance import purge_requested


def set_removed(package: Package, *, removed: bool, actor: User | None) -> bool:
    """Inside a transaction that holds the package: into the trash or out of it; False when it was so before."""
    if (package.removed_at is not None) == removed:
        return False
    package.removed_at = timezone.now() if removed else None
    search.update_search_fields(package)
    package.save(update_fields=["removed_at", "search_name", "search_text"])
    audit.record(actor, "package.remove" if removed else "package.restore", str(package))
    return True


@receiver(purge_requested)
def purge_packages(**kwargs: Any) -> str:
    """Archives stay in the store of blobs, where others may refer to them."""
    gone = Package.objects.filter(removed_at__lt=timezone.now() - timedelta(days=settings.TRASH_DAYS))
    count = gone.count()
    gone.delete()
    return f"{count} packages deleted for good."
