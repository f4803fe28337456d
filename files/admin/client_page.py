"""The page of a machine in the admin site: whether it can work, when it was seen, what it fetched, its key."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.db.models import BigIntegerField, Count, F, OuterRef, QuerySet, Subquery, Sum, TextField, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone

from files import activity
from files.models import Client, ClientDownloads, ClientKey, FailedHandshakes, FetchedFile, Session
from registry_site.admin.address_links import link_to_address
from registry_site.admin.object_pages import (
    MAX_ROWS,
    Cell,
    Description,
    Fact,
    Link,
    Panel,
    link_to,
    list_url,
    may_view,
    object_url,
    panel_of,
)
from registry_site.models import AuditEvent
from registry_site.templatetags import figures

SILENT_AFTER = timedelta(days=7)
SHOWN_DAYS = 14
MAX_SHOWN_ROOTS = 20


def page_queryset() -> QuerySet[Client]:
    """Select the machines with the numbers of their live sessions, failed handshakes and downloads."""
    sessions = Session.objects.live().filter(client=OuterRef("pk")).order_by().values("client")
    downloads = ClientDownloads.objects.filter(client=OuterRef("pk")).order_by().values("client")
    fetched = downloads.annotate(sum=Sum("count", output_field=BigIntegerField())).values("sum")
    return activity.with_recent_failures(Client.objects.all()).annotate(
        session_count=Coalesce(Subquery(sessions.annotate(number=Count("pk")).values("number")), 0),
        download_count=Coalesce(Subquery(fetched), 0),
    )


def describe(request: HttpRequest, client: Any) -> Description:
    facts = list(facts_of(client))
    if may_view(request, AuditEvent):
        facts.append(Fact("What it did", Link("Events by this machine", list_url(AuditEvent, actor=client.name))))
    return Description(facts, list(panels_of(request, client)))


def facts_of(client: Any) -> Iterator[Fact]:
    yield from standing_of(client)
    yield Fact("Last seen", when(client.last_seen_at, client.last_seen_ip))
    failed = when(client.last_failure_at, client.last_failure_ip)
    yield Fact("Last failed handshake", f"{failed}; {client.recent_failures:,} in {activity.SHOWN_DAYS} days")
    yield Fact("Live sessions", client.session_count)
    yield Fact("Files fetched", client.download_count)
    yield Fact("Rights", client.get_rights_display())
    roots = client.roots.split("\n") if client.roots else settings.FILE_ROOTS
    yield Fact("Registers files from", ", ".join(map(str, roots[:MAX_SHOWN_ROOTS])) or "nowhere: no root is configured")
    yield Fact("Maintainer", f"{client.maintainer} {client.email}".strip())
    yield Fact("Description", client.description)
    yield Fact("Added", client.created_at)


def standing_of(client: Any) -> Iterator[Fact]:
    if not client.is_active:
        yield Fact("Disabled", "It gets no session. Staff can enable it; its key stays.", "bad")
    elif client.last_seen_at is None:
        yield Fact("Never seen", "It has had no session yet.", "warn")
    elif client.last_seen_at < timezone.now() - SILENT_AFTER:
        yield Fact("Silent", f"It was not seen for {(timezone.now() - client.last_seen_at).days} days.", "warn")
    else:
        yield Fact("Standing", "Works.", "good")
    if client.recent_failures:
        yield Fact("Failures", "Handshakes failed lately: a wrong key, or somebody who tries.", "warn")


def when(at: Any, ip_address: str | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} from {ip_address or 'an unknown address'}" if at else "never"


def panels_of(request: HttpRequest, client: Client) -> Iterator[Panel]:
    panels = (
        (Client, activity_panel),
        (FetchedFile, fetched_panel),
        (Session, session_panel),
        (ClientKey, key_panel),
    )
    for model, panel in panels:
        if may_view(request, model):
            yield panel(client)


def fetched_panel(client: Client) -> Panel:
    rows = client.fetched_files.select_related("file").only("client_id", "fetched_at", "file__serve_path", "file__size")
    return panel_of(
        "Files fetched last",
        {
            "File": lambda row: link_to(row.file),
            "Size": lambda row: figures.size(row.file.size),
            "Fetched last": lambda row: row.fetched_at,
        },
        rows[: MAX_ROWS + 1],
        more=Link(f"The last {FetchedFile.MAX_OF_CLIENT}", list_url(FetchedFile, machine=client.name)),
        order="newest",
    )


def key_panel(client: Client) -> Panel:
    columns: dict[str, Any] = {
        "Cipher": lambda key: key.cipher,
        "Bits": lambda key: key.bits,
        "Since": lambda key: key.created_at,
    }
    return panel_of("Key", columns, client.keys.defer("secret")[: MAX_ROWS + 1], empty="It has no key.")


def session_panel(client: Client) -> Panel:
    return panel_of(
        "Sessions",
        {
            "Began": lambda row: Link(f"{row.created_at:%Y-%m-%d %H:%M}", object_url(Session, row.pk)),
            "From": lambda row: link_to_address(row.peer),
            "Ends": lambda row: row.expires_at,
            "Ended": lambda row: row.ended_at,
            "State": state_of,
        },
        client.sessions.order_by("-created_at")[: MAX_ROWS + 1],
        empty="None: a purge deletes those that ended.",
        more=Link("All sessions", list_url(Session, q=client.name)),
        order="newest",
    )


def state_of(session: Session) -> Cell:
    if session.ended_at:
        return "ended"
    return "live" if session.is_live else "expired"


def activity_panel(client: Client) -> Panel:
    """Return what the machine fetched, and how often its handshakes failed, by day; one query reads both."""
    first_day = timezone.now().date() - timedelta(days=SHOWN_DAYS)
    fetched, failed = (
        model.objects.filter(client=client, day__gte=first_day)
        .order_by()
        .annotate(part=Value(part, TextField()), number=F("count"))
        .values_list("part", "day", "number")
        for part, model in (("fetched", ClientDownloads), ("failed", FailedHandshakes))
    )
    numbers: dict[date, dict[str, int]] = {}
    for part, day, number in fetched.union(failed, all=True):
        numbers.setdefault(day, {})[part] = number
    return panel_of(
        f"The last {SHOWN_DAYS} days",
        {
            "Day": lambda day: f"{day:%Y-%m-%d}",
            "Files fetched": lambda day: numbers[day].get("fetched", 0),
            "Failed handshakes": lambda day: numbers[day].get("failed", 0),
        },
        sorted(numbers, reverse=True),
        empty="It fetched nothing, and no handshake failed.",
    )
