"""The index of words on disk, which keeps words of deleted rows until it is written anew."""

import pytest

from accounts.models import User
from crates.models import Crate, CrateWords, Version
from registry_site.erasure import erase_traces
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
