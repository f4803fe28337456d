"""The index of words on disk, which keeps words of deleted rows until it is written anew."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction

from accounts.models import User
from crates.models import Crate, CrateWords, Version
from registry_site.erasure import erase_traces
from registry_site.search.index import rewrite_indexes
from tests.support.concurrency import wait_until
from tests.support.crate_rows import Listing, create_crates
from tests.support.word_index import bytes_of_word_index

SECRET = "hunter2hunter2"


@pytest.mark.django_db(transaction=True)
def test_words_of_deleted_rows_leave_the_index(alice: User) -> None:
    create_crates([Listing("demo", readme=SECRET), Listing("other", readme="giraffe")], alice)
    assert SECRET.encode() in bytes_of_word_index()
    demo = Crate.objects.get(name="demo")
    Version.objects.filter(crate=demo).delete()
    assert SECRET.encode() in bytes_of_word_index()
    assert erase_traces([Version, CrateWords])
    assert SECRET.encode() not in bytes_of_word_index()
    assert b"giraffe" in bytes_of_word_index()


@pytest.mark.only_postgresql
@pytest.mark.django_db(transaction=True)
def test_rewriting_waits_for_a_writer_that_has_read(alice: User) -> None:
    create_crates([Listing("demo")], alice)

    def rewrite() -> int:
        try:
            return rewrite_indexes()
        finally:
            connections.close_all()

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
            rewriting = thread.submit(rewrite)
            wait_until(is_waiting)
            CrateWords.objects.update(name_words="other")
        assert rewriting.result() >= 11
