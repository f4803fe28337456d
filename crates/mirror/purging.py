"""What the mirror keeps that is of no use: that there was no such crate, a day ago."""

from datetime import timedelta
from typing import Any

from django.dispatch import receiver
from django.utils import timezone

from crates.mirror.models import CachedIndexFile
from registry_site.maintenance import purge_requested


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    day_ago = timezone.now() - timedelta(days=1)
    gone, _ = CachedIndexFile.objects.exclude(status=200).filter(checked_at__lt=day_ago).delete()
    return f"{gone} absent crates of the mirror forgotten."
