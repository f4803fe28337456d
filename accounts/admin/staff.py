"""The member of staff who sends a request, and which accounts they may act on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.http import HttpRequest

from accounts import roles
from accounts.credentials import browser_sessions
from accounts.models import User
from accounts.second_factor import proofs


def staff(request: HttpRequest) -> User:
    """Return the member of staff who sent the request."""
    assert isinstance(request.user, User)  # noqa: S101 - the admin site admits no anonymous user
    return request.user


def confirmed_staff(request: HttpRequest) -> User:
    """Return the member of staff who sent the request, with a fresh proof. Raises `ConfirmationRequired`."""
    proofs.require_recent(browser_sessions.require_principal(request))
    return staff(request)


def rank_over(user_of: Callable[[Any], User]) -> Callable[[User, Sequence[Any]], Mapping[Any, str]]:
    """Return the refusals of an action by the rank of the account that a row belongs to."""

    def refusals(actor: User, rows: Sequence[Any]) -> Mapping[Any, str]:
        reasons = roles.refusals(actor, {user_of(row) for row in rows})
        return {row.pk: reasons[user_of(row).pk] for row in rows if user_of(row).pk in reasons}

    return refusals
