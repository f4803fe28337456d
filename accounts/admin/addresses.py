"""What accounts have from an address or a network: credentials, and failed log-ins."""

from collections.abc import Callable, Iterator, Mapping

from accounts.admin.user_page import state_of
from accounts.models import Credential, LoginFailure
from registry_site.address_lookup import Network
from registry_site.admin.address_links import link_to_address
from registry_site.admin.addresses import add_panel, name_of, newest_of
from registry_site.admin.object_pages import Cell, Link, Panel, link_to, list_url, object_url, panel_of


@add_panel(Credential)
def credentials(network: Network) -> Iterator[Panel]:
    columns: Mapping[str, Callable[[Credential], Cell]] = {
        "Kind": lambda row: row.get_kind_display(),
        "Name": lambda row: Link(row.name, object_url(Credential, row.pk)),
        "User": lambda row: link_to(row.user),
        "Made": lambda row: row.created_at,
        "Made from": lambda row: link_to_address(row.ip_address),
        "Last used": lambda row: row.last_used_at,
        "Last used from": lambda row: link_to_address(row.last_used_ip),
        "State": state_of,
    }
    rows = newest_of(Credential.objects.select_related("user").defer("secret"), network, "ip_address", "last_used_ip")
    more = Link("All in the list", list_url(Credential, q=name_of(network)))
    yield panel_of("Tokens, sessions and keys, made or last used from there", columns, rows, more=more, order="newest")


@add_panel(LoginFailure)
def failures(network: Network) -> Iterator[Panel]:
    columns: Mapping[str, Callable[[LoginFailure], Cell]] = {
        "Time": lambda row: row.at,
        "Name": lambda row: Link(row.name, list_url(LoginFailure, q=row.name)),
        "From": lambda row: link_to_address(row.ip_address),
        "Cause": lambda row: row.cause,
    }
    rows = newest_of(LoginFailure.objects.all(), network, "ip_address")
    more = Link("All in the list", list_url(LoginFailure, address=name_of(network)))
    yield panel_of("Failed log-ins", columns, rows, more=more, order="newest")
