"""The page of an address or a network in the admin: all that came from there, and nothing from elsewhere."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Credential, LoginFailure, User
from files.models import Client as Machine
from files.models import Session
from registry_site.admin import search
from registry_site.http.client_address import network_of
from registry_site.models import AuditEvent
from tests.support.admin import hire, sign_in_to_admin

PATH = "/admin/address/"
ADDRESSES = (
    *("10.1.1.1", "10.1.1.10", "10.1.10.1", "10.1.128.7", "10.2.1.1", "110.1.1.1", "192.0.2.1"),
    *("2001:db8::1", "2001:db8::10", "2001:db8:0:1::1", "2001:db8:1::1", "2001:db81::1", "::1"),
)
TITLES = (
    "Events",
    "Tokens, sessions and keys, made or last used from there",
    "Failed log-ins",
    "Machines, last seen or refused there",
    "Sessions of machines",
)


@pytest.fixture
def world(alice: User) -> None:
    """An event, a token, a failure, a machine and a session from each address, called by it."""
    now = timezone.now()
    Credential.objects.all().delete()
    AuditEvent.objects.all().delete()
    rows: dict[Any, list[Any]] = {AuditEvent: [], Credential: [], LoginFailure: [], Machine: [], Session: []}
    for number, address in enumerate(ADDRESSES):
        rows[AuditEvent].append(AuditEvent(actor_name=address, action="user.change", target="x", ip_address=address))
        # Made here or last used there, in turn: either counts.
        column = "ip_address" if number % 2 else "last_used_ip"
        rows[Credential].append(
            Credential(user=alice, kind="cargo_token", name=address, digest=address, **{column: address})
        )
        rows[LoginFailure].append(LoginFailure(name=address, ip_address=address, network=network_of(address)))
        seen = "last_seen_ip" if number % 2 else "last_failure_ip"
        machine = Machine(name=address, **{seen: address})
        rows[Machine].append(machine)
        rows[Session].append(Session(client=machine, digest=address, peer=address, expires_at=now))
    for model, new in rows.items():
        model.objects.bulk_create(new)


def shown(page: Any) -> dict[str, set[str]]:
    """Return the addresses on a page, by panel: each row begins or goes on with the address that it is called by."""
    panels = {}
    for panel in page.context["panels"]:
        cells = [str(cell) for row in panel.rows for cell in row]
        panels[panel.title] = {address for address in ADDRESSES if any(f">{address}</a>" in cell for cell in cells)}
    return panels


def test_address_shows_what_came_from_there_alone(world: None, as_root: Client) -> None:
    for address in ADDRESSES:
        panels = shown(as_root.get(PATH, {"of": address}))
        assert panels == {title: {address} for title in TITLES}, address


def test_network_shows_what_came_from_there_alone(world: None, as_root: Client) -> None:
    expected = {
        "10.1.1.0/24": {"10.1.1.1", "10.1.1.10"},
        "10.1.1.1/24": {"10.1.1.1", "10.1.1.10"},
        "10.1.1.0/29": {"10.1.1.1"},
        "10.1.0.0/16": {"10.1.1.1", "10.1.1.10", "10.1.10.1", "10.1.128.7"},
        "10.1.0.0/17": {"10.1.1.1", "10.1.1.10", "10.1.10.1"},
        "10.0.0.0/8": {"10.1.1.1", "10.1.1.10", "10.1.10.1", "10.1.128.7", "10.2.1.1"},
        "10.0.0.0/7": {"10.1.1.1", "10.1.1.10", "10.1.10.1", "10.1.128.7", "10.2.1.1"},
        "0.0.0.0/0": {address for address in ADDRESSES if "." in address},
        "2001:db8::/64": {"2001:db8::1", "2001:db8::10"},
        "2001:DB8:0::/48": {"2001:db8::1", "2001:db8::10", "2001:db8:0:1::1"},
        "2001:db8::/32": {"2001:db8::1", "2001:db8::10", "2001:db8:0:1::1", "2001:db8:1::1"},
        "::/0": {address for address in ADDRESSES if ":" in address},
        "172.16.0.0/12": set(),
    }
    for network, addresses in expected.items():
        panels = shown(as_root.get(PATH, {"of": network}))
        assert panels == {title: addresses for title in TITLES}, network


def test_address_leads_to_its_network(as_root: Client) -> None:
    for address, network in (("10.1.1.1", "10.1.1.0/24"), ("2001:db8::1", "2001:db8::/64")):
        page = as_root.get(PATH, {"of": address})
        (link,) = [fact.value for fact in page.context["facts"] if fact.label == "Network"]
        assert link.text == network
        assert as_root.get(link.url).context["title"] == network


def test_panels_lead_to_their_lists(world: None, as_root: Client) -> None:
    page = as_root.get(PATH, {"of": "10.1.1.0/24"})
    lists = {panel.title: panel.more.url for panel in page.context["panels"] if panel.more}
    assert len(lists) == 5
    assert {title: as_root.get(url).context["cl"].result_count for title, url in lists.items()} == dict.fromkeys(
        lists, 2
    )


def test_no_address_is_refused_in_words(as_root: Client) -> None:
    assert as_root.get(PATH).status_code == 200
    for text in ("10.1.1", "10.1.1.256", "example.com", "10.0.0.0/33", "<b>", "9" * 500, "fe80::1%eth0"):
        page = as_root.get(PATH, {"of": text})
        assert (page.status_code, "is no address and no network" in page.content.decode()) == (400, True), text


def test_address_page_takes_few_queries(world: None, as_root: Client) -> None:
    for text in ("10.1.1.1", "10.0.0.0/8"):
        with CaptureQueriesContext(connection) as queries:
            as_root.get(PATH, {"of": text})
        assert len(queries) < 12


def test_panels_are_for_who_may_view_their_rows(world: None) -> None:
    onlooker = hire("onlooker", "view_loginfailure")
    client = sign_in_to_admin(onlooker)
    assert list(shown(client.get(PATH, {"of": "10.1.1.1"}))) == ["Failed log-ins"]
    onlooker.user_permissions.clear()
    assert "You may not view anything" in client.get(PATH, {"of": "10.1.1.1"}).content.decode()


def test_search_for_an_address_leads_there(root: User, as_root: Client) -> None:
    for text, name in (("10.1.1.1", "10.1.1.1"), ("10.1.1.9/24", "10.1.1.0/24"), ("2001:DB8::1", "2001:db8::1")):
        (group,) = search.find(root, text)
        assert as_root.get(group.hits[0].url).context["title"] == name


def test_addresses_in_lists_lead_to_their_page(world: None, as_root: Client) -> None:
    for path in ("registry_site/auditevent", "accounts/loginfailure", "files/session"):
        page = as_root.get(f"/admin/{path}/").content.decode()
        assert '<a href="/admin/address/?of=10.1.1.1">10.1.1.1</a>' in page, path
        assert '<a href="/admin/address/?of=2001%3Adb8%3A%3A1">2001:db8::1</a>' in page, path
    assert as_root.get("/admin/registry_site/auditevent/?o=5").status_code == 200


def test_exported_addresses_are_bare(world: None, as_root: Client) -> None:
    response = as_root.post("/admin/accounts/loginfailure/export.csv")
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    assert ",10.1.1.1," in text
    assert "href" not in text
