"""Removed namespaces, after their time in the trash: their names are free again."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.dispatch import receiver
from django.utils import timezone

from accounts.models import NameReservation
from namespaces.models import Namespace
from registry_site.maintenance import purge_requested


@receiver(purge_requested)
def purge_namespaces(**kwargs: Any) -> str:
    """With all that is in them."""
    since = timezone.now() - timedelta(days=settings.TRASH_DAYS)
    count = 0
    for namespace in Namespace.objects.shared().filter(removed_at__lt=since).iterator():
        with transaction.atomic():
            if Namespace.objects.filter(pk=namespace.pk, removed_at__lt=since).delete()[0]:
                NameReservation.objects.filter(pk=namespace.reservation_id).delete()
                count += 1
    return f"{count} namespaces deleted for good."
