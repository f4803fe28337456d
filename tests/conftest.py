"""The cast, and how they reach the registry."""

import gc
import os
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import caches
from django.db import connection, connections
from django.test import Client, TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as properties

from accounts import registration
from accounts.models import User
from accounts.principals import Principal
from registry_site import announcements
from registry_site.write_buffers import buffers
from tests.support import servers
from tests.support.admin import sign_in_to_admin
from tests.support.browser import Browser
from tests.support.cast import PASSWORD, CargoClient
from tests.support.large_frame import in_large_frame
from tests.support.servers import Server, running

# A busy machine is slow, and the properties hold nevertheless.
properties.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
properties.load_profile("busy")


def pytest_xdist_auto_num_workers() -> int | None:
    """Return the workers of `-n auto`: one more than processors, for many tests wait for servers or for deadlines."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the tests of this database, and put long modules first."""
    leave_out_other_database(config, items)
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, -sizes[item.path]))


def leave_out_other_database(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of the other database: a skipped test would say that something is missing."""
    foreign = "only_sqlite" if connection.vendor == "postgresql" else "only_postgresql"
    deselected = [item for item in items if item.get_closest_marker(foreign)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if not item.get_closest_marker(foreign)]


def pytest_collection_finish() -> None:
    """The collector of garbage need not look at thousands of tests time and again."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    pyfuncitem.obj = in_large_frame(pyfuncitem.obj)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the running servers below a failure."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {server.url}", server.last_lines()) for server in servers.running_servers]
    return report


@pytest.fixture(scope="session", autouse=True)
def shared_template(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """All workers copy one migrated database."""
    directory = tmp_path_factory.getbasetemp()
    know_no_announcements()
    servers.template_directory = directory if worker_id == "master" else directory.parent


@pytest.fixture(scope="session")
def django_db_keepdb(shared_template: None) -> Iterator[bool]:
    """Give Django a migrated database, or the template of one: copying is quicker than migrating."""
    if connection.vendor != "sqlite":
        connection.settings_dict["TEST"]["TEMPLATE"] = servers.postgresql_template()
        yield False
        return
    with closing(sqlite3.connect("file:memorydb_default?mode=memory&cache=shared", uri=True)) as memory:
        copy_template(memory)
        yield True


def copy_template(database: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(servers.sqlite_template())) as template:
        template.backup(database)


@pytest.fixture(scope="session", autouse=True)
def restoring_teardown() -> Iterator[None]:
    """After a test with transactions of its own, copy the template again, whatever rows and migrations it has left.

    Django would empty all tables, and create the content types and permissions anew, which takes seconds.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: restore_database())
        yield


def restore_database() -> None:
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        copy_template(connection.connection)
        return
    name = str(connection.settings_dict["NAME"])
    connections.close_all()
    servers.execute_sql("DROP DATABASE {} WITH (FORCE)", name)
    servers.execute_sql("CREATE DATABASE {} TEMPLATE {}", name, servers.postgresql_template())


@pytest.fixture(autouse=True)
def blob_directory(tmp_path_factory: pytest.TempPathFactory, settings: Any) -> Path:
    """Blobs of one test stay in its own directory, which is made for the first of them."""
    location = tmp_path_factory.getbasetemp() / f"blobs-{uuid4()}"
    settings.STORAGES = {
        **settings.STORAGES,
        "blobs": {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": location}},
    }
    return location


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """The counters of one test are none of the next: all tests send from one address."""
    for name in ("default", "local_rate_limits"):
        caches[name].clear()
    know_no_announcements()


def know_no_announcements() -> None:
    """Read none by accident in between, which would be one query more: `forget` lets a test read them."""
    announcements.current.rows, announcements.current.due = (), inf


@pytest.fixture(autouse=True)
def no_pending_writes() -> Iterator[None]:
    """Forget what a test has downloaded and used: the rows that this is about go with the test."""
    yield
    for buffer in buffers:
        buffer.take()


@pytest.fixture
def alice(db: None) -> User:
    """Owns things."""
    return registration.register("alice", PASSWORD)


@pytest.fixture
def bob(db: None) -> User:
    """Is made an owner by some."""
    return registration.register("bob", PASSWORD)


@pytest.fixture
def charlie(db: None) -> User:
    """Has an account, and no right to anything of the others."""
    return registration.register("charlie", PASSWORD)


@pytest.fixture
def root(db: None) -> User:
    """Administers."""
    return registration.register("root", PASSWORD, admin=True)


@pytest.fixture
def anonymous(db: None) -> CargoClient:
    return CargoClient()


@pytest.fixture
def as_alice(alice: User) -> CargoClient:
    return CargoClient(alice)


@pytest.fixture
def as_bob(bob: User) -> CargoClient:
    return CargoClient(bob)


@pytest.fixture
def as_charlie(charlie: User) -> CargoClient:
    return CargoClient(charlie)


@pytest.fixture
def alice_principal(alice: User) -> Principal:
    return Principal(alice)


@pytest.fixture
def as_root(root: User) -> Client:
    """The admin site, signed in as root."""
    return sign_in_to_admin(root)


@pytest.fixture
def browser(alice: User) -> Browser:
    """A browser in which alice is signed in."""
    return Browser(alice)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running registry for one module, started with its `SERVER_SETTINGS`, if it has any."""
    settings = getattr(request.module, "SERVER_SETTINGS", {})
    with running(tmp_path_factory.mktemp("server") / "data", **settings) as server:
        yield server
