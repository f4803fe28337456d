"""Closing every door to an account at once, and opening them again."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts import audit, roles
from accounts.models import Ban, User
from accounts.principals import Principal
from registry_site.errors import Invalid, NotFound


def ban(user: User, *, actor: User | None, reason: str = "", until: datetime | None = None) -> Ban:
    """Ban until a moment, or until it is lifted; a ban that is in force is replaced.

    Raises `Invalid`, and `PermissionDenied` to staff who would ban an administrator and are none.
    """
    if until is not None and until <= timezone.now():
        raise Invalid("The end of the ban has passed already.")
    if len(reason) > 500:
        raise Invalid("Give a reason of at most 500 characters.")
    roles.require_rank_over(actor, user)
    with transaction.atomic():
        # The lock waits for a publish that is being committed, so that none is acknowledged after the ban.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        Ban.objects.in_force().filter(user=user).update(lifted_at=timezone.now())
        audit.record(actor, "user.ban", str(user), reason=reason, until=until.isoformat() if until else None)
        return Ban.objects.create(user=user, reason=reason, until=until, created_by=actor)


def ban_named(principal: Principal, username: str) -> Ban:
    """Ban until it is lifted, as torrust's administrators do; they can ban themselves, too.

    Raises `PermissionDenied` and `NotFound`.
    """
    refusal = "Only who administers may ban."
    roles.require_administrator(principal.user, refusal)
    user: User | None = User.objects.named(username).first()
    if user is None:
        raise NotFound("There is no user of this name.", code="user_missing")
    with transaction.atomic():
        principal.revalidate_and_lock(user)
        roles.require_administrator(principal.user, refusal)
        return ban(user, actor=principal.user)


def unban(user: User, *, actor: User | None) -> bool:
    """Lift what is in force; False when nothing was. Raises `PermissionDenied` as `ban` does."""
    roles.require_rank_over(actor, user)
    with transaction.atomic():
        lifted = Ban.objects.in_force().filter(user=user).update(lifted_at=timezone.now())
        if lifted:
            audit.record(actor, "user.unban", str(user))
    return bool(lifted)
