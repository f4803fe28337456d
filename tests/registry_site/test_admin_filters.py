"""What staff type beside and above a list: addresses and networks, actors, objects, days; and how lists count."""

import ipaddress
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Func, GenericIPAddressField, IntegerField
from django.test import Client

from accounts.models import LoginFailure, User
from registry_site import address_lookup, audit
from registry_site.admin.lists import CappedPaginator
from registry_site.audit import Action
from registry_site.models import AuditEvent

EVENTS = "/admin/registry_site/auditevent/"
FAILURES = "/admin/accounts/loginfailure/"
ADDRESSES = (
    *("10.1.1.1", "10.1.1.10", "10.1.2.3", "10.11.1.1", "110.1.1.1", "192.168.17.5"),
    *("2001:db8::1", "2001:db8:0:5::1", "2001:db8:0:0:1::", "2001:db80::1", "fe80::1", "::1"),
)
NETWORKS = (
    *("10.1.1.1", "10.1.1.0/24", "10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/12", "192.168.16.0/20", "0.0.0.0/0"),
    *("2001:db8::/32", "2001:db8::/48", "2001:db8::/64", "2001:db8:0:4::/62", "fe80::/10", "::/0", "::ffff:10.1.1.1"),
)


@pytest.fixture
def failures(db: None) -> None:
    """A failed log-in from each address."""
    LoginFailure.objects.bulk_create(LoginFailure(name=a, ip_address=a, network=a) for a in ADDRESSES)


def rows(client: Client, path: str, **query: str) -> list[Any]:
    """Return the rows of a list."""
    return list(client.get(path, query).context["cl"].result_list)


def in_python(network: str) -> set[str]:
    parsed = address_lookup.parse(network)
    return {address for address in ADDRESSES if ipaddress.ip_address(address) in parsed}


@pytest.mark.usefixtures("failures")
def test_network_has_its_addresses_alone() -> None:
    for network in NETWORKS:
        condition = address_lookup.within_any(["ip_address"], network)
        listed = set(LoginFailure.objects.filter(condition).values_list("ip_address", flat=True))
        assert listed == {str(ipaddress.ip_address(address)) for address in in_python(network)}, network
        assert listed, network


@pytest.mark.usefixtures("failures")
def test_search_for_an_address_is_exact(as_root: Client) -> None:
    for query in ({"q": "10.1.1.1"}, {"address": " 10.1.1.1 "}):
        assert [row.ip_address for row in rows(as_root, FAILURES, **query)] == ["10.1.1.1"], query
    assert {row.ip_address for row in rows(as_root, FAILURES, q="10.1.1.0/24")} == {"10.1.1.1", "10.1.1.10"}


@pytest.mark.database_independent
def test_no_list_searches_parts_of_addresses() -> None:
    offenders = []
    for model, model_admin in admin.site._registry.items():
        addresses = {field.name for field in model._meta.fields if isinstance(field, GenericIPAddressField)}
        if addresses.intersection(model_admin.search_fields):
            offenders.append(model._meta.label)
        shown = addresses.intersection(map(str, model_admin.list_display))
        searched = getattr(model_admin, "address_columns", ())
        if model_admin.search_fields and not shown.issubset(searched):
            offenders.append(model._meta.label)
    assert offenders == []


def test_impossible_filters_are_refused_in_words(as_root: Client) -> None:
    cases = {
        "address=10.1.1": "is no address and no network",
        "object=crate": "such as crates.crate 17",
        f"object=crates.crate+{'9' * 40}": "such as crates.crate 17",
    }
    for query, sentence in cases.items():
        page = as_root.get(f"{EVENTS}?{query}")
        assert (page.status_code, list(page.context["cl"].result_list)) == (200, []), query
        assert sentence in page.content.decode(), query


def test_events_of_an_actor_and_of_an_object(as_root: Client, alice: User) -> None:
    AuditEvent.objects.all().delete()
    audit.record(alice, Action.USER_RENAME, alice)
    audit.record("alice", Action.FILE_ADD, "weather.txt")
    AuditEvent.objects.filter(actor=alice).update(actor_name="former")
    listed = {(event.actor_name, event.action) for event in rows(as_root, EVENTS, actor="Alice")}
    assert listed == {("former", Action.USER_RENAME)}
    assert len(rows(as_root, EVENTS, actor="alice")) == 2
    assert rows(as_root, EVENTS, actor="ali") == []
    [event] = rows(as_root, EVENTS, object=f"accounts.user {alice.pk}", action__exact="user.rename")
    assert event.target == "alice"


def test_filters_keep_each_other(as_root: Client) -> None:
    audit.record(None, Action.FILE_ADD, "weather.txt")
    page = as_root.get(EVENTS, {"action__exact": "file.add", "actor": "operator", "q": "weather"}).content.decode()
    for field in ('name="action__exact" value="file.add"', 'name="actor" value="operator"', 'name="q" value="weather"'):
        assert f'<input type="hidden" {field}>' in page, field
    assert '<option value="file.add" selected>' in page


def test_days_bound_a_list(as_root: Client) -> None:
    for day in (9, 10, 11):
        LoginFailure.objects.create(at=datetime(2026, 5, day, 12, tzinfo=UTC), name=f"day {day}", network="-")
    listed = rows(as_root, FAILURES, at__gte="2026-05-10", at__lt="2026-05-11")
    assert [failure.name for failure in listed] == ["day 10"]


@pytest.mark.usefixtures("failures")
def test_lists_count_no_further_than_their_limit() -> None:
    class Pages(CappedPaginator):
        max_count = 5

    for number, count, is_capped in ((4, 4, False), (5, 5, False), (6, 5, True), (99, 5, True)):
        pages = Pages(first(number), 2)
        assert (pages.count, pages.is_capped) == (count, is_capped), number


@pytest.mark.only_sqlite
@pytest.mark.usefixtures("failures")
def test_page_computes_columns_of_its_rows_alone() -> None:
    computed: list[int] = []
    connection.ensure_connection()
    connection.connection.create_function("note_key", 1, computed.append)
    noted = Func("pk", function="note_key", output_field=IntegerField(null=True))
    rows = LoginFailure.objects.annotate(noted=noted).order_by("name")
    page = CappedPaginator(rows, 3).page(2)
    assert [failure.name for failure in page] == sorted(ADDRESSES)[3:6]
    assert len(computed) == 3


def first(number: int) -> Any:
    """Select the first failures."""
    keys = LoginFailure.objects.order_by("pk").values_list("pk", flat=True)[:number]
    return LoginFailure.objects.filter(pk__in=list(keys))


def test_filters_are_words_of_people(as_root: Client) -> None:
    words = {
        "mirror/incident": ("By state", ">open</a>", ">settled</a>", "By when last seen"),
        "accounts/loginfailure": ("By time", "By what was wrong", ">the second factor</a>"),
        "registry_site/outboxentry": (">mail of staff to owners</option>",),
    }
    pages = {name: as_root.get(f"/admin/{name}/").content.decode() for name in words}
    assert [(name, word) for name in words for word in words[name] if word not in pages[name]] == []
    assert "No users match." in as_root.get("/admin/accounts/user/?q=nobody").content.decode()
