"""What files leave behind that has had its time."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.dispatch import receiver
from django.utils import timezone

from files import catalogue
from files.actors import Actor
from files.models import Action, Challenge, File, Session
from registry_site.maintenance import purge_requested

ACTOR = Actor("manage.py purge")


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Expired files die, so that whoever follows the catalogue learns of it; later their entries go, too."""
    died = catalogue.end_all(ACTOR, File.objects.filter(expires_at__lt=timezone.now()), Action.EXPIRE)
    gone = _delete_expired()
    sessions, _ = Session.objects.dead().delete()
    Challenge.objects.filter(expires_at__lt=timezone.now() - timedelta(minutes=1)).delete()
    return f"{died} expired files are dead now, {gone} deleted for good, as were {sessions} ended sessions of clients."


def _delete_expired() -> int:
    """Those that were dead for long, a few at a time."""
    long_ago = timezone.now() - timedelta(days=settings.TRASH_DAYS)
    expired = File.objects.filter(alive=False, expires_at__lt=long_ago, modified_at__lt=long_ago)
    total = 0
    while ids := list(expired.order_by("id").values_list("pk", flat=True)[: catalogue.BATCH]):
        File.objects.filter(pk__in=ids).delete()
        total += len(ids)
    return total
