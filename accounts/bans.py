"""Bans: refuse every credential of an account, and lift that again."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts import roles
from accounts.models import Ban, User
from accounts.principals import Principal
from registry_site import audit
from registry_site.errors import Invalid

MAX_REASON_LENGTH = 500
NOT_ADMINISTRATOR = "Only who administers may ban."


def ban(user: User, *, actor: User | None, reason: str = "", until: datetime | None = None) -> Ban:
    """Ban a user until a time, or until the ban is lifted; it replaces a ban in force.

    Raises `Invalid`, `PermissionDenied` when staff ban somebody with more rights, and `Conflict` for the only
    administrator.
    """
    if until is not None and until <= timezone.now():
        raise Invalid("The end of the ban has passed already.")
    if len(reason) > MAX_REASON_LENGTH:
        raise Invalid(f"Give a reason of at most {MAX_REASON_LENGTH} characters.")
    roles.require_may_act_on(actor, user)
    with transaction.atomic():
        roles.require_other_administrator(user, actor=actor)
        # The lock waits for a publish that is being committed: no publish is acknowledged after the ban.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        Ban.objects.in_force().filter(user=user).update(lifted_at=timezone.now())
        audit.record(actor, audit.Action.USER_BAN, user, reason=reason, until=until.isoformat() if until else None)
        return Ban.objects.create(user=user, reason=reason, until=until, created_by=actor)


def ban_named(principal: Principal, username: str) -> Ban:
    """Ban a user without an end, as torrust's administrators do; they can ban themselves, too, if others remain.

    Raises `PermissionDenied`, `NotFound` and `Conflict`.
    """
    roles.require_administrator(principal.user, NOT_ADMINISTRATOR)
    user = User.objects.get_named(username)
    with transaction.atomic():
        principal.revalidate_and_lock(user, *roles.administrators())  # `ban` locks these, in the same order
        # The role may have been revoked before the lock.
        roles.require_administrator(principal.user, NOT_ADMINISTRATOR)
        return ban(user, actor=principal.user)


def unban(user: User, *, actor: User | None) -> bool:
    """Lift the bans in force and return whether there was one. Raises `PermissionDenied` as `ban` does."""
    roles.require_may_act_on(actor, user)
    with transaction.atomic():
        lifted = Ban.objects.in_force().filter(user=user).update(lifted_at=timezone.now())
        if lifted:
            audit.record(actor, audit.Action.USER_UNBAN, user)
    return bool(lifted)
