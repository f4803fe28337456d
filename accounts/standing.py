"""The standing of an account: whether its owner can use it, and each reason why not, for staff.

The rules are those of `passwords.login`, `principals` and the throttle of log-ins, which keep people out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts import email_verification
from accounts.models import Ban, LoginFailure, User
from accounts.passwords import login_throttle
from accounts.second_factor import policy
from registry_site import audit


@dataclass(frozen=True)
class Hindrance:
    """A reason why an account cannot be used: a word for it, and a sentence."""

    kind: str
    reason: str


def hindrances_of(
    user: User,
    *,
    can_sign_in: bool,
    bans: Sequence[Ban],
    refused_at: datetime | None,
    failures: Sequence[LoginFailure],
) -> list[Hindrance]:
    """Return what keeps the owner of an account out at present; nothing if the owner can sign in and work.

    `can_sign_in` is that of `annotate_can_sign_in`, `bans` are the latest ones, `refused_at` is when an OpenID
    provider named no group that may enter, and `failures` are the failed log-ins that the throttle counts.
    """
    hindrances = [Hindrance("Banned", ban_reason(ban)) for ban in bans if ban.is_in_force]
    if not user.is_active:
        hindrances.append(Hindrance("Closed", closing_reason(user)))
    if refused_at is not None:
        reason = f"Its OpenID provider named no group or user that may enter, since {moment(refused_at)}."
        hindrances.append(Hindrance("Refused", reason))
    if email_verification.is_missing(user):
        hindrances.append(Hindrance("Unverified", f"{user.email} has to be verified by the link in a mail first."))
    if not can_sign_in:
        hindrances.append(Hindrance("No way in", "It has neither a password nor an identity that may sign in."))
    elif policy.is_missing(user):
        hindrances.append(Hindrance("No second factor", "This registry requires one of the account."))
    return hindrances + [Hindrance("Locked", lock_reason(lock)) for lock in login_throttle.locks(failures)]


def ban_reason(ban: Ban) -> str:
    """Return who banned an account, when, until when, and why."""
    by = f" by {ban.created_by}" if ban.created_by else ""
    end = f"until {moment(ban.until)}" if ban.until else "until it is lifted"
    return f"{end}, since {moment(ban.created_at)}{by}: {ban.reason or 'no reason was given'}"


def closing_reason(user: User) -> str:
    """Return who closed an account, when, and why, as `closing.annotate_closing` has found it."""
    if getattr(user, "closing", None) != audit.Action.USER_CLOSE:
        return "The account is not active: its owner has closed it, or staff have."
    because = f": {user.closing_reason}" if user.closing_reason else ""  # type: ignore[attr-defined]
    return f"since {moment(user.closed_at)} by {user.closed_by}{because}"  # type: ignore[attr-defined]


def lock_reason(lock: login_throttle.Lock) -> str:
    """Return from where too many log-ins have failed, and until when no other is let through."""
    where = f"from {lock.network}" if lock.network else "from all networks that it has not used before"
    return f"{lock.failures} log-ins failed {where}: no other is let through before {moment(lock.until)}."


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
