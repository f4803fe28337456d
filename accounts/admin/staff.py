"""The member of staff who sends a request, and which accounts they may act on."""

from collections.abc import Iterable

from django.contrib import admin, messages
from django.http import HttpRequest

from accounts import roles
from accounts.credentials import browser_sessions
from accounts.models import User
from accounts.passwords import login_throttle
from accounts.second_factor import proofs


def staff(request: HttpRequest) -> User:
    """Return the member of staff who sent the request."""
    assert isinstance(request.user, User)  # noqa: S101 - the admin site admits no anonymous user
    return request.user


def confirmed_staff(request: HttpRequest) -> User:
    """Return the member of staff who sent the request, with a fresh proof. Raises `ConfirmationRequired`."""
    proofs.require_recent(browser_sessions.require_principal(request))
    return staff(request)


def within_rank(model_admin: admin.ModelAdmin, request: HttpRequest, users: Iterable[User]) -> list[User]:
    """Return the users that this member of staff may act on, and warn about the others."""
    listed = list(users)
    allowed = [user for user in listed if roles.may_act_on(staff(request), user)]
    if len(allowed) < len(listed):
        message = (
            "Only administrators may do this to administrators, and to accounts with rights or roles that you lack."
        )
        model_admin.message_user(request, message, messages.WARNING)
    return allowed


def unlock(model_admin: admin.ModelAdmin, request: HttpRequest, canonical_names: Iterable[str]) -> None:
    """Let the recent failures of these names count no more, and say how many those were."""
    unlocked = sum(login_throttle.unlock(name, actor=staff(request)) for name in canonical_names)
    model_admin.message_user(request, f"{unlocked} failed log-ins count no more.")
