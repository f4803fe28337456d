"""Ending what proves a user, at once and for good."""

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Credential, User


def revoke(credential: Credential, actor: User | None) -> bool:
    """End a credential; False when it had ended before."""
    with transaction.atomic():
        # The lock waits for a publish that is being committed, so that none is acknowledged after the revocation.
        User.objects.select_for_update(no_key=True).get(pk=credential.user_id)
        ended = Credential.objects.filter(pk=credential.pk, revoked_at=None).update(revoked_at=timezone.now())
        if ended:
            kind, name = credential.get_kind_display(), credential.name
            audit.record(actor, "credential.revoke", str(credential.user), kind=kind, name=name)
    return bool(ended)


def end_sessions(user: User) -> int:
    """End every session of the user but the one that they are at work in; gives how many."""
    sessions = Credential.objects.filter(user=user, kind__in=Credential.SESSIONS, revoked_at=None)
    if user.session:
        sessions = sessions.exclude(pk=user.session.pk)
    return sessions.update(revoked_at=timezone.now())
