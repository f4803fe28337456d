"""Migrations of crates: stored rows survive them."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from crates.models import CrateDownloads


def migrate(*targets: tuple[str, str]) -> Any:
    """Migrate to `targets`, or to the newest state, and return the models of then."""
    executor = MigrationExecutor(connection)
    return executor.migrate(targets or executor.loader.graph.leaf_nodes()).apps


@pytest.fixture
def newest() -> Iterator[None]:
    """Migrate to the newest state after the test."""
    yield
    migrate()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("newest")
def test_each_crate_gets_its_count() -> None:
    crates = migrate(("crates", "0006_fill_facts")).get_model("crates", "Crate").objects
    names = ["demo", "other"]
    crates.bulk_create(crates.model(name=name, canonical_name=name, index_path=name) for name in names)
    migrate()
    assert list(CrateDownloads.objects.order_by("crate").values_list("crate__name", "total")) == [
        (name, 0) for name in names
    ]
