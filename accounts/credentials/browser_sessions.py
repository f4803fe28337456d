"""Browser sessions: Django's session, and a row that is listed and revoked like any other credential."""

import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject

from accounts.credentials import last_uses, revocation
from accounts.credentials.base_session import open_session
from accounts.models import Credential, User
from accounts.passwords import login
from accounts.principals import Principal, principal_of
from accounts.second_factor import proofs
from accounts.staff_permissions import StaffPermissions
from registry_site.encoding import token_digest
from registry_site.errors import Revoked, SecondFactorRequired, Unauthenticated, WrongPassword

# Keys in Django's session.
DIGEST_KEY = "grant"  # the digest of the row
PASSWORD_BACKEND = "accounts.credentials.browser_sessions.PasswordBackend"  # noqa: S105 - a path
PENDING_KEY = "pending_sign_in"  # of a user who still has to pass the second factor
PROGRAM_KEY = "by_json"  # set if the log-in was JSON, which no form of another site can send


class BrowserSessionMiddleware(AuthenticationMiddleware):
    """Middleware: `request.user` is the signed-in user, while the row of the session is good."""

    def process_request(self, request: HttpRequest) -> None:
        request.user = SimpleLazyObject(lambda: get_user(request))  # type: ignore[assignment]


class PasswordBackend(StaffPermissions, ModelBackend):
    """Back end of Django's log-in forms, with the same check of passwords as every dialect."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if username is None or password is None:
            return None
        try:
            user = login.authenticate_password(username, password)
        except WrongPassword:
            return None
        if proofs.has_second_factor(user):
            raise SecondFactorPending(user)
        if request is not None:
            _revoke_session_of(request)  # Django drops the former user's session without the signal for a log-out
        return user


class SecondFactorPending(SecondFactorRequired):
    """The password of a log-in form of Django's is right, and the second factor comes next."""

    def __init__(self, user: User) -> None:
        super().__init__("Give your second factor, too.")
        self.user = user


def log_in(request: HttpRequest, username: str, password: str) -> User:
    """Sign the sender of JSON in, under a new session key. Raises what `passwords.login.authenticate` raises."""
    user = login.authenticate(username, password)
    begin(request, user)
    request.session[PROGRAM_KEY] = True
    return user


def begin(request: HttpRequest, user: User) -> None:
    """Begin the session of a user who has just proven all that the account needs. Raises `Unauthenticated`."""
    auth.logout(request)  # Django drops the session of another user without the signal that revokes its row
    auth.login(request, user, backend=PASSWORD_BACKEND)


def log_out(request: HttpRequest) -> None:
    """End the session, if there is one."""
    auth.logout(request)


def keep_after_password_change(request: HttpRequest, user: User) -> None:
    """Keep the browser signed in if the user has just changed the password."""
    if request.session.get(auth.HASH_SESSION_KEY) not in (None, user.get_session_auth_hash()):
        auth.update_session_auth_hash(request, user)


def get_principal(request: HttpRequest) -> Principal | None:
    """Return the signed-in user and the session, or None."""
    user = request.user
    return Principal(user, user.session) if isinstance(user, User) else None


def get_viewer(request: HttpRequest) -> User | None:
    """Return the signed-in user, or None for an anonymous visitor."""
    return request.user if isinstance(request.user, User) else None


def require_principal(request: HttpRequest) -> Principal:
    """Return the signed-in user and the session. Raises `Unauthenticated`; a browser goes to `/sign-in` then."""
    principal = get_principal(request)
    if principal is None:
        raise Unauthenticated("Sign in first.")
    return principal


def is_of_program(request: HttpRequest) -> bool:
    """Return whether the session began by `log_in`, so that its client can be a program instead of a browser."""
    return bool(request.session.get(PROGRAM_KEY))


def get_user(request: HttpRequest) -> User | AnonymousUser:
    """Return the signed-in user while Django's session and its row are good, else an anonymous one.

    This stands for `auth.get_user`, which would fetch the user once more on each request.
    """
    if DIGEST_KEY not in request.session:
        return AnonymousUser()
    try:
        principal = principal_of(Credential.Kind.BROWSER_SESSION, request.session[DIGEST_KEY])
    except Revoked:
        return AnonymousUser()
    if not _is_session_of(request, principal.user):
        return AnonymousUser()
    return last_uses.record(principal).user


def _is_session_of(request: HttpRequest, user: User) -> bool:
    """Return whether Django's session is the user's, by a way to sign in that is still open, and of this password.

    It is flushed if the password is another one now, as Django does.
    """
    session = request.session
    user_key, backend = session.get(auth.SESSION_KEY), session.get(auth.BACKEND_SESSION_KEY)
    if user_key != str(user.pk) or backend not in settings.AUTHENTICATION_BACKENDS:
        return False
    session_hash, expected = session.get(auth.HASH_SESSION_KEY, ""), user.get_session_auth_hash()
    if constant_time_compare(session_hash, expected):
        return True
    # Made with a secret key that was replaced, and still counts.
    if any(constant_time_compare(session_hash, former) for former in user.get_session_auth_fallback_hash()):
        session.cycle_key()
        session[auth.HASH_SESSION_KEY] = expected
        return True
    session.flush()
    return False


@receiver(user_logged_in)
def open_on_log_in(sender: type[User], request: HttpRequest, user: User, **kwargs: Any) -> None:
    _revoke_session_of(request)
    digest = token_digest(secrets.token_hex(32))
    expires_at = timezone.now() + timedelta(hours=settings.SESSION_HOURS)
    user.session = open_session(Principal(user), Credential.Kind.BROWSER_SESSION, digest, expires_at)
    if request.session.session_key == request.COOKIES.get(settings.SESSION_COOKIE_NAME):
        # Django keeps the key if the same user signs in again, also after the last row was revoked.
        request.session.cycle_key()
    request.session[DIGEST_KEY] = digest
    request.session.pop(PENDING_KEY, None)  # of a sign-in that was begun here, and ended at a provider
    request.session.pop(PROGRAM_KEY, None)  # Django keeps the session if the same user signs in again, by a form
    request.session.set_expiry(None)  # a session for the way to a provider and back has a short one


@receiver(user_logged_out)
def revoke_on_log_out(sender: type[User] | None, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    _revoke_session_of(request)


def _revoke_session_of(request: HttpRequest) -> None:
    digest = request.session.pop(DIGEST_KEY, "")
    session = Credential.objects.unrevoked().filter(digest=digest).select_related("user").first()
    if session is not None:
        revocation.revoke(session, session.user)
