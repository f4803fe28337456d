"""Names that staff reserve for nobody, of crates, accounts and namespaces. What has such a name already keeps it.

`ReservedNameQuerySet.matching` is the check, which stands where names are given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from accounts import name_patterns, names
from accounts.models import ReservedName, User
from accounts.name_patterns import NameKind
from registry_site import audit
from registry_site.errors import Conflict

MAX_PATTERNS = 1000  # each check of a new name reads all patterns of its kind
SAMPLE_SIZE = 20


@dataclass(frozen=True)
class Matches:
    """How many names a pattern matches, and the first of them; as text, a sentence."""

    count: int
    first: Sequence[str]

    def __str__(self) -> str:
        if not self.count:
            return "No name of today matches."
        rest = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        names = "1 name matches today, and stays" if self.count == 1 else f"{self.count} names match today, and stay"
        return f"{names} usable: {', '.join(self.first)}{rest}."


# By kind, a function that selects the names that exist now and match.
existing_names: dict[NameKind, Callable[[ReservedName], QuerySet[Any, str]]] = {}


def new(kind: NameKind, pattern: str, reason: str, *, actor: User | None) -> ReservedName:
    """Return a reservation that is not stored yet; raises `Invalid`, and `Conflict` for one that exists."""
    pattern = name_patterns.normalize(kind, pattern)
    form, is_pattern = name_patterns.unique_form(kind, pattern), "*" in pattern
    if ReservedName.objects.filter(kind=kind, form=form).exists():
        raise already_reserved(kind, pattern)
    if is_pattern and ReservedName.objects.filter(kind=kind, is_pattern=True).count() >= MAX_PATTERNS:
        raise Conflict(f"There are {MAX_PATTERNS} patterns already; release some that have no use.", code="pattern")
    return ReservedName(kind=kind, pattern=pattern, form=form, is_pattern=is_pattern, reason=reason, reserved_by=actor)


def reserve(kind: NameKind, pattern: str, reason: str, *, actor: User | None) -> ReservedName:
    """Reserve a name, or all that match a pattern such as `acme-*`; raises `Invalid` and `Conflict`."""
    reserved = new(kind, pattern, reason, actor=actor)
    try:
        with transaction.atomic():
            reserved.save()
            audit.record(actor, audit.Action.NAME_RESERVE, reserved, kind=kind.label, reason=reason)
    except IntegrityError as error:
        raise already_reserved(kind, reserved.pattern) from error
    return reserved


def already_reserved(kind: NameKind, pattern: str) -> Conflict:
    return Conflict(f"The {kind.label} name {pattern}, or one that looks alike, is reserved already.", code="pattern")


def release(reserved: ReservedName, *, actor: User | None) -> bool:
    """Let everybody have a name again; return False if it was released before."""
    with transaction.atomic():
        deleted, _ = ReservedName.objects.filter(pk=reserved.pk).delete()
        if deleted:
            kind, reason = NameKind(reserved.kind).label, reserved.reason
            audit.record(actor, audit.Action.NAME_RELEASE, str(reserved), kind=kind, reason=reason)
    return bool(deleted)


def matches_today(reserved: ReservedName) -> Matches:
    """Return the names that exist now and match: they stay usable."""
    matching = existing_names[NameKind(reserved.kind)](reserved)
    return Matches(matching.count(), list(matching[:SAMPLE_SIZE]))


def names_like(reserved: ReservedName, reservation: str) -> Q:
    """Return the condition that a `NameReservation` at this path of a query matches."""
    forms = {"skeleton": names.skeleton, "name": names.canonical}
    by_form = {f"{reservation}__{column}__fits": form(reserved.pattern) for column, form in forms.items()}
    return Q(**by_form, _connector=Q.OR)


def accounts_like(reserved: ReservedName) -> QuerySet[Any, str]:
    accounts = User.objects.filter(names_like(reserved, "reservation"))
    return accounts.order_by("username").values_list("username", flat=True)  # type: ignore[no-any-return]


existing_names[NameKind.ACCOUNT] = accounts_like
