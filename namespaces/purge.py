"""Namespaces whose time in the trash is over: deleted for good, so that their names are free again."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.dispatch import receiver
from django.utils import timezone

from accounts.models import NameReservation
from namespaces.models import Namespace
from registry_site.signals import purge_requested


@receiver(purge_requested)
def purge_namespaces(**kwargs: Any) -> str:
    """Delete expired namespaces with all their packages."""
    removed_before = timezone.now() - timedelta(days=settings.TRASH_DAYS)
    count = 0
    for namespace in Namespace.objects.shared().filter(removed_at__lt=removed_before).iterator():
        with transaction.atomic():
            # The condition is repeated, as staff may have restored the namespace since it was listed.
            if Namespace.objects.filter(pk=namespace.pk, removed_at__lt=removed_before).delete()[0]:
                NameReservation.objects.filter(pk=namespace.reservation_id).delete()
                count += 1
    return f"{count} namespaces deleted for good."
