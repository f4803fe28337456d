"""Object pages of the admin site: all that staff need to know of one row, and the way to what they can do.

`/admin/APP/MODEL/PK/` shows facts, the standing first, then panels and the newest events. It changes nothing. A room
above adds to the page of a row below: `add_panel` and `add_fact`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from django.conf import settings
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.html import escape, format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from registry_site import audit
from registry_site.admin.address_links import link_to_address
from registry_site.admin.base import DeclaredFiltersChangeList, DomainAdmin
from registry_site.event_sentences import sentence_of
from registry_site.http.request_log import annotate
from registry_site.models import AuditEvent
from registry_site.templatetags import figures

MAX_ROWS = 10  # of a panel: a page has a dozen panels, and each leads to the list of all
MAX_TEXT = 200  # characters of a text in a cell; people write names, reasons and descriptions of any length
MAX_TITLE = 100
ANY_KEY = "00000000-0000-0000-0000-000000000000"  # of any form that addresses have: runs have such keys


@dataclass(frozen=True)
class Link:
    """A text that leads to a page. Without an address it is the text alone."""

    text: str
    url: str


NOTHING = format_html("{}", "—")

Cell = str | int | datetime | Link | SafeString | None


@dataclass(frozen=True)
class Fact:
    """A line at the head of the page; `mood` is good, warn, bad or empty."""

    label: str
    value: Cell
    mood: str = ""

    @property
    def html(self) -> SafeString:
        return as_html(self.value)


@dataclass(frozen=True)
class Panel:
    """A table on the page, of at most `MAX_ROWS` rows, and the way to the list of all. A further row tells of more."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    empty: str = "None."
    more: Link | None = None
    order: str = "first"  # of the rows of a cut panel, such as newest

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")

    @property
    def shown_rows(self) -> list[list[SafeString]]:
        return [list(map(as_html, row)) for row in self.rows[:MAX_ROWS]]

    @property
    def is_cut(self) -> bool:
        return len(self.rows) > MAX_ROWS


@dataclass(frozen=True)
class CountedFact:
    """A fact by expressions that the query of the page's row computes, so that it costs no query of its own."""

    label: str
    expressions: Callable[[], dict[str, Any]]  # by the names that the row has them under
    show: Callable[[Any], Cell]

    def of(self, row: Any) -> Fact:
        return Fact(self.label, self.show(row))


class Description(NamedTuple):
    """Facts and panels of a row."""

    facts: Sequence[Fact] = ()
    panels: Sequence[Panel] = ()


PanelFunction = Callable[[HttpRequest, Any], Iterable[Panel]]

added_panels: defaultdict[type[Model], list[tuple[type[Model], PanelFunction]]] = defaultdict(list)
counted_facts: defaultdict[type[Model], list[CountedFact]] = defaultdict(list)


def add_panel(model: type[Model], shown: type[Model], function: PanelFunction) -> None:
    """Add panels to the pages of a model, for staff who may view the rows that they show."""
    added_panels[model].append((shown, function))


def add_fact(model: type[Model], fact: CountedFact) -> None:
    """Add a fact to the pages of a model."""
    counted_facts[model].append(fact)


def as_html(cell: Cell) -> SafeString:
    """Return a cell as HTML: escaped, cut to `MAX_TEXT` characters, times in UTC, a dash for nothing.

    Only HTML stays as it is, such as an escaped text that must not be cut.
    """
    if isinstance(cell, SafeString):
        return cell
    if isinstance(cell, Link):
        text = escape(figures.shortened(cell.text, MAX_TEXT))
        return format_html('<a href="{}">{}</a>', cell.url, text) if cell.url else text
    if isinstance(cell, datetime):
        moment = f"{cell.astimezone(UTC):%Y-%m-%d %H:%M}"
        return format_html('<time datetime="{}Z">{}</time>', moment.replace(" ", "T"), moment)
    if isinstance(cell, int):
        return format_html("{}", figures.grouped(cell))
    return escape(figures.shortened(cell, MAX_TEXT)) if cell else NOTHING


def object_url(model: type[Model] | str, key: Any) -> str:
    """Return the page of a row in the admin site, or its form; an empty text for none.

    `model` is a class or a label such as `accounts.user`.
    """
    label = model if isinstance(model, str) else model._meta.label_lower
    return "" if key is None else url_pattern(label).replace(ANY_KEY, quote(str(key)))


@cache
def url_pattern(label: str) -> str:
    """Return the address of the pages of a model, with `ANY_KEY` in it; pages have hundreds of links to rows."""
    for view in ("page", "change"):
        try:
            return reverse(f"admin:{label.replace('.', '_')}_{view}", args=[ANY_KEY])
        except NoReverseMatch:
            continue
    return ""


def link_to(row: Model | None) -> Link | None:
    """Return the name of a row that leads to its page."""
    return None if row is None else Link(str(row), object_url(type(row), row.pk))


def list_url(model: type[Model], **query: str) -> str:
    """Return the list of a model in the admin site, filtered."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{url}?{urlencode(query)}" if query else url


def panel_of(title: str, columns: Mapping[str, Callable[[Any], Cell]], rows: Iterable[Any], **more: Any) -> Panel:
    """Return a panel of rows; each column has a heading and a function of the row."""
    return Panel(title, tuple(columns), [[show(row) for show in columns.values()] for row in rows], **more)


def request_url(request_id: str) -> str:
    """Return the list of all events of a request; an empty text for a change without one, such as a command's."""
    return list_url(AuditEvent, request=request_id) if request_id else ""


