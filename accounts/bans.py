"""Closing every door to an account at once, and opening them again."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Ban, User
from registry_site.errors import Invalid


def ban(user: User, *, actor: User | None, reason: str = "", until: datetime | None = None) -> Ban:
    """Ban until a moment, or until it is lifted; a ban that is in force is replaced. Raises `Invalid`."""
    if until is not None and until <= timezone.now():
        raise Invalid("The end of the ban has passed already.")
    if len(reason) > 500:
        raise Invalid("Give a reason of at most 500 characters.")
    with transaction.atomic():
        # The lock waits for a publish that is being committed, so that none is acknowledged after the ban.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        Ban.objects.in_force().filter(user=user).update(lifted_at=timezone.now())
        audit.record(actor, "user.ban", str(user), reason=reason, until=until.isoformat() if until else None)
        return Ban.objects.create(user=user, reason=reason, until=until, created_by=actor)


def unban(user: User, *, actor: User | None) -> bool:
    """Lift what is in force; False when nothing was."""
    with transaction.atomic():
        lifted = Ban.objects.in_force().filter(user=user).update(lifted_at=timezone.now())
        if lifted:
            audit.record(actor, "user.unban", str(user))
    return bool(lifted)
