"""Overrides by staff: versions that are blocked for everybody, or exempt from the policies."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import User
from crates import names
from crates.mirror import index_lines, resolving
from crates.mirror.models import Override
from crates.package.requirements import normalize
from registry_site import audit
from registry_site.errors import Invalid, PermissionDenied


@dataclass(frozen=True)
class ActiveOverride:
    """An override in force, with its requirement as a function on versions."""

    kind: str
    reason: str
    contains: Callable[[str], bool]
    until: datetime | None = None

    @classmethod
    def of(cls, override: Override) -> "ActiveOverride":
        contains = resolving.range_matcher(override.requirement)
        return cls(override.kind, override.reason, contains, override.until)

    def blocks(self, version: str) -> bool:
        return self.kind == Override.Kind.BLOCKED and self.contains(version)

    def exempts(self, version: str) -> bool:
        return self.kind == Override.Kind.EXEMPT and self.contains(version)


def create_override(
    kind: Override.Kind,
    name: str,
    requirement: str,
    *,
    actor: User | None,
    reason: str,
    until: datetime | None = None,
) -> Override:
    """Block or exempt versions of a crate from now on; raises `Invalid`."""
    if not index_lines.NAME.fullmatch(name):
        raise Invalid(f"{name[:80]!r} is no name of a crate.")
    requirement, reason = normalize(requirement), reason.strip()
    if len(requirement) > 200:
        raise Invalid("Say in at most 200 characters which versions.")
    if not reason or len(reason) > 500 or "\0" in reason:
        raise Invalid("Give a reason of at most 500 characters.")
    if until is not None and until <= timezone.now():
        raise Invalid("Its end has passed already.")
    with transaction.atomic():
        override = Override.objects.create(
            kind=kind,
            name=names.canonical(name),  # staff may write the crate in any spelling
            requirement=requirement,
            reason=reason,
            until=until,
            created_by=actor,
        )
        target = f"{override.name}@{override.requirement}"
        audit.record(actor, audit.Action(f"mirror.{kind}"), target, row=override, reason=override.reason)
    return override


def end_override(override: Override, *, actor: User | None) -> bool:
    """End an override now; return False if it had ended before."""
    with transaction.atomic():
        ended = Override.objects.filter(pk=override.pk, ended_at=None).update(ended_at=timezone.now())
        if ended:
            target = f"{override.name}@{override.requirement}"
            audit.record(actor, audit.Action(f"mirror.{override.kind}.end"), target, row=override)
    return bool(ended)


def active_overrides_for(name: str) -> list[ActiveOverride]:
    """Return the overrides in force for a crate, the newest first."""
    return [ActiveOverride.of(override) for override in Override.objects.active().filter(name=names.canonical(name))]


def active_overrides_by_crate(crates: Collection[str] | None = None) -> Mapping[str, list[ActiveOverride]]:
    """Return the overrides in force of all crates, or of some, by the canonical names of the crates."""
    active = Override.objects.active()
    overrides = defaultdict(list)
    for override in active if crates is None else active.filter(name__in=crates):
        overrides[override.name].append(ActiveOverride.of(override))
    return overrides


def wholly_blocked() -> QuerySet[Any]:
    """Select the canonical names of the crates that are blocked in all versions."""
    return Override.objects.active().filter(kind=Override.Kind.BLOCKED, requirement="*").values("name")


def exempt() -> QuerySet[Any]:
    """Select the canonical names of the crates of which some versions are exempt from the policies."""
    return Override.objects.active().filter(kind=Override.Kind.EXEMPT).values("name")


def refuse_blocked(name: str, version: str) -> None:
    """Raise `PermissionDenied` with the reason of staff if the version is blocked."""
    for override in active_overrides_for(name):
        if override.blocks(version):
            raise PermissionDenied(f"{name} {version} is blocked here: {override.reason}", code="blocked")
