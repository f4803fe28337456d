"""A user's own sessions, in browsers and of programs: list them, and end them."""

from django.db import transaction

from accounts.credentials import revocation
from accounts.models import Credential, CredentialQuerySet
from accounts.principals import Principal
from accounts.scopes import Scope
from registry_site import audit
from registry_site.errors import NotFound

MAX_LISTED = 100


def list_sessions(principal: Principal) -> list[Credential]:
    """Return the newest of the live sessions."""
    principal.require(Scope.ACCOUNT)
    return list(_live_sessions(principal).order_by("-created_at", "-pk")[:MAX_LISTED])


def end_session(principal: Principal, key: int) -> None:
    """End one session. Raises `NotFound` for one that has ended or is of another user."""
    principal.require(Scope.ACCOUNT)
    session = _live_sessions(principal).select_related("user").filter(pk=key).first()
    if session is None:
        raise NotFound("This session has ended already.")
    revocation.revoke(session, principal.user)


def end_other_sessions(principal: Principal) -> int:
    """End all sessions but the principal's own, and return how many those were. Raises `Unauthenticated`."""
    principal.require(Scope.ACCOUNT)
    with transaction.atomic():
        principal.revalidate_and_lock()
        others = _live_sessions(principal)
        if principal.credential is not None:
            others = others.exclude(pk=principal.credential.pk)
        number = others.mark_revoked()
        if number:
            audit.record(principal.user, audit.Action.CREDENTIAL_REVOKE_OTHERS, principal.user, count=number)
    return number


def _live_sessions(principal: Principal) -> CredentialQuerySet:
    return principal.user.credentials.of_kind(*Credential.SESSION_KINDS).live()
