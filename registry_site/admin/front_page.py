"""The front page of the admin site: what needs somebody, and the state of the registry. Rooms register their parts."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser, PermissionsMixin
from django.db.models import Count, QuerySet, Value
from django.template.defaultfilters import pluralize
from django.utils.timesince import timesince

from registry_site.event_sentences import sentence_of
from registry_site.models import Action, AuditEvent

RECENT = 10  # changes of the member of staff, beside the page


@dataclass(frozen=True)
class Notice:
    """Something that needs somebody: how many there are, of what, and the way to them. Left out if there are none.

    The number can be rows, which are counted together with those of all other notices and facts. `{s}` in the text
    stands for the ending of a plural.
    """

    number: int | QuerySet[Any]
    text: str
    url: str
    is_urgent: bool = False


@dataclass(frozen=True)
class Fact:
    """Something that is good to know, with a way to more of it; `{number}` in the value stands for how many rows."""

    label: str
    value: str
    url: str = ""
    number: int | QuerySet[Any] = 0


def when(at: datetime) -> str:
    """Return a time as a fact has it, and how long ago that was."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {timesince(at, depth=1)} ago".replace("\xa0", " ")


Source = Callable[[], Iterable[Notice | Fact]]
sources: list[tuple[str, str, Source]] = []


def add(permission: str, section: str) -> Callable[[Source], Source]:
    """Register a function whose notices and facts stand in a section, for those who have a permission."""

    def register(source: Source) -> Source:
        sources.append((permission, section, source))
        return source

    return register


@dataclass(frozen=True)
class FrontPage:
    """What a member of staff sees: urgent notices first; facts by section."""

    notices: Sequence[Notice]
    sections: Sequence[tuple[str, Sequence[Fact]]]
    own_changes: Sequence[tuple[AuditEvent, str]]


def of(user: PermissionsMixin | AnonymousUser) -> FrontPage:
    """Return the front page of a member of staff, with nothing that they may not view."""
    parts = [
        (section, part)
        for permission, section, source in sources
        for part in (source() if user.has_perm(permission) else ())
    ]
    notices: list[Notice] = []
    sections: defaultdict[str, list[Fact]] = defaultdict(list)
    for (section, part), number in zip(parts, count([part.number for _, part in parts]), strict=True):
        if isinstance(part, Fact):
            sections[section].append(replace(part, value=part.value.replace("{number}", f"{number:,}")))
        elif number:
            notices.append(replace(part, number=number, text=part.text.replace("{s}", pluralize(number))))
    notices.sort(key=lambda notice: not notice.is_urgent)
    changes = AuditEvent.objects.filter(actor_id=user.pk).exclude(action=Action.USER_LOG_IN).order_by("-pk")[:RECENT]
    return FrontPage(notices, list(sections.items()), [(event, sentence_of(event)) for event in changes])


def count(numbers: Sequence[int | QuerySet[Any]]) -> list[int]:
    """Return numbers, and how many rows there are in place of querysets: all of these in one query."""
    counts = [
        rows.order_by().annotate(position=Value(position)).values("position").annotate(number=Count("pk"))
        for position, rows in enumerate(numbers)
        if isinstance(rows, QuerySet)
    ]
    rows = counts[0].union(*counts[1:], all=True) if counts else ()
    counted = {row["position"]: row["number"] for row in rows}
    return [number if isinstance(number, int) else counted[position] for position, number in enumerate(numbers)]
