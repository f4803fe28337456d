"""Deletion of expired rows: ended sessions, old log-in failures, used nonces, accounts that were never verified."""

from datetime import timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, ProtectedError, Q
from django.dispatch import receiver
from django.utils import timezone

from accounts.credentials.app_keys import NONCE_LIFETIME
from accounts.models import Credential, LoginFailure, NameReservation, Nonce, User
from accounts.signals import account_ending
from registry_site import audit
from registry_site.errors import Conflict
from registry_site.models import AuditEvent
from registry_site.signals import purge_requested

ACTOR = "manage.py purge"
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


@receiver(purge_requested)
def purge_unverified_accounts(**kwargs: Any) -> str:
    """Delete accounts whose address nobody has verified for long, so that their names are free again.

    Nothing but their sign-up, and mails with links, may ever have happened: an account with anything of its own stays.
    """
    if not settings.EMAIL_VERIFICATION:
        return "0 unverified accounts deleted."
    sent_before = timezone.now() - timedelta(days=settings.UNVERIFIED_DAYS)
    events = AuditEvent.objects.filter(actor=OuterRef("pk"))
    unverified = User.objects.filter(
        Exists(events.filter(action=audit.Action.USER_REGISTER)),
        ~Exists(events.exclude(action__in=(audit.Action.USER_REGISTER, audit.Action.USER_ASK_FOR_EMAIL))),
        email_verified_at=None,
        verification_sent_at__lt=sent_before,
        last_login=None,
        credentials=None,
        role_grants=None,
        bans=None,
        is_staff=False,
    ).exclude(email="")
    deleted = sum(_delete_unverified(pk) for pk in unverified.values_list("pk", flat=True))
    return f"{deleted} unverified accounts deleted."


def _delete_unverified(pk: int) -> bool:
    try:
        with transaction.atomic():
            # The condition is repeated, as the link may have been visited since the account was listed.
            user = User.objects.select_for_update().filter(pk=pk, email_verified_at=None).first()
            if user is None:
                return False
            account_ending.send(sender=User, user=user)
            audit.record(ACTOR, audit.Action.USER_EXPIRE, user, email=user.email)
            user.delete()
            NameReservation.objects.filter(pk=user.reservation_id).delete()
    except (Conflict, ProtectedError):  # somebody else gave the account something, such as a role or a crate
        return False
    return True
