"""Fresh proofs: what an account must not lose to somebody at its open browser needs one of the last 15 minutes.

A sign-in is such a proof, and so is the second factor on `/account/confirm`. Where an account has no second factor,
only adding one asks for it, and the password is the proof; without a password, also closing the account.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.http import urlencode

from accounts.models import Credential, User
from accounts.principals import Principal
from accounts.second_factor import codes
from registry_site import audit
from registry_site.errors import ConfirmationRequired

RECENT = timedelta(minutes=15)
CONFIRM_PATH = "/account/confirm"


def confirm_url(path: str) -> str:
    """Return the address of the page that asks for a fresh proof, and leads to a path then."""
    return f"{CONFIRM_PATH}?{urlencode({'next': path})}"


def has_second_factor(user: User) -> bool:
    """Return whether the password alone does not sign the user in."""
    return user.authenticators.exists()


def is_due(principal: Principal, *, always: bool = False) -> bool:
    """Return whether a change needs a fresh proof first, with `always` also for an account without a second factor.

    Only browsers are asked: tokens, keys and sessions of programs were made behind the second factor, or
    before there was one.
    """
    credential = principal.credential
    if credential is None or credential.kind != Credential.Kind.BROWSER_SESSION:
        return False
    if credential.proven_at is not None and credential.proven_at > timezone.now() - RECENT:
        return False
    return always or has_second_factor(principal.user)


def require_recent(principal: Principal, *, always: bool = False) -> None:
    """Raise `ConfirmationRequired` where `is_due`."""
    if is_due(principal, always=always):
        raise ConfirmationRequired(
            f"It is more than 15 minutes since you signed in: open {settings.PUBLIC_URL}{CONFIRM_PATH} in this "
            "browser, confirm that it is you, and try again."
        )


def prove_by_code(principal: Principal, code: str) -> None:
    """Use a code of an app or a recovery code up as a fresh proof. Raises `WrongCode` and `TooManyRequests`."""
    codes.use(principal.user, code)
    record(principal, by="a code")


def record(principal: Principal, *, by: str) -> None:
    """Let the session count as proven from now on. Raises `Unauthenticated`."""
    assert principal.credential is not None  # noqa: S101 - a browser has one
    with transaction.atomic():
        principal.revalidate_and_lock()
        Credential.objects.filter(pk=principal.credential.pk).update(proven_at=timezone.now())
        audit.record(principal.user, audit.Action.SECOND_FACTOR_CONFIRM, principal.user, by=by)
