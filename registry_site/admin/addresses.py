"""The page of an address or a network: all that came from there. Rooms register their panels.

`registry_site.address_lookup` has the condition. On PostgreSQL it compares addresses by their own operators. SQLite has
texts: an index serves those that begin like the network, and a function looks at each of these.
"""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse

from registry_site import address_lookup
from registry_site.address_lookup import Network
from registry_site.admin import search, site_pages
from registry_site.admin.address_links import address_url
from registry_site.admin.object_pages import (
    MAX_ROWS,
    Fact,
    Link,
    Panel,
    event_panel,
    list_url,
    may_view,
)
from registry_site.errors import Invalid
from registry_site.http import client_address
from registry_site.models import AuditEvent

MAX_LENGTH = 100
NETWORK_BITS = {4: 24, 6: client_address.IPV6_SITE}  # of the network that the page of an address leads to

PanelFunction = Callable[[Network], Iterator[Panel]]
panel_functions: list[tuple[type[Model], PanelFunction]] = []


def add_panel(shown: type[Model]) -> Callable[[PanelFunction], PanelFunction]:
    """Register a function of panels, for staff who may view the rows of a model."""

    def register(function: PanelFunction) -> PanelFunction:
        panel_functions.append((shown, function))
        return function

    return register


def newest_of(rows: QuerySet[Any], network: Network, *columns: str) -> QuerySet[Any]:
    """Select the newest rows with an address of the network in a column: those of a panel, and one more."""
    # Each column apart, along its index, and the keys alone: a network can have most rows of a table.
    keys = [
        rows.filter(address_lookup.within(column, network)).order_by("-pk").values("pk")[: MAX_ROWS + 1]
        for column in columns
    ]
    condition = Q()
    for part in keys:
        condition |= Q(pk__in=part)
    newest: QuerySet[Any] = rows.filter(condition).order_by("-pk")[: MAX_ROWS + 1]
    return newest


@site_pages.page("address/", "address")
def address_page(request: HttpRequest) -> HttpResponse:
    """`GET /admin/address/?of=`"""
    text = request.GET.get("of", "").strip()[:MAX_LENGTH]
    if not text:
        return render(request, "Addresses and networks")
    try:
        network = address_lookup.parse(text)
    except Invalid as error:
        return render(request, "Addresses and networks", text=text, refusal=error.message)
    panels = [panel for model, function in panel_functions if may_view(request, model) for panel in function(network)]
    return render(request, name_of(network), text=text, facts=facts_of(network), panels=panels)


def render(request: HttpRequest, title: str, *, refusal: str = "", **context: Any) -> HttpResponse:
    status = HTTPStatus.BAD_REQUEST if refusal else HTTPStatus.OK
    return site_pages.render(request, "admin/address.html", title, status, refusal=refusal, **context)


def name_of(network: Network) -> str:
    """Return an address, or a network in CIDR form."""
    return str(network.network_address if network.num_addresses == 1 else network)


def facts_of(network: Network) -> list[Fact]:
    """Return what is known of the addresses themselves, and the way to those around them."""
    kinds = {"loopback": network.is_loopback, "private": network.is_private, "link-local": network.is_link_local}
    facts = [
        Fact("Addresses", f"{network.num_addresses:,}"),
        Fact("Kind", next((kind for kind, holds in kinds.items() if holds), "public")),
    ]
    bits = NETWORK_BITS[network.version]
    if network.prefixlen > bits:
        around = str(network.supernet(new_prefix=bits))
        facts.append(Fact("Network", Link(around, address_url(around))))
    return facts


@add_panel(AuditEvent)
def events(network: Network) -> Iterator[Panel]:
    rows = newest_of(AuditEvent.objects.all(), network, "ip_address")
    more = Link("All in the audit log", list_url(AuditEvent, address=name_of(network)))
    yield event_panel("Events", rows, more)


@search.add("")
def find_address(text: str) -> Iterator[search.Group]:
    """Yield the page of an address or a network."""
    if address_lookup.is_network(text):
        name = name_of(address_lookup.parse(text))
        yield search.Group("Addresses", [search.Hit(name, address_url(name), "all that came from there")])
