"""Session rows: what browser sessions and JWT sessions share."""

from datetime import datetime

from django.db import transaction

from accounts.models import Credential
from accounts.principals import Principal
from accounts.scopes import ALL_SCOPES
from registry_site import audit
from registry_site.http import client_address


def open_session(
    principal: Principal, kind: Credential.Kind, digest: str, expires_at: datetime, name: str = "Login", **detail: str
) -> Credential:
    """Insert the row of a session, and record the log-in with `detail`. Raises `Unauthenticated`."""
    user = principal.user
    with transaction.atomic():
        principal.revalidate_and_lock()
        session = Credential.objects.create(
            user=user,
            kind=kind,
            name=name,
            digest=digest,
            scopes=ALL_SCOPES,
            ip_address=client_address.client_ip(),
            expires_at=expires_at,
        )
        audit.record(user, audit.Action.USER_LOG_IN, user, door=kind.label, **detail)
    return session
