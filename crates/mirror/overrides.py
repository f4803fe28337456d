"""What staff decide: versions that nobody gets any more, and such as the policies do not count for."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from crates import names
from crates.mirror import index_cache, resolving
from crates.mirror.models import Override
from crates.package.requirements import normalize
from registry_site import audit
from registry_site.errors import Invalid, PermissionDenied

Kind = Override.Kind


@dataclass(frozen=True)
class ActiveOverride:
    """A decision in force; `contains` tells which versions it is about."""

    kind: str
    reason: str
    contains: Callable[[str], bool]

    def blocks(self, version: str) -> bool:
        return self.kind == Kind.BLOCKED and self.contains(version)

    def exempts(self, version: str) -> bool:
        return self.kind == Kind.EXEMPT and self.contains(version)


def create_override(
    kind: Override.Kind,
    name: str,
    requirement: str,
    *,
    actor: User | None,
    reason: str,
    until: datetime | None = None,
) -> Override:
    """From now until a moment, or until it is ended; raises `Invalid`."""
    if not index_cache.NAME.fullmatch(name):
        raise Invalid(f"{name[:80]!r} is no name of a crate.")
    requirement, reason = normalize(requirement), reason.strip()
    if len(requirement) > 200:
        raise Invalid("Say in at most 200 characters which versions.")
    if not reason or len(reason) > 500 or "\0" in reason:
        raise Invalid("Give a reason of at most 500 characters.")
    if until is not None and until <= timezone.now():
        raise Invalid("Its end has passed already.")
    with transaction.atomic():
        made = Override.objects.create(
            kind=kind,
            name=names.canonical(name),
            requirement=requirement,
            reason=reason,
            until=until,
            created_by=actor,
        )
        audit.record(actor, audit.Action(f"mirror.{kind}"), f"{made.name}@{made.requirement}", reason=made.reason)
    return made


def end_override(decision: Override, *, actor: User | None) -> bool:
    """False when it had ended before."""
    with transaction.atomic():
        ended = Override.objects.filter(pk=decision.pk, ended_at=None).update(ended_at=timezone.now())
        if ended:
            audit.record(actor, audit.Action(f"mirror.{decision.kind}.end"), f"{decision.name}@{decision.requirement}")
    return bool(ended)


def active_overrides_for(name: str) -> list[ActiveOverride]:
    """All that are in force about a crate, the newest first."""
    return [_ruling(one) for one in Override.objects.active().filter(name=names.canonical(name))]


def active_overrides_by_crate() -> dict[str, list[ActiveOverride]]:
    """All of them, by the canonical names of the crates."""
    found = defaultdict(list)
    for one in Override.objects.active():
        found[one.name].append(_ruling(one))
    return found


def _ruling(decision: Override) -> ActiveOverride:
    return ActiveOverride(decision.kind, decision.reason, resolving.range_matcher(decision.requirement))


def refuse_blocked(name: str, version: str) -> None:
    """Raises `PermissionDenied` with the reason."""
    for ruling in active_overrides_for(name):
        if ruling.blocks(version):
            raise PermissionDenied(f"{name} {version} is blocked here: {ruling.reason}", code="blocked")
