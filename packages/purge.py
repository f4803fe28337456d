"""Packages whose time in the trash is over: deleted for good, so that their names are free again."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.dispatch import receiver
from django.utils import timezone

from packages.models import Package
from registry_site.signals import purge_requested


@receiver(purge_requested)
def purge_packages(**kwargs: Any) -> str:
    """Delete expired packages. Their archives stay in the blob store, where other releases may refer to them."""
    expired = Package.objects.filter(removed_at__lt=timezone.now() - timedelta(days=settings.TRASH_DAYS))
    count = expired.count()
    expired.delete()
    return f"{count} packages deleted for good."
