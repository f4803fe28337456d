"""Blobs as rows: those that nobody refers to are deleted, beside uploads of the same bytes."""

import io
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from http import HTTPStatus
from io import StringIO
from itertools import count
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from urllib.request import urlopen

import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import transaction
from django.test.client import MULTIPART_CONTENT
from django.utils import timezone

from crates.models import Version
from registry_site.errors import Lost, Unavailable
from registry_site.models import StoredBlob
from registry_site.signals import purge_requested
from registry_site.storage import blobs, stored_blobs
from tests.support import packing
from tests.support.browser import Browser
from tests.support.cast import CargoClient
from tests.support.live_browser import LiveBrowser
from tests.support.package_archives import DEMO_TGZ, encode_form, pack_tgz, upload_archive
from tests.support.s3 import KEYS, LimitedListings, limited_listings
from tests.support.servers import ROOT, Server

DATA = b"some bytes"
PACKAGES = "/namespaces/alice/packages"
FIELDS = {"version": "1.0.0", "field": "npm"}


def age(days: float = 2) -> None:
    StoredBlob.objects.update(put_at=timezone.now() - timedelta(days=days))


def put(data: bytes = DATA) -> blobs.Blob:
    return stored_blobs.put(io.BytesIO(data))


def purge() -> str:
    out = StringIO()
    call_command("purge", stdout=out)
    return out.getvalue()


def is_stored(blob: blobs.Blob) -> bool:
    try:
        blob.require_present()
    except Lost:
        return False
    return True


def test_unused_blob_is_deleted_after_a_day(db: None) -> None:
    blob = put()
    age(days=0.9)
    assert (stored_blobs.collect(), is_stored(blob)) == (0, True)
    age()
    put()  # renews it
    assert (stored_blobs.collect(), is_stored(blob)) == (0, True)
    age()
    assert (stored_blobs.collect(), is_stored(blob)) == (1, False)
    assert not StoredBlob.objects.exists()


def test_blob_of_a_crate_or_package_stays(as_alice: CargoClient, browser: Browser) -> None:
    as_alice.publish(packing.body())
    for method, path, archive in (("POST", PACKAGES, DEMO_TGZ), ("PUT", f"{PACKAGES}/demo", pack_tgz({"new": "1"}))):
        response = upload_archive(browser, method, path, archive, package_name="demo", **FIELDS)  # a snapshot
        assert response.status_code == 200, response.content
    assert StoredBlob.objects.count() == 3
    age()
    assert stored_blobs.collect() == 0


def test_reference_to_a_deleted_blob_is_refused(db: None) -> None:
    blob = put()
    stored_blobs.hold(blob.sha256)
    StoredBlob.objects.update(claimed_at=timezone.now())
    with pytest.raises(Unavailable), transaction.atomic():
        stored_blobs.hold(blob.sha256)
    StoredBlob.objects.all().delete()
    with pytest.raises(Unavailable), transaction.atomic():
        stored_blobs.hold(blob.sha256)


def test_put_waits_for_a_deletion(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_blobs, "WAIT_SECONDS", 0)
    blob = put()
    StoredBlob.objects.update(claimed_at=timezone.now())
    with pytest.raises(Unavailable):
        put()
    StoredBlob.objects.update(claimed_at=timezone.now() - stored_blobs.CLAIM - timedelta(seconds=1))  # it was killed
    assert put() == blob
    stored_blobs.hold(blob.sha256)


def test_claimed_blob_is_deleted_once(db: None) -> None:
    blob = put()
    StoredBlob.objects.update(claimed_at=timezone.now())
    assert (stored_blobs.discard(blob.sha256), is_stored(blob)) == (False, True)
    StoredBlob.objects.update(claimed_at=timezone.now() - stored_blobs.CLAIM - timedelta(seconds=1))
    assert (stored_blobs.discard(blob.sha256), is_stored(blob)) == (True, False)


