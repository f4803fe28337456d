"""Lists of all packages that everybody may read: their orders, their number, and the indexes that they follow."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from packages import counters, download_counts, lookup, releasing
from packages.listing import BY_RELEVANCE, ORDERS, ORDERS_BY_DOWNLOADS, listed_page, namespace_page, search_page
from packages.models import Package, PackageDownloads
from registry_site.download_counts import today
from tests.support.browser import Browser
from tests.support.database import plan_of

ALL_ORDERS = (*ORDERS, *ORDERS_BY_DOWNLOADS)


@pytest.fixture
def packages(browser: Browser) -> dict[str, Package]:
    """Four packages of alice's, one of them private."""
    for name in ("a", "b", "c", "d"):
        version = {"version": "1.0.0", "field": "npm", "type": "PRIVATE" if name == "d" else "PUBLIC"}
        assert browser.send("POST", "/namespaces/alice/packages", package_name=name, **version).status_code < 300
    return {package.name: package for package in Package.objects.all()}


def names(order: str) -> str:
    page = listed_page(order, 1)
    assert page.total == len(page.packages)
    return "".join(package.name for package in page.packages)


def test_orders_are_those_of_their_columns(packages: dict[str, Package]) -> None:
    now = timezone.now()
    for position, name in enumerate("cabd"):
        columns = {"created_at": now - timedelta(days=position), "updated_at": now + timedelta(days=position % 3)}
        Package.objects.filter(name=name).update(**columns)
        PackageDownloads.objects.filter(package__name=name).update(total=position % 3, recent=position)
    assert {order: names(order) for order in ALL_ORDERS} == {
        "name": "abc",
        "new": "cab",
        "updated": "bac",
        "downloads": "bac",
        "recent-downloads": "bac",
    }


def test_download_of_a_new_package_counts(packages: dict[str, Package]) -> None:
    release = packages["b"].newest
    assert release is not None
    download_counts.store({(release.pk, today()): 3})
    assert (names("downloads"), names("recent-downloads")) == ("bac", "bac")


def test_lists_follow_every_change(packages: dict[str, Package], browser: Browser, alice: User, root: User) -> None:
    seen = []

    def look() -> None:
        assert counters.listed_packages.recount() == 0
        assert {frozenset(names(order)) for order in ALL_ORDERS} == {frozenset(names("name"))}
        seen.append(names("name"))

    look()
    browser.send("PATCH", "/namespaces/alice/packages/a", type="PRIVATE")
    look()
    browser.send("PATCH", "/namespaces/alice/packages/d", type="PUBLIC")
    look()
    releasing.set_removed(lookup.lock_for_update(packages["b"]), removed=True, actor=root)
    look()
    acme = membership.create_namespace(Principal(alice), "acme")
    for name in "cd":
        releasing.transfer_package(packages[name], acme, actor=root)
    look()
    membership.set_removed(acme, removed=True, actor=root)
    look()
    membership.set_removed(acme, removed=False, actor=root)
    look()
    assert seen == ["abc", "bc", "bcd", "cd", "cd", "", "cd"]


def test_lists_come_from_indexes(packages: dict[str, Package], alice: User) -> None:
    """No list sorts, and none reads packages to choose among them."""
    offenders = {}
    for order in ALL_ORDERS:
        plans = plans_of(lambda order=order: listed_page(order, 1))
        if " ORDER BY " not in plans or "TEMP B-TREE" in plans or "Sort" in plans:
            offenders[order] = plans
    for user in (None, alice):
        plans = plans_of(lambda user=user: namespace_page(user, "alice", 1))
        # With so few rows PostgreSQL may prefer another index of the namespace.
        is_covered = connection.vendor == "postgresql" or plans.count("packages_of_namespace_by_name") == 2
        if not is_covered or "TEMP B-TREE" in plans or "Sort" in plans:
            offenders[f"namespace, {user}"] = plans
    assert offenders == {}


def plans_of(list_packages: Any) -> str:
    """Return the plans of the queries that choose packages, not of the one that reads them."""
    with CaptureQueriesContext(connection) as queries:
        list_packages()
    chosen = [query["sql"] for query in queries if "publisher_id" not in query["sql"]]
    return "; ".join(f"{sql}: {plan_of(sql)}" for sql in chosen if "packages_package" in sql)


def test_results_of_a_search_have_orders(packages: dict[str, Package]) -> None:
    for position, name in enumerate("bca"):
        PackageDownloads.objects.filter(package__name=name).update(total=position)
    orders = {order: search_page("alice", 1, order) for order in ("name", "downloads", BY_RELEVANCE)}
    found_names = {order: "".join(package.name for package in page.packages) for order, page in orders.items()}
    assert found_names == {"name": "abc", "downloads": "acb", BY_RELEVANCE: "abc"}
    assert search_page(" ", 1, "downloads").packages[0].name == "a"
