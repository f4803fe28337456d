"""Sign-ins of browsers by a password whose account has a second factor, too: pending until that is passed.

A pending sign-in stands in a session of its own, in which nobody is signed in. It ends after five minutes, and when the
account is closed or banned, or its password changes.
"""

import secrets
import time
from collections.abc import Callable

from django.contrib import auth
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.credentials import browser_sessions
from accounts.credentials.browser_sessions import PENDING_KEY
from accounts.models import User
from accounts.passwords import login
from accounts.second_factor import proofs
from registry_site.errors import Unauthenticated

LIFETIME = 300  # seconds
PATH = "/sign-in/code"


def sign_in(request: HttpRequest, username: str, password: str) -> User | None:
    """Sign the sender of a form in, and return the user; None if the second factor comes next.

    Raises what `login.authenticate_password` raises.
    """
    user = login.authenticate_password(username, password)
    if proofs.has_second_factor(user):
        begin(request, user)
        return None
    browser_sessions.begin(request, user)
    return user


def begin(request: HttpRequest, user: User) -> None:
    """Begin a pending sign-in in a new session. Whoever was signed in before is signed out."""
    auth.logout(request)
    request.session[PENDING_KEY] = {
        "user": user.pk,
        "password": user.get_session_auth_hash(),
        "begun_at": int(time.time()),
        "id": secrets.token_urlsafe(16),
    }
    request.session.set_expiry(LIFETIME)


def find_user(request: HttpRequest) -> User | None:
    """Return the user whose sign-in is pending in this browser, or None; ends a pending sign-in that has grown void."""
    pending = request.session.get(PENDING_KEY)
    if pending is None:
        return None
    user: User | None = User.objects.filter(pk=pending["user"]).first()
    is_timely = 0 <= time.time() - pending["begun_at"] < LIFETIME
    is_same = user is not None and constant_time_compare(user.get_session_auth_hash(), pending["password"])
    if user is None or not (is_timely and is_same) or login.closing_of(user):
        request.session.flush()
        return None
    return user


def state_of(request: HttpRequest) -> str:
    """Return what the challenge of a passkey is bound to: this pending sign-in, which its use ends."""
    return f"sign-in {request.session.get(PENDING_KEY, {}).get('id')}"


def complete(request: HttpRequest, use: Callable[[User], None]) -> User:
    """Use a second factor of the user up, and sign the browser in.

    Raises `Unauthenticated` without a pending sign-in, and what `use` raises.
    """
    user = find_user(request)
    if user is None:
        raise Unauthenticated("The sign-in has ended: begin again.")
    use(user)
    browser_sessions.begin(request, user)
    return user
