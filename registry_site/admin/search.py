"""One search over everything that staff may view. Rooms register what they find, and one query returns it all."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, PermissionsMixin
from django.db.models import Expression, QuerySet, TextField, Value
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse

from registry_site.admin import site_pages
from registry_site.admin.actions import run_url
from registry_site.admin.object_pages import list_url, object_url
from registry_site.models import AuditEvent, StaffRun
from registry_site.templatetags.figures import shortened
from registry_site.unions import first_rows

MAX_HITS = 10  # of a group
MAX_LENGTH = 200
MAX_NOTE = 100
CHECKSUM = re.compile(r"[0-9a-f]{8,64}")  # in lower case, or the beginning of one


@dataclass(frozen=True)
class Hit:
    """A row, or a page."""

    text: str
    url: str
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Things of one kind, and the way to the list of all of them if there are more."""

    title: str
    hits: Sequence[Hit]
    more: str = ""


@dataclass(frozen=True)
class Rows:
    """Rows that match; `text` and `note` are columns, or expressions, that tell what a row is.

    Those that are first by `order` are shown, so it should be the column that was searched: an exact match precedes
    whatever is longer.
    """

    title: str
    rows: QuerySet[Any]
    text: str | Expression
    note: str | Expression = ""
    order: str = ""
    has_list: bool = True  # whether the list finds the same by `?q=`


Finder = Callable[[str], Iterable[Rows | Group]]
finders: list[tuple[str, Finder]] = []


def add(permission: str) -> Callable[[Finder], Finder]:
    """Register a function that finds things by a text, for those who have a permission; without one for all staff."""

    def register(finder: Finder) -> Finder:
        finders.append((permission, finder))
        return finder

    return register


def find(user: PermissionsMixin | AnonymousUser, text: str) -> list[Group]:
    """Return the groups of what a member of staff may view and that matches a text, what is longer than it last."""
    parts = [
        part for permission, finder in finders if not permission or user.has_perm(permission) for part in finder(text)
    ]
    groups = [part for part in parts if isinstance(part, Group)]
    return [*groups, *groups_of([part for part in parts if isinstance(part, Rows)], text)]


def groups_of(parts: Sequence[Rows], text: str) -> Iterator[Group]:
    """Read the rows of all parts in one query; parts of one title are one group."""
    hits: dict[str, dict[str, Hit]] = {}
    cut: dict[str, str] = {}
    for number, key, name, note in read(parts):
        part = parts[number]
        model = part.rows.model
        hits.setdefault(part.title, {})[key] = Hit(name, object_url(model, key), shortened(note, MAX_NOTE))
        if part.has_list:
            cut[part.title] = list_url(model, q=text)
    for title, by_key in hits.items():
        ordered = sorted(by_key.values(), key=lambda hit: (len(hit.text), hit.text.casefold()))
        more = cut.get(title, "") if len(ordered) > MAX_HITS else ""
        yield Group(title, ordered[:MAX_HITS], more)


def read(parts: Sequence[Rows]) -> Iterable[tuple[int, str, str, str]]:
    """Return (number of the part, primary key, text, note) of the first rows of each part."""
    selected = [
        first_rows(part.rows.order_by(part.order or str(part.text)), MAX_HITS + 1).annotate(
            hit_part=Value(number),
            hit_key=Cast("pk", TextField()),
            hit_text=Cast(part.text, TextField()),
            hit_note=Cast(part.note or Value(""), TextField()),
        )
        for number, part in enumerate(parts)
    ]
    lists = [rows.values_list("hit_part", "hit_key", "hit_text", "hit_note") for rows in selected]
    return lists[0].union(*lists[1:], all=True) if lists else ()


@site_pages.page("search/", "search")
def search_page(request: HttpRequest) -> HttpResponse:
    """`GET /admin/search/?q=`"""
    text = request.GET.get("q", "").strip()[:MAX_LENGTH]
    groups = find(request.user, text) if text else []
    return site_pages.render(request, "admin/search.html", "Search", query=text, groups=groups)


@add("registry_site.view_auditevent")
def find_events(text: str) -> Iterator[Rows]:
    events = AuditEvent.objects.filter(request_id=text)
    yield Rows("Events of a request", events, "action", "target", order="-pk")


@add("registry_site.view_staffrun")
def find_runs(text: str) -> Iterator[Group]:
    """Yield the run of staff that has this id."""
    try:
        key = UUID(text)
    except ValueError:
        return
    run = StaffRun.objects.only("label", "reason").filter(pk=key).first()
    if run is not None:
        yield Group("Runs", [Hit(run.label, run_url(run.pk), run.reason)])
