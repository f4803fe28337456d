"""Names that staff reserve: nobody can publish a new crate of them. Crates that exist are not affected."""

import re
from fnmatch import fnmatchcase

from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts.models import User
from crates import names
from crates.models import ReservedName
from registry_site import audit
from registry_site.errors import Conflict, Invalid, PermissionDenied

PATTERN = re.compile(r"[A-Za-z0-9_*-]{1,64}")


def check(name: str) -> None:
    """Raise `PermissionDenied`, with the reason of staff, for the name of a new crate that is reserved."""
    canonical = names.canonical(name)
    candidates = ReservedName.objects.filter(Q(pattern=canonical) | Q(pattern__contains="*"))
    for reserved in candidates.only("pattern", "reason"):
        if fnmatchcase(canonical, reserved.pattern):
            raise PermissionDenied(f"The crate name {name} is reserved here: {reserved.reason}")


def reserve(pattern: str, reason: str, *, actor: User | None) -> ReservedName:
    """Reserve a name, or all that match a pattern such as `acme-*`; raises `Invalid` and `Conflict`."""
    canonical = normalize(pattern)
    try:
        with transaction.atomic():
            reserved = ReservedName.objects.create(pattern=canonical, reason=reason, reserved_by=actor)
            audit.record(actor, audit.Action.CRATE_RESERVE_NAME, reserved, reason=reason)
    except IntegrityError as error:
        raise Conflict(f"The name {canonical} is reserved already.") from error
    return reserved


def normalize(pattern: str) -> str:
    """Return the one form of a pattern; raises `Invalid`, also for one that every name matches."""
    if not PATTERN.fullmatch(pattern) or not pattern.strip("*"):
        raise Invalid("A reserved name has letters, digits, - and _, and * for any further characters.")
    return re.sub(r"\*+", "*", names.canonical(pattern))


def release(reserved: ReservedName, *, actor: User | None) -> bool:
    """Let everybody have a name again; return False if it was released before."""
    with transaction.atomic():
        deleted, _ = ReservedName.objects.filter(pk=reserved.pk).delete()
        if deleted:
            audit.record(actor, audit.Action.CRATE_RELEASE_NAME, str(reserved))
    return bool(deleted)
