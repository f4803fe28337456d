"""The purge of files: expired files die, and long-dead files, sessions and challenges are deleted."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.dispatch import receiver
from django.utils import timezone

from files import catalogue
from files.actors import Actor
from files.models import AnsweredChallenge, File, Session
from registry_site.audit import Action
from registry_site.signals import blobs_needed, purge_requested

ACTOR = Actor("manage.py purge")


@receiver(blobs_needed)
def needed_blobs(checksums: Sequence[str], **kwargs: Any) -> set[str]:
    """Return the checksums of uploads, of dead files, too."""
    uploads = File.objects.filter(path__in=[f"upload:{checksum}" for checksum in checksums])  # there is an index
    return set(uploads.order_by().values_list("sha256", flat=True))


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Mark expired files as dead, delete what is long over, and return a sentence with the numbers.

    An expired file is first marked, as a change that clients see in their next list, and deleted much later.
    """
    now = timezone.now()
    died = catalogue.mark_all_dead(ACTOR, File.objects.filter(expires_at__lt=now), Action.FILE_EXPIRE)
    long_ago = now - timedelta(days=settings.TRASH_DAYS)
    long_dead = File.objects.filter(alive=False, expires_at__lt=long_ago, modified_at__lt=long_ago)
    deleted = 0
    # A few in each transaction, so that other writers come between on SQLite.
    while ids := list(long_dead.order_by("id").values_list("pk", flat=True)[: catalogue.BATCH_SIZE]):
        File.objects.filter(pk__in=ids).delete()
        deleted += len(ids)
    ended, _ = Session.objects.dead().delete()
    # A minute more than needed, for other servers whose clocks are behind.
    AnsweredChallenge.objects.filter(expires_at__lt=timezone.now() - timedelta(minutes=1)).delete()
    return f"{died} expired files are dead now, {deleted} deleted for good, as were {ended} ended sessions of clients."
