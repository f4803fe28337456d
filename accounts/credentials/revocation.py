"""Ending what proves a user, at once and for good."""

from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit, roles
from accounts.models import Credential, User


def revoke(credential: Credential, actor: User | None) -> bool:
    """End a credential; False when it had ended before.

    Raises `PermissionDenied` to staff who have no rank over its holder.
    """
    roles.require_may_act_on(actor, credential.user)
    with transaction.atomic():
        # The lock waits for a publish that is being committed, so that none is acknowledged after the revocation.
        User.objects.select_for_update(no_key=True).get(pk=credential.user_id)
        ended = Credential.objects.filter(pk=credential.pk, revoked_at=None).update(revoked_at=timezone.now())
        if ended:
            kind, name = credential.get_kind_display(), credential.name
            audit.record(actor, "credential.revoke", str(credential.user), kind=kind, name=name)
    return bool(ended)


def end_sessions(user: User) -> None:
    """End what the password opened: the sessions, but for the one at work, and cargo's default token."""
    default = Q(kind=Credential.Kind.CARGO_TOKEN, name=Credential.DEFAULT)
    sessions = Credential.objects.filter(Q(kind__in=Credential.SESSIONS) | default, user=user, revoked_at=None)
    if user.session:
        sessions = sessions.exclude(pk=user.session.pk)
    sessions.update(revoked_at=timezone.now())


class RevokeSessionsOnPasswordChange:
    """Takes any password; Django tells it, whoever changed one and how, and every other session of the user ends."""

    def validate(self, password: str, user: Any = None) -> None:
        pass

    def password_changed(self, password: str, user: Any = None) -> None:
        end_sessions(user)

    def get_help_text(self) -> str:
        return "A new password ends all other sessions of the account."