def test_older_blob_gets_a_row(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    StoredBlob.objects.all().delete()
    unused = blobs.put(io.BytesIO(DATA))
    call_command("purge")
    assert (StoredBlob.objects.count(), is_stored(unused)) == (2, True)
    assert StoredBlob.objects.get(pk=unused.sha256).size == len(DATA)
    age()
    call_command("purge")
    assert (StoredBlob.objects.count(), is_stored(unused)) == (1, False)
    assert is_stored(blobs.Blob(*Version.objects.values_list("checksum", "size").get()))


def test_failure_of_the_storage_is_reported(db: None, blob_directory: Path) -> None:
    blob = put()
    age()
    (blob_directory / "00").write_text("a file in the place of a directory")
    reports = [report for _, report in purge_requested.send(sender=None)]
    assert any(str(report).startswith("Unused files are not all deleted:") for report in reports)
    assert not is_stored(blob)


def test_discarded_bytes_of_a_killed_upload_go(db: None, blob_directory: Path) -> None:
    store: Any = storages["blobs"]
    blob, other = put(), blobs.identify(io.BytesIO(b"other"))
    uploads = [
        store.written(io.BytesIO(DATA), blob, blob_directory),
        store.written(io.BytesIO(), other, blob_directory),
    ]
    for upload in uploads:  # their processes are killed before they end it
        upload.__enter__()
    assert stored_blobs.discard(blob.sha256)
    assert [path.name.partition(".")[0] for path in blob_directory.rglob("*") if path.is_file()] == [other.sha256]


def bytes_under(prefix: str) -> bytes:
    """Return bytes whose SHA-256 begins so."""
    return next(data for data in map(str.encode, map(str, count())) if sha256(data).hexdigest().startswith(prefix))


@pytest.fixture
def s3(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[LimitedListings]:
    bucket = f"bucket-{os.urandom(6).hex()}"
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    with limited_listings(bucket) as (url, server):
        options = {"endpoint_url": url, "bucket_name": bucket, "location": "below", "region_name": "us-east-1"}
        backend = {"BACKEND": "registry_site.storage.s3.S3Blobs", "OPTIONS": options}
        settings.STORAGES = {**settings.STORAGES, "blobs": backend}
        yield server


def test_purge_of_s3_survives_a_failed_listing(s3: LimitedListings, as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    used = blobs.Blob(*Version.objects.values_list("checksum", "size").get())
    unused = put()
    age()
    # The walk begins at any prefix: one of these two comes in its first half, the other in its second.
    older = [blobs.put(io.BytesIO(bytes_under(prefix))) for prefix in ("00", "80")]
    adopted = StoredBlob.objects.filter(pk__in=[blob.sha256 for blob in older])
    s3.remaining = stored_blobs.PREFIXES // 2
    assert "Unused files are not all deleted:" in purge()
    assert (is_stored(unused), is_stored(used), adopted.count()) == (False, True, 1)
    s3.remaining = stored_blobs.PREFIXES
    assert "0 unused files deleted; 1 had no row until now." in purge()
    assert (is_stored(used), adopted.count()) == (True, 2)


# --- Beside a running server -----------------------------------------------------------------------------------------

# Deletes without the time of grace, as fast as it can, what no row refers to: the worst that can meet an upload.
COLLECTOR = """
import io, select, sys
from registry_site.models import StoredBlob
from registry_site.storage import stored_blobs
deleted = 0
stored_blobs.put(io.BytesIO(b"unused"))
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for sha256 in list(StoredBlob.objects.values_list("pk", flat=True)):
        deleted += stored_blobs.delete_unless_needed(sha256)
print(deleted, flush=True)
"""
ARCHIVES = 24
PUBLISHERS = 4


@pytest.fixture
def collector(server: Server) -> Iterator[Popen[str]]:
    command = [sys.executable, "manage.py", "shell", "-c", COLLECTOR]
    with Popen(command, cwd=ROOT, env=server.environment, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        while "ready" not in process.stdout.readline():
            assert process.poll() is None
        yield process
        process.kill()


@pytest.mark.long
def test_acknowledged_uploads_survive_deletions(server: Server, collector: Popen[str]) -> None:
    browser = LiveBrowser(server, "alice")
    archives = {f"p{number}": pack_tgz({f"file{number}": str(number)}) for number in range(ARCHIVES)}
    refusals = 0

    def publish(name: str) -> int:
        form = encode_form(archives[name], package_name=name, **FIELDS)
        for attempt in range(200):
            status = browser.post_form(PACKAGES, form, MULTIPART_CONTENT)
            if status == HTTPStatus.OK:
                return attempt
            assert status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS), status
        raise AssertionError(f"{name} was never taken.")

    with ThreadPoolExecutor(PUBLISHERS) as publishers:
        refusals = sum(publishers.map(publish, archives))
    deleted = collector.communicate("stop\n", timeout=60)[0]
    assert int(deleted.split()[-1]) > 0, "the collector does not delete"
    for name, archive in archives.items():
        url = f"{server.url}{PACKAGES}/{name}/versions/1.0.0/download"
        with urlopen(url) as response:
            assert sha256(response.read()).digest() == sha256(archive).digest(), refusals
