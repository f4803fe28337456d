"""The audit log in the admin site, and events as lines on other pages."""

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import escape

from registry_site.admin.actions import run_url
from registry_site.admin.address_links import link_to_address
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.lists import TextFilter, address_filter, select_filter, state_filter
from registry_site.admin.object_pages import (
    MAX_ROWS,
    Description,
    Fact,
    Link,
    ObjectPage,
    Panel,
    as_html,
    event_panel,
    link_to_request,
    object_url,
    request_url,
)
from registry_site.errors import Invalid
from registry_site.event_sentences import sentence_of
from registry_site.models import AuditEvent, AuditSeal, StaffRun
from registry_site.search.prefixes import begins
from registry_site.templatetags.figures import shortened

MAX_DETAIL = 5000  # characters of one detail on the page of an event: a publisher may name hundreds of things
MAX_IN_LIST = 300  # characters of all details of an event


class EventLine(NamedTuple):
    """An event as a line of a page."""

    event: AuditEvent
    sentence: str
    reason: str  # of the event, or of the run that it belongs to
    target_url: str
    run_url: str
    request_url: str  # the list of all events of its request


def lines_of(events: Iterable[AuditEvent]) -> list[EventLine]:
    """Return events as lines, with what happened, why, and the ways on."""
    events = list(events)
    runs = {event.run for event in events if event.run}
    reasons: dict[UUID | None, str] = dict(StaffRun.objects.filter(pk__in=runs).values_list("pk", "reason"))
    return [
        EventLine(
            event,
            sentence_of(event),
            event.detail.get("reason") or reasons.get(event.run, ""),
            object_url(event.object_type, event.object_id),
            run_url(event.run) if event.run else "",
            request_url(event.request_id),
        )
        for event in events
    ]


class ActorFilter(TextFilter):
    title = "actor"
    parameter_name = "actor"
    help_text = "A user, a machine or a command, by the whole name."

    def condition(self, text: str) -> Q:
        return by_actor(text)


class ObjectFilter(TextFilter):
    title = "object"
    parameter_name = "object"
    help_text = "The kind of a row and its number, such as crates.crate 17."

    def condition(self, text: str) -> Q:
        kind, _, key = text.lower().partition(" ")
        if not key.strip().isdecimal() or len(key) > 18:
            raise Invalid("Give the kind of a row and its number, such as crates.crate 17.")
        return Q(object_type=kind, object_id=int(key))


class RequestFilter(TextFilter):
    title = "request"
    parameter_name = "request"
    help_text = "The whole id of a request, as in the log and in X-Request-ID."

    def condition(self, text: str) -> Q:
        return Q(request_id=text)


def by_actor(name: str) -> Q:
    """Return which events an actor caused; those of a user also under a former name."""
    others = Q(actor=None, actor_name=name)
    try:
        return others | Q(actor=get_user_model()._default_manager.get_by_natural_key(name))
    except ObjectDoesNotExist:
        return others


@admin.register(AuditEvent)
class AuditEvents(ReadOnlyAdmin, ObjectPage):
    """The audit log. All ways into it use an index, since it has no end."""

    list_display = ("at", "actor_name", "happened", "target_link", "ip_address", "details", "action")
    exported_attributes: ClassVar[dict[str, str]] = {"target_link": "target", "details": "all_details"}
    list_filter = (
        "at",
        select_filter("action"),
        ActorFilter,
        ObjectFilter,
        address_filter("ip_address"),
        RequestFilter,
    )
    search_fields = ("target",)
    address_columns = ("ip_address",)
    search_help_text = (
        "The beginning of a target; or the whole of an actor, an action, an address or network, or a request's id."
    )
    sortable_by = ("at",)

    def find(self, request: HttpRequest, queryset: Any, text: str) -> tuple[QuerySet[Any], bool]:
        condition = begins("target", text) | by_actor(text) | Q(request_id=text) | Q(action=text)
        # Apart, or SQLite reads the whole log in the order of the list.
        return queryset.filter(pk__in=AuditEvent.objects.filter(condition).order_by().values("pk")), False

    def describe(self, request: HttpRequest, row: AuditEvent) -> Description:
        (line,) = lines_of([row])
        facts = [
            Fact("What happened", line.sentence),
            Fact("At", f"{row.at:%Y-%m-%d %H:%M:%S}"),
            Fact("By", Link(row.actor_name, object_url("accounts.user", row.actor_id))),
            Fact("From", link_to_address(row.ip_address)),
            Fact("Request", link_to_request(row.request_id, row.request_id)),
            Fact("Action", row.action),
            Fact("Target", Link(row.target, line.target_url)),
            Fact("Reason", line.reason),
            Fact("Run", Link(str(row.run), line.run_url) if row.run else None),
        ]
        details = {name: shortened(written(value), MAX_DETAIL) for name, value in row.detail.items()}
        facts += [Fact(f"Detail: {name}", escape(text)) for name, text in details.items() if name != "reason"]
        return Description(facts)

    def get_event_panel(self, row: AuditEvent) -> Panel:
        """Return the first events of the same request, itself among them."""
        events = AuditEvent.objects.filter(request_id=row.request_id).order_by("pk")
        shown = events[: MAX_ROWS + 1] if row.request_id else ()
        more = Link("All in the list", request_url(row.request_id)) if row.request_id else None
        return event_panel("Events of its request", shown, more=more, order="first")

    @admin.display(description="what happened")
    def happened(self, event: AuditEvent) -> str:
        return sentence_of(event)

    @admin.display(description="target")
    def target_link(self, event: AuditEvent) -> str:
        """Link the target to its page in the admin, if there is one."""
        url = object_url(event.object_type, event.object_id)
        return as_html(Link(event.target, url))

    @admin.display
    def details(self, event: AuditEvent) -> str:
        return shortened(self.all_details(event), MAX_IN_LIST)

    def all_details(self, event: AuditEvent) -> str:
        return ", ".join(f"{key}: {written(value)}" for key, value in event.detail.items() if value not in ("", None))


def written(value: Any) -> str:
    """Return a value of a detail, a list as its parts."""
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


@admin.register(AuditSeal)
class AuditSeals(ReadOnlyAdmin):
    """Seals of the audit log. `manage.py verifyaudit` proves that they are right; this list does not."""

    list_display = ("number", "sealed_at", "count", "short_digest", "exported_to")
    exported_attributes: ClassVar[dict[str, str]] = {"short_digest": "digest"}
    list_filter = (("exported_to", state_filter("place of the events", "in the log", "moved to a file")), "sealed_at")
    search_fields = ("digest__startswith",)
    search_help_text = "The beginning of a digest."
    exclude = ("marks",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditSeal]:
        """Return the seals that have events: number 0 is only where the chain begins."""
        seals: QuerySet[AuditSeal] = super().get_queryset(request)
        return seals.filter(number__gt=0).defer("marks")

    @admin.display(description="digest")
    def short_digest(self, seal: AuditSeal) -> str:
        return f"{seal.digest[:16]}…"
