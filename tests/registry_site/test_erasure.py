"""Erasing on PostgreSQL, which keeps deleted rows as long as an older transaction may see them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts.models import User
from crates.models import Crate, CrateWords, Version, VersionContents
from registry_site import erasure
from tests.support.concurrency import wait_until
from tests.support.crate_rows import Listing, create_crates
from tests.support.word_index import bytes_of_word_index

pytestmark = [pytest.mark.only_postgresql, pytest.mark.django_db(transaction=True)]

SECRET = "hunter2hunter2"


@pytest.fixture
def old_reader(alice: User) -> Iterator[BaseDatabaseWrapper]:
    """A connection that reads the rows of before, such as that of a dump; a secret is deleted after its start."""
    create_crates([Listing("demo", readme=SECRET), Listing("other", readme="giraffe")], alice)
    reader = connection.copy()
    with reader.cursor() as cursor:
        cursor.execute("SET application_name TO 'dump'")
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT")
    Version.objects.filter(crate__name="demo").delete()
    yield reader
    reader.close()


def erase() -> bool:
    return erasure.erase_traces([Version, VersionContents, CrateWords, Crate])


def erase_in_a_thread() -> bool:
    try:
        return erase()
    finally:
        connections.close_all()


def bytes_of_table(table: str) -> bytes:
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
        cursor.execute("SELECT pg_read_binary_file(pg_relation_filepath(%s))", [table])
        return b"".join(bytes(row[0]) for row in cursor.fetchall())


def test_erasure_waits_for_an_old_reader(old_reader: BaseDatabaseWrapper) -> None:
    with ThreadPoolExecutor(1) as thread:
        erasing = thread.submit(erase_in_a_thread)
        assert wait([erasing], timeout=0.5).not_done
        old_reader.close()
        assert erasing.result() is True
    assert SECRET.encode() not in bytes_of_word_index()
    assert b"giraffe" in bytes_of_word_index()


def test_erasure_waits_for_a_writer_that_has_read(alice: User) -> None:
    create_crates([Listing("demo")], alice)

    def is_waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM pg_locks JOIN pg_database d ON database = d.oid "
                "WHERE NOT granted AND datname = current_database()"
            )
            return cursor.fetchone() is not None

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            assert CrateWords.objects.exists()
            erasing = thread.submit(erase_in_a_thread)
            wait_until(is_waiting)
            CrateWords.objects.update(name_words="other")
        assert erasing.result() is True


def test_last_row_of_a_page_leaves_the_file(alice: User) -> None:
    create_crates([Listing("other", readme="giraffe"), Listing("demo", readme=SECRET)], alice)
    Version.objects.filter(crate__name="demo").delete()
    assert erase()
    for model in (VersionContents, CrateWords):
        data = bytes_of_table(model._meta.db_table)
        assert b"giraffe" in data, model
        assert SECRET.encode() not in data, model


def test_role_without_rights_logs_a_lasting_reader(
    old_reader: BaseDatabaseWrapper, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "MAX_WAIT_SECONDS", 0)
    role = f"no_superuser_{connection.settings_dict['NAME']}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}; SET ROLE {role}")
        try:
            assert erase() is False
        finally:
            cursor.execute(f"RESET ROLE; DROP ROLE {role}")
    (fields,) = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert fields["event"] == "traces_not_erased"
    pid = old_reader.connection.info.backend_pid
    assert f"process {pid} (dump)" in fields["cause"]  # others may write in databases beside this one
