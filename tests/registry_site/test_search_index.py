"""The index of words on disk, which keeps words of deleted rows until it is written anew."""

import pytest
from django.db import connection

from accounts.models import User
from crates.models import Crate, Version
from registry_site.search.index import rewrite_indexes
from tests.support.crate_rows import Listing, create_crates

SECRET = "hunter2hunter2"
INDEX = "crates_cratewords_text_words_words"


def stored_bytes() -> bytes:
    """Return the bytes of the index of texts of crates."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("CHECKPOINT")  # writes the pages to the file
            cursor.execute("SELECT pg_read_binary_file(pg_relation_filepath(%s))", [INDEX])
        else:
            cursor.execute(f"SELECT block FROM {INDEX}_data")
        return b"".join(bytes(row[0]) for row in cursor.fetchall())


@pytest.mark.django_db(transaction=True)
def test_words_of_deleted_rows_leave_the_index(alice: User) -> None:
    create_crates([Listing("demo", readme=SECRET), Listing("other", readme="giraffe")], alice)
    assert SECRET.encode() in stored_bytes()
    demo = Crate.objects.get(name="demo")
    Version.objects.filter(crate=demo).delete()
    assert SECRET.encode() in stored_bytes()
    assert rewrite_indexes() >= 11
    assert SECRET.encode() not in stored_bytes()
    assert b"giraffe" in stored_bytes()
