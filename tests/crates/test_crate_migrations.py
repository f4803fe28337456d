"""Migrations of crates: stored rows survive them."""

from datetime import UTC, datetime

import pytest
from django.db import connection

from crates import index_files
from crates.mirror.models import IndexSummary
from crates.models import Crate
from registry_site.search.lookup import all_of
from tests.support import packing
from tests.support.bad_upstream import line
from tests.support.cast import CargoClient
from tests.support.migrations import migrate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.only_sqlite
@pytest.mark.django_db
def test_added_columns_keep_no_default() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns "
            "WHERE tables.type = 'table' AND columns.dflt_value IS NOT NULL"
        )
        assert cursor.fetchall() == []


@pytest.mark.django_db(transaction=True)
def test_stored_index_files_are_summarized() -> None:
    models = migrate(("mirror", "0013_readmes_as_text"))
    index_files = models.get_model("mirror", "CachedIndexFile").objects
    body = line("Demo", "1.0.0", b"one") + b"\n" + line("Demo", "1.1.0-rc.1", b"two") + b"\n"
    demo = index_files.create(path="de/mo/demo", name="demo", status=200, body=body)
    index_files.create(path="ot/he/other", name="other", status=200, body=line("other", "1.0.0", b"three"))
    absent = index_files.create(path="ab/se/absent", name="absent", status=404)
    for index_file in (demo, absent):
        models.get_model("mirror", "IndexSummary").objects.create(
            index_file=index_file, name="x", name_words="x", version_count=9, created_at=NOW, updated_at=NOW
        )
    migrate()
    columns = ("name", "canonical_name", "name_words", "version_count", "max_version", "default_version")
    assert list(IndexSummary.objects.values_list(*columns)) == [
        ("Demo", "demo", "demo", 2, "1.1.0-rc.1", "1.0.0"),
        ("other", "other", "other", 1, "1.0.0", "1.0.0"),
    ]
    matches = IndexSummary.objects.filter(name_words__matches=all_of(["dem"], limit=2))
    assert [len(summary.lines) for summary in matches] == [2]


@pytest.mark.django_db(transaction=True)
def test_index_files_keep_their_bytes(as_alice: CargoClient) -> None:
    for name, numbers in (("demo", ("1.0.0", "0.9.0", "1.1.0")), ("other", ("1.0.0",))):
        for number in numbers:
            as_alice.publish(packing.body(name, number))
    as_alice.delete("/api/v1/crates/demo/0.9.0/yank")
    before = {path: index_files.read(path) for path in ("de/mo/demo", "ot/he/other")}
    old = migrate(("crates", "0025_plain_names_of_rows"))
    assert list(old.get_model("crates", "Crate").objects.order_by("pk").values_list("index_text", flat=True)) == [
        file.text for file in before.values() if file
    ]
    migrate()
    assert {path: index_files.read(path) for path in before} == before
    assert [crate.index_size for crate in Crate.objects.order_by("pk")] == [
        len(file.text) for file in before.values() if file
    ]
