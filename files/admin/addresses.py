"""What machines have from an address or a network: when they were seen there, and sessions."""

from collections.abc import Callable, Iterator, Mapping

from files.models import Client, Session
from registry_site.address_lookup import Network
from registry_site.admin.address_links import link_to_address
from registry_site.admin.addresses import add_panel, name_of, newest_of
from registry_site.admin.object_pages import Cell, Link, Panel, link_to, list_url, panel_of


@add_panel(Client)
def machines(network: Network) -> Iterator[Panel]:
    columns: Mapping[str, Callable[[Client], Cell]] = {
        "Machine": link_to,
        "State": lambda row: "active" if row.is_active else "disabled",
        "Last seen": lambda row: row.last_seen_at,
        "From": lambda row: link_to_address(row.last_seen_ip),
        "Last failed handshake": lambda row: row.last_failure_at,
        "Failed from": lambda row: link_to_address(row.last_failure_ip),
    }
    rows = newest_of(Client.objects.all(), network, "last_seen_ip", "last_failure_ip")
    more = Link("All in the list", list_url(Client, q=name_of(network)))
    yield panel_of("Machines, last seen or refused there", columns, rows, more=more)


@add_panel(Session)
def sessions(network: Network) -> Iterator[Panel]:
    columns: Mapping[str, Callable[[Session], Cell]] = {
        "Machine": lambda row: link_to(row.client),
        "Made": lambda row: row.created_at,
        "From": lambda row: link_to_address(row.peer),
        "Ends": lambda row: row.expires_at,
        "State": lambda row: "live" if row.is_live else "ended",
    }
    rows = newest_of(Session.objects.select_related("client"), network, "peer")
    more = Link("All in the list", list_url(Session, q=name_of(network)))
    yield panel_of("Sessions of machines", columns, rows, more=more, order="newest")
