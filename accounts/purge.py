"""Deletion of expired rows: ended sessions, old log-in failures, used nonces."""

from datetime import timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.dispatch import receiver
from django.utils import timezone

from accounts.credentials.app_keys import NONCE_LIFETIME
from accounts.models import Credential, LoginFailure, Nonce
from registry_site.signals import purge_requested

RETENTION = timedelta(days=90)  # staff may look at ended sessions and failed log-ins for that long


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Delete ended sessions and log-in failures after 90 days, nonces and Django's sessions as soon as they expire."""
    long_ago = timezone.now() - RETENTION
    ended = Q(revoked_at__lt=long_ago) | Q(expires_at__lt=long_ago)
    sessions, _ = Credential.objects.filter(ended, kind__in=Credential.SESSION_KINDS).delete()
    failures, _ = LoginFailure.objects.filter(at__lt=long_ago).delete()
    # A timestamp older than this is refused by itself, with or without the nonce.
    Nonce.objects.filter(used_at__lt=timezone.now() - NONCE_LIFETIME).delete()
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    return f"{sessions} ended sessions and {failures} failed log-ins deleted."
