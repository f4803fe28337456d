"""What files leave behind that has had its time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.dispatch import receiver
from django.utils import timezone

from files import catalogue
from files.models import Action, Challenge, File, Session
from registry_site.housekeeping import purging

BATCH = 500
ACTOR = "manage.py purge"


@receiver(purging)
def purge(**kwargs: Any) -> str:
    """Expired files die, so that whoever follows the catalogue learns of it; later their entries go, too."""
    died = _in_batches(_end_expired)
    gone = _in_batches(_delete_expired)
    sessions, _ = Session.objects.dead().delete()
    Challenge.objects.filter(expires_at__lt=timezone.now() - timedelta(minutes=1)).delete()
    return f"{died} expired files are dead now, {gone} deleted for good, as were {sessions} ended sessions of clients."


def _in_batches(step: Callable[[], int]) -> int:
    """How many it was done to, in short transactions that others can come between."""
    total = 0
    while done := step():
        total += done
    return total


def _end_expired() -> int:
    with transaction.atomic():
        expired = File.objects.filter(alive=True, expires_at__lt=timezone.now())
        files = list(expired.select_for_update(no_key=True).order_by("id")[:BATCH])
        catalogue.end(files, Action.EXPIRE, ACTOR)
    return len(files)


def _delete_expired() -> int:
    long_ago = timezone.now() - timedelta(days=settings.TRASH_DAYS)
    expired = File.objects.filter(alive=False, expires_at__lt=long_ago, modified_at__lt=long_ago)
    with transaction.atomic():
        ids = list(expired.order_by("id").values_list("pk", flat=True)[:BATCH])
        File.objects.filter(pk__in=ids).delete()
    return len(ids)
