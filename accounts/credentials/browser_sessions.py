"""Signing in with a cookie: Django's session, and a row that can be seen and ended like any other credential."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from accounts import audit, scopes
from accounts.credentials import revocation
from accounts.models import Credential, User
from accounts.passwords import login
from accounts.principals import Principal, principal_of
from registry_site.errors import Revoked, WrongPassword
from registry_site.http import client_address

GRANT = "grant"  # in the session: the digest of the row


class BrowserSessions(AuthenticationMiddleware):
    """`request.user` is whoever signed in, as long as the row of this session is good."""

    def process_request(self, request: HttpRequest) -> None:
        request.user = SimpleLazyObject(lambda: _user(request))  # type: ignore[assignment]


class PasswordBackend(ModelBackend):
    """Django's log-in forms through the same gate as every other door."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if username is None or password is None:
            return None
        try:
            user = login.authenticate(username, password)
        except WrongPassword:
            return None
        if request is not None:
            _end(request)  # Django forgets the session of whoever was signed in without a word
        return user


def log_in(request: HttpRequest, username: str, password: str) -> User:
    """Sign the browser in, under a new session key; raises as `credentials.check` does."""
    user = login.authenticate(username, password)
    auth.logout(request)  # or Django would forget the session of somebody else without ending it
    auth.login(request, user)
    return user


def log_out(request: HttpRequest) -> None:
    """End the session, if there is one."""
    auth.logout(request)


def keep(request: HttpRequest, user: User) -> None:
    """After a change of the user's password: the session that they are at work in goes on."""
    if request.session.get(auth.HASH_SESSION_KEY) not in (None, user.get_session_auth_hash()):
        auth.update_session_auth_hash(request, user)


def principal(request: HttpRequest) -> Principal | None:
    """Who is signed in, and by which row."""
    user = request.user
    return Principal(user, user.session) if isinstance(user, User) else None


def _user(request: HttpRequest) -> User | AnonymousUser:
    found = auth.get_user(request)
    if not found.is_authenticated:
        return AnonymousUser()
    try:
        return principal_of(Credential.Kind.BROWSER_SESSION, request.session.get(GRANT, "")).user
    except Revoked:
        return AnonymousUser()


@receiver(user_logged_in)
def _open(sender: type[User], request: HttpRequest, user: User, **kwargs: Any) -> None:
    _end(request)
    digest = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
    with transaction.atomic():
        Principal(user).revalidate_and_lock()
        user.session = Credential.objects.create(
            user=user,
            kind=Credential.Kind.BROWSER_SESSION,
            name="Login",
            digest=digest,
            scopes=" ".join(scopes.ALL),
            peer=client_address.client_ip(),
            expires_at=timezone.now() + timedelta(hours=settings.SESSION_HOURS),
        )
        audit.record(user, "user.log_in", str(user), door=Credential.Kind.BROWSER_SESSION.label)
    if request.session.session_key == request.COOKIES.get(settings.SESSION_COOKIE_NAME):
        request.session.cycle_key()  # Django keeps the key of the same user, whose last row may have been revoked
    request.session[GRANT] = digest
    request.session.set_expiry(None)  # it may have been one for signing in at a provider, which is short


@receiver(user_logged_out)
def _close(sender: type[User] | None, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    _end(request)


def _end(request: HttpRequest) -> None:
    """End the row of the session that the request came with, if there is one."""
    digest = request.session.pop(GRANT, "")
    session = Credential.objects.filter(digest=digest, revoked_at=None).select_related("user").first()
    if session is not None:
        revocation.revoke(session, session.user)
