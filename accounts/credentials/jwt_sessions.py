"""JWT sessions: a token names the user and its end, and a row in the database decides whether it is still good.

The id of a session is the SHA-256 of its token, as backup-repository has it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.tokens import Token

from accounts import roles
from accounts.credentials import last_uses, revocation
from accounts.credentials.base_session import open_session
from accounts.models import Credential, User
from accounts.principals import Principal, principal_of
from registry_site.encoding import token_digest
from registry_site.errors import NotFound, PermissionDenied, Unauthenticated

MAX_LISTED = 100
TORRUST_LIFETIME = timedelta(days=14)
TORRUST_RENEWAL = timedelta(days=7)  # a renewal returns the same token while more than this is left


class SessionToken(Token):
    """A JSON web token of one dialect, signed by this registry. Its random `jti` makes each one different."""

    kind: ClassVar[Credential.Kind]

    @classmethod
    def claims_of(cls, user: User) -> dict[str, Any]:
        """Return the claims that clients of the dialect read. This registry believes none of them."""
        raise NotImplementedError


class BackupsToken(SessionToken):
    kind = Credential.Kind.BACKUPS_SESSION
    token_type = kind.value
    lifetime = timedelta(hours=settings.SESSION_HOURS)

    @classmethod
    def claims_of(cls, user: User) -> dict[str, Any]:
        return {"login": user.username, "orig_iat": int(timezone.now().timestamp())}


class TorrustToken(SessionToken):
    kind = Credential.Kind.TORRUST_SESSION
    token_type = kind.value
    lifetime = TORRUST_LIFETIME

    @classmethod
    def claims_of(cls, user: User) -> dict[str, Any]:
        return {"user": {"user_id": user.pk, "username": user.username, "administrator": roles.is_administrator(user)}}


class IssuedSession(NamedTuple):
    """The row of a new session, and its token, which is not stored."""

    token: str
    session: Credential


def create_backups_session(user: User) -> IssuedSession:
    """Open a session for a client of backup-repository. Raises `Unauthenticated` if the account was just closed."""
    return _issue(Principal(user), BackupsToken, "Login")


def refresh_backups_session(principal: Principal) -> IssuedSession:
    """Replace a live session by a new one. Raises `Unauthenticated`."""
    with transaction.atomic():
        issued = _issue(principal, BackupsToken, "Refresh")
        # Only now: `_issue` has locked, and refuses the second of two refreshes at once, whose session is revoked.
        if principal.credential is not None:
            revocation.revoke(principal.credential, principal.user)
        return issued


def create_torrust_session(user: User) -> IssuedSession:
    """Open a session for a client of torrust. Raises `Unauthenticated` if the account was just closed."""
    return _issue(Principal(user), TorrustToken, "Login")


def renew_torrust_session(token: str) -> IssuedSession:
    """Return the same session if it is good for a week or more, else a new one beside it. Raises `Unauthenticated`."""
    principal = authenticate(TorrustToken, token)
    session = principal.credential
    if session is not None and session.expires_at and session.expires_at - timezone.now() >= TORRUST_RENEWAL:
        return IssuedSession(token, session)
    return _issue(principal, TorrustToken, "Renewal")


def authenticate(token_class: type[SessionToken], token: str) -> Principal:
    """Return the principal of this token. Raises `Unauthenticated` for a token that is not ours, and `Revoked`."""
    try:
        token_class(token)  # type: ignore[arg-type]  # simplejwt annotates the text as a token
    except ExpiredTokenError as error:
        raise Unauthenticated("The token is expired; log in again.", code="expired") from error
    except TokenError as error:
        raise Unauthenticated("The token is not one of this registry's.") from error
    return last_uses.record(principal_of(token_class.kind, token_digest(token)))


def end_backups_session(principal: Principal, session_id: str | None = None) -> str:
    """End the session of this id, or else the principal's own, and return its id. An ended session stays ended.

    Raises `PermissionDenied` for the session of another user unless the principal is an administrator, and `NotFound`
    to administrators for an unknown id.
    """
    if session_id is None:
        session = principal.credential
    else:
        session = Credential.objects.of_kind(Credential.Kind.BACKUPS_SESSION).filter(digest=session_id).first()
        # An unknown id is refused like another user's: only administrators can tell which ids exist.
        if session is None or session.user_id != principal.user.pk:
            roles.require_administrator(principal.user, "you don't have permissions to revoke session of other user")
    if session is None:
        raise NotFound("specified session identifier is not valid, cannot find GrantedAccess of specified id")
    revocation.revoke(session, principal.user)
    return session.digest


def list_backups_sessions(principal: Principal, username: str | None = None) -> list[Credential]:
    """Return the newest sessions of the principal or of the user of this name, ended ones included.

    Raises `PermissionDenied` for a name unless the principal is an administrator.
    """
    sessions = Credential.objects.of_kind(Credential.Kind.BACKUPS_SESSION).select_related("user")
    if username is None:
        sessions = sessions.filter(user=principal.user)
    else:
        roles.require_administrator(principal.user, "no permissions to act as other user")
        sessions = sessions.filter(user__in=User.objects.named(username))
    return list(sessions[:MAX_LISTED])


def profile_for(principal: Principal, username: str) -> User:
    """Return the user of this name to that user, or to a manager of users.

    Raises `PermissionDenied` to everybody else, whether the user exists or not, and `NotFound` to managers of users.
    """
    if roles.may_manage_users(principal.user):
        user: User = User.objects.get_named(username)
        return user
    if User.objects.named(username).filter(pk=principal.user.pk).exists():
        return principal.user
    raise PermissionDenied("no permissions to view that user account")


def _issue(principal: Principal, token_class: type[SessionToken], description: str) -> IssuedSession:
    token = token_class()
    for name, value in token_class.claims_of(principal.user).items():
        token[name] = value
    text = str(token)
    expires_at = datetime.fromtimestamp(token["exp"], UTC)
    session = open_session(
        principal, token_class.kind, token_digest(text), expires_at, name=description, how=description
    )
    return IssuedSession(text, session)
