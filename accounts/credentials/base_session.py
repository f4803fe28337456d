"""Session rows: what browser sessions and JWT sessions share."""

from datetime import datetime
from typing import Any

from django.db import transaction

from accounts import user_agents
from accounts.models import Credential, User
from accounts.principals import Principal
from accounts.scopes import ALL_SCOPES
from registry_site import audit
from registry_site.http import client_address

MAX_SESSIONS = 1000  # of one account and kind: a program may log in for each of its jobs


def open_session(
    principal: Principal, kind: Credential.Kind, digest: str, expires_at: datetime, name: str = "Login", **detail: Any
) -> Credential:
    """Insert the row of a session, and record the log-in with `detail`. Raises `Unauthenticated`.

    The oldest sessions of an account that has too many end, or somebody who logs in again and again would fill a table.
    """
    user = principal.user
    with transaction.atomic():
        principal.revalidate_and_lock()
        if ended := _delete_oldest(user, kind):
            detail["ended_sessions"] = ended
        session = Credential.objects.create(
            user=user,
            kind=kind,
            name=name,
            digest=digest,
            scopes=ALL_SCOPES,
            ip_address=client_address.client_ip(),
            user_agent=client_address.user_agent().replace("\0", ""),
            expires_at=expires_at,
        )
        client = user_agents.kind_of(client_address.user_agent())
        audit.record(user, audit.Action.USER_LOG_IN, user, door=kind.label, client=client, **detail)
    return session


def _delete_oldest(user: User, kind: Credential.Kind) -> int:
    """Make room for one more session; return how many sessions that has ended. The caller has locked the user's row."""
    sessions = Credential.objects.filter(user=user, kind=kind).order_by("-created_at", "-pk")
    surplus = list(sessions.values_list("pk", flat=True)[MAX_SESSIONS - 1 :])
    deleted, _ = Credential.objects.filter(pk__in=surplus).delete() if surplus else (0, {})
    return deleted