def link_to_request(request_id: str, text: str) -> Link | None:
    """Return a text that leads to all events of a request; None for none."""
    return Link(text, request_url(request_id)) if request_id else None


def event_panel(title: str, events: Iterable[AuditEvent], more: Link | None, order: str = "newest") -> Panel:
    """Return a panel of events of the audit log."""
    columns: Mapping[str, Callable[[AuditEvent], Cell]] = {
        "Time": lambda event: event.at,
        "By": lambda event: Link(event.actor_name, object_url("accounts.user", event.actor_id)),
        "Event": lambda event: Link(sentence_of(event), object_url(AuditEvent, event.pk)),
        "From": lambda event: link_to_address(event.ip_address),
        "Request": lambda event: link_to_request(event.request_id, f"{event.request_id[:8]}…"),
    }
    return panel_of(title, columns, events, more=more, order=order)


def trash_fact(removed_at: datetime) -> Fact:
    """Return the standing of a row in the trash."""
    end = removed_at + timedelta(days=settings.TRASH_DAYS)
    since = f"since {removed_at:%Y-%m-%d %H:%M} UTC"
    return Fact("In the trash", f"{since}. Staff can restore it until {end:%Y-%m-%d}; a purge deletes it then.", "bad")


class ObjectPageChangeList(DeclaredFiltersChangeList):
    """A list whose rows lead to their object pages."""

    def url_for_result(self, result: Any) -> str:
        return object_url(self.model, result.pk)


class ObjectPage(DomainAdmin):
    """Rows that have an object page. The list leads to it, and so does the form once it is saved."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ObjectPageChangeList

    def get_urls(self) -> list[Any]:
        *urls, catch_all = super().get_urls()
        view = self.admin_site.admin_view(self.page_view)
        page = path("<path:object_id>/", view, name=f"{self.opts.app_label}_{self.opts.model_name}_page")
        return [*urls, page, catch_all]

    def back_url(self, rows: Sequence[Any]) -> str:
        return object_url(self.model, rows[0].pk) if len(rows) == 1 else super().back_url(rows)

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with all that the facts need."""
        return self.get_queryset(request)

    def describe(self, request: HttpRequest, row: Any) -> Description:
        """Return what the page shows: the first fact says whether the row can be used, and if not, why."""
        return Description()

    def get_events(self, row: Any) -> QuerySet[AuditEvent]:
        """Select the events that the page shows the newest of."""
        return audit.events_of(row)

    def get_form_buttons(self, request: HttpRequest, row: Any) -> list[tuple[str, str]]:
        """Return the way back to the page, which has all actions."""
        return [("Page", object_url(self.model, row.pk))]

    def get_buttons(self, request: HttpRequest, row: Any) -> Sequence[Link]:
        """Return the actions that apply to the row, each with the page that asks for its details."""
        return [Link(label, url) for label, url in self.get_applicable_actions(request, row)]

    def page_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        row = self.get_page_row(request, unquote(object_id))
        if row is None:
            return self.show_missing(request, unquote(object_id))
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        facts, panels = self.describe(request, row)
        context = {
            **self.admin_site.each_context(request),
            "title": figures.shortened(str(row), MAX_TITLE),
            "opts": self.opts,
            "original": row,
            "facts": [*facts, *(fact.of(row) for fact in counted_facts[self.model])],
            "buttons": self.get_buttons(request, row),
            "panels": [*panels, *self.get_more_panels(request, row)],
            "may_change": self.has_change_permission(request, row),
            "site_page": getattr(row, "page_path", "") or getattr(row, "page_url", ""),
        }
        return TemplateResponse(request, "admin/object_page.html", context)

    def get_page_row(self, request: HttpRequest, key: str) -> Any:
        """Return the row of a key, or None."""
        rows = self.get_page_queryset(request)
        for fact in counted_facts[self.model]:
            rows = rows.annotate(**fact.expressions())
        try:
            return rows.filter(pk=self.opts.pk.to_python(key)).first()
        except ValidationError:  # text that is no key
            return None

    def get_more_panels(self, request: HttpRequest, row: Any) -> Iterator[Panel]:
        """Iterate over the panels of other rooms, and the newest events."""
        for model, function in added_panels[self.model]:
            if may_view(request, model):
                yield from function(request, row)
        if may_view(request, AuditEvent):
            yield self.get_event_panel(row)

    def get_event_panel(self, row: Any) -> Panel:
        history = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_history", args=[row.pk])
        events = self.get_events(row)[: MAX_ROWS + 1]
        return event_panel("Recent events", events, more=Link("History", history))

    def show_missing(self, request: HttpRequest, key: str) -> TemplateResponse:
        """Return a page of the admin site that says that there is no such row."""
        annotate(code="row_missing")
        context = {
            **self.admin_site.each_context(request),
            "title": f"There is no {self.opts.verbose_name} {figures.shortened(key, MAX_TITLE)}",
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/missing.html", context, status=HTTPStatus.NOT_FOUND)

    def response_post_save_add(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        return HttpResponseRedirect(object_url(self.model, obj.pk))

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        return HttpResponseRedirect(object_url(self.model, obj.pk))


def may_view(request: HttpRequest, model: type[Model]) -> bool:
    """Return whether the member of staff may view the rows of a model."""
    return request.user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}")
