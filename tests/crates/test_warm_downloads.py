"""Where files are, in memory: what staff and owners remove is gone from the next request on."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from crates import removal
from crates.downloads import crate_files
from crates.models import Version
from tests.support import packing
from tests.support.cast import CargoClient
from tests.support.change_feed import feeding

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/dl/demo/1.0.0/download"


def download(client: CargoClient, path: str = PATH) -> int:
    """Download a file to its end, and return the status."""
    response = client.get(path)
    b"".join(response)
    return int(response.status_code)


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """Keep files in memory, as a worker does."""
    with feeding(crate_files):
        yield


@pytest.fixture
def version(as_alice: CargoClient) -> Version:
    """A version whose file is in memory."""
    as_alice.publish(packing.body())
    for _ in range(2):  # the feed has to read the publish first
        assert download(as_alice) == 200
    assert [*crate_files.entries] == [("demo", "1.0.0")]
    return Version.objects.get()


def test_warm_download_takes_no_query(version: Version, anonymous: CargoClient) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert download(anonymous) == 200
    assert [query["sql"] for query in queries] == []


def test_removed_version_is_gone_at_once(version: Version, anonymous: CargoClient, root: User) -> None:
    removal.remove_version(version, "reason", actor=root)
    assert download(anonymous) == 410


def test_removed_crate_is_gone_at_once(version: Version, anonymous: CargoClient, root: User) -> None:
    removal.remove_crate_as_staff(version.crate, "reason", actor=root)
    assert download(anonymous) == 410


def test_change_in_sql_counts_at_once(version: Version, anonymous: CargoClient) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crates_version SET number = '2.0.0'")
    assert download(anonymous) == 404


def test_yank_keeps_the_file_in_memory(version: Version, anonymous: CargoClient) -> None:
    Version.objects.update(yanked=True)
    assert download(anonymous) == 200
    assert crate_files.entries


def test_missing_versions_are_not_kept(version: Version, anonymous: CargoClient) -> None:
    assert download(anonymous, "/dl/demo/9.9.9/download") == 404
    assert len(crate_files.entries) == 1
