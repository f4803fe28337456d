"""Sessions by JSON web token: the token says who and until when, the row decides whether that is still so.

A session's id is the SHA-256 of its token, as backup-repository has it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.tokens import Token

from accounts import audit, roles, scopes
from accounts.credentials import revocation
from accounts.models import Credential, User
from accounts.principals import Principal, principal_of
from registry_site.encoding import token_digest
from registry_site.errors import NotFound, PermissionDenied, Unauthenticated
from registry_site.http import client_address

MOST_LISTED = 100
TORRUST_LIFETIME = timedelta(days=14)
TORRUST_RENEWAL = timedelta(days=7)  # with less left than this, a renewal gives another token


class SessionToken(Token):
    """Signed by this registry for one dialect; each has a random `jti`, so that no two are alike."""

    kind: ClassVar[Credential.Kind]


class BackupsToken(SessionToken):
    """With backup-repository's claims."""

    kind = Credential.Kind.BACKUPS_SESSION
    token_type = kind.value
    lifetime = timedelta(hours=settings.SESSION_HOURS)


class TorrustToken(SessionToken):
    """With torrust's claims."""

    kind = Credential.Kind.TORRUST_SESSION
    token_type = kind.value
    lifetime = TORRUST_LIFETIME


class IssuedSession(NamedTuple):
    """The text of a token, which is given out once, and its row."""

    token: str
    session: Credential


def create_backups_session(user: User) -> IssuedSession:
    """A session for backup-repository's clients; raises `Unauthenticated` when the account was closed meanwhile."""
    return _open(Principal(user), BackupsToken, "Login", {"login": user.username, "orig_iat": _now()})


def refresh_backups_session(principal: Principal) -> IssuedSession:
    """Another session in the place of a live one, which ends; raises `Unauthenticated`."""
    claims = {"login": principal.user.username, "orig_iat": _now()}
    with transaction.atomic():
        grant = _open(principal, BackupsToken, "Refresh", claims)
        if principal.credential is not None:
            revocation.revoke(principal.credential, principal.user)
        return grant


def create_torrust_session(user: User) -> IssuedSession:
    """A session for torrust's clients; raises `Unauthenticated` when the account was closed meanwhile."""
    return _open(Principal(user), TorrustToken, "Login", _torrust_claims(user))


def renew_torrust_session(token: str) -> IssuedSession:
    """The same while it is good for a week and more, else another beside it; raises `Unauthenticated`."""
    principal = authenticate(TorrustToken, token)
    session = principal.credential
    if session is not None and session.expires_at and session.expires_at - timezone.now() >= TORRUST_RENEWAL:
        return IssuedSession(token, session)
    return _open(principal, TorrustToken, "Renewal", _torrust_claims(principal.user))


def authenticate(kind: type[SessionToken], token: str) -> Principal:
    """Who holds this token; raises `Unauthenticated` for one that is not ours, and `Revoked`."""
    try:
        kind(token)  # type: ignore[arg-type]  # simplejwt annotates the text as a token
    except ExpiredTokenError as error:
        raise Unauthenticated("The token is expired; log in again.", code="expired") from error
    except TokenError as error:
        raise Unauthenticated("The token is not one of this registry's.") from error
    return principal_of(kind.kind, token_digest(token))


def end_backups_session(principal: Principal, session_id: str | None = None) -> str:
    """End the principal's session, or the one of this id → the id; one that has ended already stays so.

    Only who administers may end those of others: raises `PermissionDenied`, and `NotFound` for an id that there is not.
    """
    if session_id is None:
        session = principal.credential
    else:
        session = _sessions().filter(digest=session_id).first()
        if session is None or session.user_id != principal.user.pk:
            roles.require_administrator(principal.user, "you don't have permissions to revoke session of other user")
    if session is None:
        raise NotFound("specified session identifier is not valid, cannot find GrantedAccess of specified id")
    revocation.revoke(session, principal.user)
    return session.digest


def list_backups_sessions(principal: Principal, username: str | None = None) -> list[Credential]:
    """The newest sessions of the principal, dead ones too; those of another only for who administers.

    Raises `PermissionDenied`.
    """
    sessions = _sessions()
    if username is None:
        sessions = sessions.filter(user=principal.user)
    else:
        roles.require_administrator(principal.user, "no permissions to act as other user")
        sessions = sessions.filter(user__in=User.objects.named(username))
    return list(sessions.select_related("user")[:MOST_LISTED])


def profile_for(principal: Principal, username: str) -> User:
    """An account as its owner or who manages users sees it.

    Raises `NotFound` only to the latter, and `PermissionDenied` to everybody else alike.
    """
    if roles.may_manage_users(principal.user):
        user: User = User.objects.get_named(username)
        return user
    if User.objects.named(username).filter(pk=principal.user.pk).exists():
        return principal.user
    raise PermissionDenied("no permissions to view that user account")


def _sessions() -> QuerySet[Credential]:
    return Credential.objects.filter(kind=Credential.Kind.BACKUPS_SESSION)


def _now() -> int:
    return int(timezone.now().timestamp())


def _torrust_claims(user: User) -> dict[str, Any]:
    return {
        "user": {"user_id": user.pk, "username": user.username, "administrator": roles.is_administrator(user)},
    }


def _open(principal: Principal, kind: type[SessionToken], description: str, claims: dict[str, Any]) -> IssuedSession:
    token = kind()
    for name, value in claims.items():
        token[name] = value
    text = str(token)
    with transaction.atomic():
        principal.revalidate_and_lock()
        session = Credential.objects.create(
            user=principal.user,
            kind=kind.kind,
            name=description,
            digest=token_digest(text),
            scopes=" ".join(scopes.ALL),
            peer=client_address.client_ip(),
            expires_at=datetime.fromtimestamp(token["exp"], UTC),
        )
        audit.record(principal.user, "user.log_in", str(principal.user), door=kind.kind.label, how=description)
    return IssuedSession(text, session)
