"""Migrations of packages: stored rows survive them, and each database goes on maintaining its index of words."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from packages import counters
from packages.listing import listed_page
from tests.support.migrations import migrate

BEFORE = ("packages", "0006_large_columns_last")


def create(apps: Any, namespace: Any, user: Any, field: str, versions: list[str]) -> Any:
    """Create a public package whose newest release has the highest version, which is the first of `versions`."""
    package = apps.get_model("packages", "Package").objects.create(
        namespace=namespace, name=f"Demo-{field}", canonical_name=f"demo-{field}", field=field, type="PUBLIC"
    )
    for number, version in enumerate(versions):
        release = package.releases.create(
            version=version,
            precedence=version.partition("+")[0],
            description=f"words{number}",
            published_at=timezone.now() + timedelta(days=number - 9),
            publisher=user,
        )
        package.newest = package.newest or release
    package.search_name = "demo"
    package.search_text = f"demo {field} words0"
    package.save()
    return package


@pytest.mark.django_db(transaction=True)
def test_packages_survive_the_migrations() -> None:
    apps = migrate(BEFORE)
    reservations = apps.get_model("accounts", "NameReservation").objects
    user = apps.get_model("accounts", "User").objects.create(
        username="alice", reservation=reservations.create(name="alice", skeleton="alice")
    )
    namespace = apps.get_model("namespaces", "Namespace").objects.create(
        name="acme", reservation=reservations.create(name="acme", skeleton="acme")
    )
    for field in ("npm", "python"):
        create(apps, namespace, user, field, ["2.0.0", "1.0.0", "1.0.1+b"])
    migrate()

    def get(path: str) -> Any:
        return Client().get(path).json()

    packages = {field: f"/namespaces/acme/packages/demo-{field}" for field in ("npm", "python")}
    assert {field: get(path)["version"] for field, path in packages.items()} == {"npm": "2.0.0", "python": "1.0.1+b"}
    assert {field: [row["version"] for row in get(f"{path}/versions")] for field, path in packages.items()} == {
        "npm": ["2.0.0", "1.0.1+b", "1.0.0"],
        "python": ["1.0.1+b", "1.0.0", "2.0.0"],
    }
    assert get(f"{packages['npm']}/versions/1.0.1")["version"] == "1.0.1+b"
    assert get(f"{packages['python']}/versions/1.0.1+b")["version"] == "1.0.1+b"
    queries = {query: len(get(f"/packages?query={query}")) for query in ("words0", "words1", "words2", "Demo-Python")}
    assert [package.field for package in listed_page("downloads", 1).packages] == ["npm", "python"]
    assert counters.listed_packages.value() == 2
    assert queries == {"words0": 1, "words1": 0, "words2": 1, "Demo-Python": 1}
