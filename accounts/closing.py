"""Closing one's own account: what it published stays, its name stays reserved, and staff can open it again."""

from typing import Any

from django.conf import settings
from django.db import transaction

from accounts import roles
from accounts.models import User
from accounts.passwords import login
from accounts.principals import Principal
from accounts.scopes import Scope
from accounts.second_factor import proofs
from accounts.signals import sole_ownerships_wanted
from registry_site import audit

MAX_LISTED = 100  # of each kind


def needs_password(user: User) -> bool:
    """Return whether the owner proves the account by its password; others by a fresh proof."""
    return settings.PASSWORD_LOGIN and user.has_usable_password()


def list_sole_ownerships(user: User) -> list[str]:
    """Return what nobody could change any more without the account, such as `crate serde`."""
    answers: list[tuple[Any, Any]] = sole_ownerships_wanted.send(User, user=user, limit=MAX_LISTED)
    return [name for _, names in answers for name in names]


def close_account(principal: Principal, password: str = "") -> None:
    """Close the principal's account, which ends all its credentials.

    Raises what `login.authenticate_password` raises, `ConfirmationRequired` with a second factor and where there is no
    password, and `Conflict` for the only administrator.
    """
    principal.require(Scope.ACCOUNT)
    user = principal.user
    proofs.require_recent(principal, always=not needs_password(user))
    if needs_password(user):
        login.authenticate_password(user.username, password)
    with transaction.atomic():
        principal.revalidate_and_lock(*roles.administrators())
        roles.require_other_administrator(user, actor=user)
        User.objects.filter(pk=user.pk).update(is_active=False)
        user.credentials.mark_revoked()
        audit.record(user, audit.Action.USER_CLOSE, user)
