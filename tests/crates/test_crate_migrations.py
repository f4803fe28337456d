"""Migrations of crates: stored rows survive them."""

import pytest
from django.db import connection

from crates.mirror.models import IndexSummary
from tests.support.bad_upstream import line
from tests.support.migrations import migrate


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
@pytest.mark.usefixtures("newest_state")
def test_stored_index_files_are_summarized() -> None:
    index_files = migrate(("mirror", "0011_facts")).get_model("mirror", "CachedIndexFile").objects
    body = line("Demo", "1.0.0", b"one") + b"\n" + line("Demo", "1.1.0-rc.1", b"two") + b"\n"
    index_files.create(path="de/mo/demo", name="demo", status=200, body=body)
    index_files.create(path="ab/se/absent", name="absent", status=404)
    migrate()
    columns = ("name", "name_words", "version_count", "max_version", "default_version")
    assert list(IndexSummary.objects.values_list(*columns)) == [("Demo", "demo", 2, "1.1.0-rc.1", "1.0.0")]
