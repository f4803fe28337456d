"""Large columns: no list selects them, in any room, for any row can have megabytes there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.db.models import BinaryField, JSONField, TextField
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from crates.mirror import index_cache
from packages.models import Release
from tests.house.source_code import MAY_IMPORT
from tests.support import packing
from tests.support.browser import Browser
from tests.support.cast import CargoClient
from tests.support.package_archives import DEMO_TGZ, pack_tgz, upload_archive

OTHER_TGZ = pack_tgz({"other": "1"})

# Columns without a length of their own, whose writers limit it to a few kilobytes.
SMALL = {
    "accounts.Authenticator.transports",
    "accounts.Credential.crate_patterns",
    "accounts.Credential.scopes",
    "accounts.Credential.secret",
    "crates.Version.binary_names",
    "crates.Version.categories",
    "crates.Version.description",
    "crates.Version.keywords",
    "crates.Version.line_counts",
    "files.Client.roots",
    "files.ClientKey.secret",
    "files.File.path",
    "files.File.serve_path",
    "mirror.CrateFacts.binary_names",
    "mirror.CrateFacts.categories",
    "mirror.CrateFacts.keywords",
    "mirror.CrateFacts.line_counts",
    "mirror.Incident.changes",
    "packages.Release.keywords",
    "packages.SnapshotRevision.changed_fields",
    "packages.SnapshotRevision.keywords",
    "registry_site.AuditEvent.detail",
    "registry_site.AuditEvent.target",
    "registry_site.AuditSeal.marks",
    "registry_site.OutboxEntry.arguments",
    "registry_site.StaffRun.problems",
}
# The page of one row may show a description or dependencies of it, but not these.
NEVER_SHOWN = {
    "files",
    "search_text",
    "search_name",
    "search_spelling",
    "summary_words",
    "text_words",
    "spelling",
}

TABLE = re.compile(r'(?:FROM|JOIN) "(\w+)"(?: "?([TU]\d+)"?)?')
COLUMN = re.compile(r'(?:SELECT |DISTINCT |, |BY )"?(\w+)"?\."(\w+)"(?=,| FROM| AS| ORDER| LIMIT|$)')

LISTS = (
    "/packages?query=",
    "/packages?query=demo",
    "/namespaces/alice/packages",
    "/namespaces/alice/packages/demo/versions",
    "/api/v1/crates?q=demo",
    "/mirror/api/v1/crates?q=serde",
    "/mirror/api/v1/crates?sort=downloads",
    "/mirror/api/v1/crates",
    "/api/v1/crates?sort=downloads",
    "/api/v1/crates/demo?include=",
    "/api/v1/crates/demo/downloads",
    "/api/v1/keywords",
    "/api/v1/categories",
    "/api/v1/category_slugs",
)


def large_columns() -> set[tuple[str, str]]:
    """Return table and name of each column that can be large."""
    return {
        (model._meta.db_table, field.attname)
        for model in apps.get_models()
        if model.__module__.partition(".")[0] in MAY_IMPORT
        for field in model._meta.concrete_fields
        if isinstance(field, JSONField | TextField | BinaryField) and f"{model._meta.label}.{field.name}" not in SMALL
    }


def selected_columns(sql: str) -> Iterator[tuple[str, str]]:
    """Iterate over table and name of the columns that a query returns, or groups by."""
    tables = {alias or table: table for table, alias in re.findall(r'(?:FROM|JOIN) "(\w+)"(?: "?([TU]\d+)"?)?', sql)}
    for alias, column in re.findall(
        r'(?:SELECT |DISTINCT |, |BY )"?(\w+)"?\."(\w+)"(?=,| FROM| AS| ORDER| LIMIT|$)', sql
    ):
        yield tables.get(alias, alias), column


def large_columns_of_get(client: Client, path: str) -> set[tuple[str, str]]:
    """Return the large columns that a page selects."""
    with CaptureQueriesContext(connection) as queries:
        response = client.get(path)
    for _ in response:  # reads the file of a download, which closes it
        pass
    assert response.status_code == 200, path
    selected = {column for query in queries.captured_queries for column in selected_columns(query["sql"])}
    assert selected, path
    return selected & large_columns()


@pytest.fixture
def rows(as_alice: CargoClient, alice: User, mirror_directory: Path) -> None:
    """At least one row of each kind that has a large column."""
    as_alice.publish(packing.body())
    as_alice.delete("/api/v1/crates/demo/1.0.0/yank")
    as_alice.publish(packing.body(version="2.0.0"))
    browser = Browser(alice)
    fields = {"package_name": "demo", "version": "1.0.0", "field": "java"}
    assert upload_archive(browser, "POST", "/namespaces/alice/packages", DEMO_TGZ, **fields).status_code == 200
    fields = {"version": "1.0.0", "description": "other"}
    assert upload_archive(browser, "PUT", "/namespaces/alice/packages/demo", OTHER_TGZ, **fields).status_code == 200
    line = f'{{"name":"serde","vers":"1.0.0","cksum":"{"0" * 64}"}}\n'
    index_cache.store("se/rd/serde", "https://index.example.com/", line.encode())


@pytest.fixture
def mirror_directory(tmp_path: Path, settings: Any) -> Path:
    disk = {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": tmp_path / "mirror"}}
    settings.STORAGES = {**settings.STORAGES, "mirror": disk}
    return tmp_path


def admin_url(model: Any, page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.mark.usefixtures("rows")
def test_lists_select_no_large_column(as_root: Client, as_alice: CargoClient) -> None:
    lists = [*LISTS, *(admin_url(model, "changelist") for model in admin.site._registry)]
    offenders = {path: large for path in lists if (large := large_columns_of_get(as_root, path))}
    assert offenders == {}
    assert large_columns_of_get(as_alice, "/api/v1/crates/demo/owners") == set()


@pytest.mark.usefixtures("rows")
def test_pages_select_no_endless_column(as_root: Client) -> None:
    pages = [
        admin_url(model, "change", row.pk)
        for model in admin.site._registry
        if (row := model._default_manager.order_by("pk").first())
    ]
    assert len(pages) > 5
    selected = {path: large_columns_of_get(as_root, path) for path in pages}
    offenders = {path: columns for path, columns in selected.items() if {column for _, column in columns} & NEVER_SHOWN}
    assert offenders == {}


@pytest.mark.usefixtures("rows")
def test_download_selects_no_list_of_files(as_root: Client) -> None:
    path = "/namespaces/alice/packages/demo/versions/1.0.0"
    assert ("packages_release", "files") in large_columns_of_get(as_root, path)
    assert ("packages_release", "files") not in large_columns_of_get(as_root, f"{path}/download")
    assert ("packages_release", "files") not in large_columns_of_get(as_root, "/namespaces/alice/packages/demo")


@pytest.mark.usefixtures("rows")
def test_snapshot_keeps_its_former_files() -> None:
    release = Release.objects.get()
    assert len(release.revisions.get().files) == 2
    assert release.files == [{"path": "other", "size": 1}]


@pytest.mark.only_sqlite
@pytest.mark.django_db
def test_large_columns_stand_last_in_their_table() -> None:
    """What stands behind them costs as much as they do: see `registry_site.sqlite.columns`."""
    large = large_columns()
    offenders = {}
    with connection.cursor() as cursor:
        for table in sorted({table for table, _ in large}):
            columns = [column.name for column in connection.introspection.get_table_description(cursor, table)]
            small = [column for column in columns if (table, column) not in large]
            if columns[: len(small)] != small:
                offenders[table] = columns
    assert offenders == {}
