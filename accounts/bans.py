"""Bans: refuse every credential of an account, and lift that again."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts import roles
from accounts.models import Ban, User
from accounts.principals import Principal, lock_accounts
from registry_site import audit
from registry_site.errors import Conflict, Invalid
from registry_site.models import AuditEvent

MAX_REASON_LENGTH = 500
NOT_ADMINISTRATOR = "Only who administers may ban."
# What the detail of events calls the bans that they made or lifted.
BANS_OF_EVENT: dict[str, str] = {audit.Action.USER_BAN: "ban", audit.Action.USER_UNBAN: "lifted"}
TOO_OLD = (
    "This run is too old to be undone: the release that made it did not record which bans it set and lifted. "
    "Ban the account, or lift its ban, instead."
)


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
        lock_accounts(user)
        replaced = _lift(user)
        new = Ban.objects.create(user=user, reason=reason, until=until, created_by=actor)
        _record(actor, new, **({"lifted": replaced} if replaced else {}))
        return new


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
        lock_accounts(user)
        lifted = _lift(user)
        if lifted:
            audit.record(actor, audit.Action.USER_UNBAN, user, lifted=lifted)
    return bool(lifted)


def undo(user: User, *, events: Sequence[AuditEvent], actor: User) -> bool:
    """Undo a ban or its end by its events: lift what they made, and put back as it was what they lifted.

    Raises `Conflict` if the account was banned anew or its ban was lifted since, or if the events are of a release that
    did not record which bans they made and lifted, and else what `ban` raises.
    """
    roles.require_may_act_on(actor, user)
    if any(BANS_OF_EVENT[event.action] not in event.detail for event in events if event.action in BANS_OF_EVENT):
        raise Conflict(TOO_OLD)
    made = {event.detail["ban"] for event in events if "ban" in event.detail}
    lifted = {key for event in events for key in event.detail.get("lifted", ())}
    with transaction.atomic():
        if lifted:
            roles.require_other_administrator(user, actor=actor)
        lock_accounts(user)
        if set(Ban.objects.in_force().filter(user=user).values_list("pk", flat=True)) != made:
            raise Conflict(f"{user} was banned anew, or the ban was lifted or has ended since. It stays as it is now.")
        if ended := _lift(user):
            audit.record(actor, audit.Action.USER_UNBAN, user, lifted=ended)
        former = list(Ban.objects.unexpired().filter(user=user, pk__in=lifted).select_related("user"))
        for ban in former:
            ban.lifted_at = None
            ban.save(update_fields=["lifted_at"])
            _record(actor, ban)
    return bool(made or former)


def _lift(user: User) -> list[int]:
    """Lift the bans in force, and return their keys."""
    keys = list(Ban.objects.in_force().filter(user=user).values_list("pk", flat=True))
    Ban.objects.filter(pk__in=keys).update(lifted_at=timezone.now())
    return keys


def _record(actor: User | None, ban: Ban, **detail: list[int]) -> None:
    """Record that a ban is in force from now on."""
    until = ban.until.isoformat() if ban.until else None
    audit.record(actor, audit.Action.USER_BAN, ban.user, reason=ban.reason, until=until, ban=ban.pk, **detail)
