"""Revocation of credentials: it takes effect at once, and for good."""

from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts import roles
from accounts.models import Credential, User
from registry_site import audit


def revoke(credential: Credential, actor: User | None) -> bool:
    """Revoke a credential. Return False if it was revoked before.

    Raises `PermissionDenied` to staff without rank over its user.
    """
    roles.require_may_act_on(actor, credential.user)
    with transaction.atomic():
        # The lock waits for a publish that is being committed, so that none is acknowledged after the revocation.
        User.objects.select_for_update(no_key=True).get(pk=credential.user_id)
        is_revoked_now = Credential.objects.filter(pk=credential.pk).mark_revoked() > 0
        if is_revoked_now:
            kind, name = credential.get_kind_display(), credential.name
            audit.record(actor, audit.Action.CREDENTIAL_REVOKE, credential.user, kind=kind, name=name)
    return is_revoked_now


def revoke_all(user: User, actor: User | None) -> int:
    """Revoke every credential of a user, each with an event; return their number.

    Raises `PermissionDenied` as `revoke` does.
    """
    roles.require_may_act_on(actor, user)
    credentials = Credential.objects.unrevoked().filter(user=user).select_related("user")
    return sum(revoke(credential, actor) for credential in credentials)


def revoke_sessions(user: User) -> None:
    """Revoke what the password opened: cargo's default token, and all sessions but `user.session`."""
    is_default_token = Q(kind=Credential.Kind.CARGO_TOKEN, name=Credential.DEFAULT_NAME)
    credentials = Credential.objects.filter(Q(kind__in=Credential.SESSION_KINDS) | is_default_token, user=user)
    if user.session:
        credentials = credentials.exclude(pk=user.session.pk)
    credentials.mark_revoked()


class RevokeSessionsOnPasswordChange:
    """A password validator that accepts every password. Django calls `password_changed` for each change of one."""

    def validate(self, password: str, user: Any = None) -> None:
        pass

    def password_changed(self, password: str, user: Any = None) -> None:
        revoke_sessions(user)

    def get_help_text(self) -> str:
        return "A new password ends all other sessions of the account."
