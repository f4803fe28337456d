"""The blob store: the same tests on disk and on S3."""

import base64
import hashlib
import io
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.files.storage import storages
from django.http import HttpRequest, HttpResponseBase
from django.test import RequestFactory
from django.utils import timezone
from moto.server import ThreadedMotoServer

from registry_site.errors import Lost, Unavailable
from registry_site.http.downloads import deliver
from registry_site.logs import fields_of
from registry_site.storage import blobs
from registry_site.storage import s3 as s3_storage
from tests.support import bad_upstream
from tests.support.bad_upstream import Behaviour, Exchange

pytestmark = pytest.mark.database_independent

DATA = random.Random(0).randbytes(200_000)
NAME = hashlib.sha256(DATA).hexdigest()
WHOLE = blobs.Blob(NAME, len(DATA))


def respond(request: HttpRequest, blob: blobs.Blob, count: Callable[[], None] = lambda: None) -> HttpResponseBase:
    """Return the response to a request for a blob; `count` is called for a download."""
    return deliver(
        request,
        blob,
        filename="a.crate",
        modified=timezone.now(),
        cache_control="public",
        count_download=count,
    )


def counts(request: HttpRequest, blob: blobs.Blob) -> int:
    """Return how many downloads a request counts as."""
    counted: list[None] = []
    respond(request, blob, lambda: counted.append(None)).close()
    return len(counted)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of an S3 server on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def bucket(s3: str, settings: Any, credentials: None) -> str:
    name = f"bucket-{os.urandom(6).hex()}"
    boto3.client("s3", endpoint_url=s3, region_name="us-east-1").create_bucket(Bucket=name)
    use_s3(settings, endpoint_url=s3, bucket_name=name, location="below", region_name="us-east-1")
    return name


def use_s3(settings: Any, **options: Any) -> None:
    backend = {"BACKEND": "registry_site.storage.s3.S3Blobs", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest) -> None:
    """Both storages; every test has the disk by default."""
    if request.param == "s3":
        request.getfixturevalue("bucket")


@pytest.mark.usefixtures("store")
class TestBothStorages:
    def test_bytes_are_read_by_their_hash(self) -> None:
        assert blobs.put(io.BytesIO(DATA)) == blobs.Blob(NAME, len(DATA))
        with WHOLE.read() as file:
            assert file.read() == DATA

    def test_same_bytes_again_change_nothing(self) -> None:
        assert blobs.put(io.BytesIO(DATA)) == blobs.put(io.BytesIO(DATA))

    def test_concurrent_writers_of_same_bytes_agree(self) -> None:
        with ThreadPoolExecutor(8) as writers:
            assert set(writers.map(lambda _: blobs.put(io.BytesIO(DATA)).sha256, range(16))) == {NAME}

    def test_part_of_the_bytes_is_read(self) -> None:
        blobs.put(io.BytesIO(DATA))
        with WHOLE.read(100, 50) as file:
            assert file.read() == DATA[100:150]

    def test_unknown_blob_is_lost(self, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(Lost):
            blobs.Blob("0" * 64, 1).read()
        with pytest.raises(Lost):
            blobs.Blob("1" * 64, 1).require_present()
        lines = [fields_of(record) for record in caplog.records if record.levelname == "ERROR"]
        assert [(line["event"], line["sha256"]) for line in lines] == [("blob.lost", "0" * 64), ("blob.lost", "1" * 64)]

    def test_deleted_blob_is_lost(self) -> None:
        blob = blobs.put(io.BytesIO(DATA))
        blob.require_present()
        blobs.delete(blob)
        blobs.delete(blob)
        with pytest.raises(Lost):
            blob.require_present()

    @pytest.mark.django_db
    def test_ranges_are_delivered(self) -> None:
        expected = {
            "bytes=0-9": (206, DATA[:10], "bytes 0-9/200000"),
            "bytes=199990-": (206, DATA[-10:], "bytes 199990-199999/200000"),
            "bytes=-5": (206, DATA[-5:], "bytes 199995-199999/200000"),
            "bytes=5-999999": (206, DATA[5:], "bytes 5-199999/200000"),
            "bytes=7-7": (206, DATA[7:8], "bytes 7-7/200000"),
            "bytes=-999999": (206, DATA, "bytes 0-199999/200000"),
            "bytes=200000-": (416, b"", "bytes */200000"),
            "bytes=-0": (416, b"", "bytes */200000"),
            "bytes=9-5": (200, DATA, None),
            "bytes=0-1,5-6": (200, DATA, None),
            "lines=0-1": (200, DATA, None),
            "bytes=-": (200, DATA, None),
        }
        blob = blobs.put(io.BytesIO(DATA))
        for header, (status, content, content_range) in expected.items():
            request = RequestFactory().get("/", headers={"Range": header})
            response = respond(request, blob)
            assert (header, response.status_code, response.get("Content-Range")) == (header, status, content_range)
            assert response.getvalue() == content
            response.close()

    @pytest.mark.django_db
    def test_range_of_other_content_is_ignored(self) -> None:
        blob = blobs.put(io.BytesIO(DATA))
        for etag, status in ((blob.etag, 206), ('"another"', 200)):
            request = RequestFactory().get("/", headers={"Range": "bytes=0-9", "If-Range": etag})
            response = respond(request, blob)
            assert response.status_code == status
            response.close()

    @pytest.mark.django_db
    def test_downloads_count_from_the_first_byte(self, settings: Any) -> None:
        blob = blobs.put(io.BytesIO(DATA))
        ranges = {
            **dict.fromkeys(("bytes=0-", "bytes=0-9", "bytes=-200000", "bytes=0-1,5-6", "bytes=9-5", "lines=5-"), 1),
            **dict.fromkeys(("bytes=1-", "bytes=5-9", "bytes=-5", "bytes=200000-", "bytes=-0"), 0),
        }
        requests = [(1, RequestFactory().get("/")), (0, RequestFactory().head("/"))]
        requests += [(0, RequestFactory().get("/", headers={"If-None-Match": blob.etag}))]
        requests += [(number, RequestFactory().get("/", headers={"Range": value})) for value, number in ranges.items()]
        other = {"Range": "bytes=5-", "If-Range": '"another"'}
        requests += [(1, RequestFactory().get("/", headers=other))]
        for prefix in ("", "/internal/"):  # sent by the registry, and by a proxy
            settings.X_ACCEL_PREFIX = prefix
            for number, request in requests:
                assert (counts(request, blob), prefix, dict(request.headers)) == (number, prefix, dict(request.headers))


def test_disk_holds_only_the_blob(blob_directory: Path) -> None:
    blobs.put(io.BytesIO(DATA))
    assert [path.name for path in blob_directory.rglob("*") if path.is_file()] == [NAME]


def test_disk_syncs_the_bytes_before_their_name(blob_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, synced = os.fsync, list[Path]()

    def record(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    blobs.put(io.BytesIO(DATA))
    target = blob_directory / NAME[:2] / NAME[2:4]
    *parents, file, directory = synced
    assert set(parents) >= {blob_directory.parent, blob_directory, target.parent}
    assert (file.parent, directory) == (blob_directory / "incoming", target)
    synced.clear()
    blobs.put(io.BytesIO(DATA))
    assert synced == [target]


def test_damaged_file_is_mended(caplog: pytest.LogCaptureFixture) -> None:
    blob = blobs.put(io.BytesIO(DATA))
    path = Path(blob.local_path() or "")
    path.write_bytes(b"damaged")
    assert blobs.put(io.BytesIO(DATA)) == blob
    assert path.read_bytes() == DATA
    assert os.listdir(path.parents[2] / "incoming") == []
    assert "blob.mended" in caplog.text


def test_shorter_file_is_lost() -> None:
    path = Path(blobs.put(io.BytesIO(DATA)).local_path() or "")
    os.truncate(path, 100)
    for read in (WHOLE.read, WHOLE.require_present, WHOLE.local_path, lambda: WHOLE.read(50, 60)):
        with pytest.raises(Lost):
            read()
    blobs.put(io.BytesIO(DATA))
    assert path.read_bytes() == DATA


def test_range_of_a_truncated_file_raises() -> None:
    path = blobs.put(io.BytesIO(DATA)).local_path()
    assert path
    with WHOLE.read(100, 50) as file:
        os.truncate(path, 120)
        with pytest.raises(OSError, match="has become shorter"):
            file.read()


def test_broken_disk_is_unavailable(blob_directory: Path) -> None:
    blob_directory.write_text("a file in the place of the directory")
    with pytest.raises(Unavailable):
        blobs.put(io.BytesIO(DATA))


def test_s3_refuses_to_overwrite(bucket: str, s3: str) -> None:
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    key = f"below/{NAME[:2]}/{NAME[2:4]}/{NAME}"
    client.put_object(Bucket=bucket, Key=key, Body=DATA, Metadata={"first": "yes"})
    blobs.put(io.BytesIO(DATA))
    assert client.get_object(Bucket=bucket, Key=key)["Metadata"] == {"first": "yes"}


def test_damaged_object_in_s3_is_mended(bucket: str, s3: str, caplog: pytest.LogCaptureFixture) -> None:
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    client.put_object(Bucket=bucket, Key=f"below/{NAME[:2]}/{NAME[2:4]}/{NAME}", Body=b"damaged")
    blobs.put(io.BytesIO(DATA))
    assert blobs.is_intact(blobs.Blob(NAME, len(DATA)))
    assert "blob.mended" in caplog.text


def key_of(blob: blobs.Blob) -> str:
    return f"below/{blob.sha256[:2]}/{blob.sha256[2:4]}/{blob.sha256}"


def test_shorter_object_in_s3_is_lost(bucket: str, s3: str) -> None:
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    client.put_object(Bucket=bucket, Key=key_of(WHOLE), Body=DATA[:100])
    for read in (WHOLE.read, WHOLE.require_present, lambda: WHOLE.read(50, 60), lambda: WHOLE.read(150, 20)):
        with pytest.raises(Lost):
            read()
    blobs.put(io.BytesIO(DATA))
    assert blobs.is_intact(WHOLE)


def test_last_part_of_damaged_object_is_withheld(bucket: str, s3: str, caplog: pytest.LogCaptureFixture) -> None:
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    client.put_object(Bucket=bucket, Key=key_of(WHOLE), Body=b"x" + DATA[1:])
    with WHOLE.read() as content:
        parts = blobs.iter_chunks(content)
        assert next(parts)
        with pytest.raises(Lost):
            list(parts)
    assert [fields_of(record)["sha256"] for record in caplog.records if record.levelname == "ERROR"] == [NAME]


def test_missing_bucket_is_no_missing_object(bucket: str, s3: str, settings: Any) -> None:
    use_s3(settings, endpoint_url=s3, bucket_name="missing-bucket", region_name="us-east-1")
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        WHOLE.require_present()


@pytest.fixture
def script(settings: Any, credentials: None) -> Iterator[Callable[[Behaviour], None]]:
    """Let a service of S3 answer by a script for the object of `WHOLE`."""
    with bad_upstream.upstream() as server:
        use_s3(settings, endpoint_url=f"http://{server.host}", bucket_name="bucket", region_name="us-east-1")
        yield partial(server.script, f"/bucket/{NAME[:2]}/{NAME[2:4]}/{NAME}")


def test_404_of_a_proxy_is_no_missing_object(script: Callable[[Behaviour], None]) -> None:
    script(bad_upstream.file(b"not found", 404))
    requests = (lambda: blobs.put(io.BytesIO(DATA)), WHOLE.read, WHOLE.require_present, lambda: blobs.delete(WHOLE))
    for request in requests:
        with pytest.raises(Unavailable, match=r"refuses us \(404\)"):
            request()


def test_object_is_damaged_against_its_checksum(script: Callable[[Behaviour], None]) -> None:
    checksum = base64.b64encode(bytes.fromhex(NAME)).decode()
    script(bad_upstream.file(b"x" + DATA[1:], x_amz_checksum_sha256=checksum))
    assert not blobs.is_intact(WHOLE)


def test_unknown_object_is_deleted(script: Callable[[Behaviour], None]) -> None:
    script(bad_upstream.file(b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", 404))
    blobs.delete(WHOLE)
    with pytest.raises(Lost):
        WHOLE.read()


def test_threads_share_a_client(bucket: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        clients = set(threads.map(lambda _: id(storages["blobs"].client), range(16)))  # type: ignore[attr-defined]
    assert len(clients) == 1


def test_buckets_share_the_description_of_s3(
    bucket: str, s3: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "botocore.loaders")
    s3_storage.shared_session.cache_clear()
    for name in (bucket, "other-bucket"):
        use_s3(settings, endpoint_url=s3, bucket_name=name, region_name="us-east-1")
        assert storages["blobs"].client  # type: ignore[attr-defined]
    loaded = [message for message in caplog.messages if "/s3/" in message and "/service-2.json" in message]
    assert len(loaded) == 1


def test_refusal_of_s3_is_logged_with_its_words(
    bucket: str, s3: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use_s3(settings, endpoint_url=s3, bucket_name="missing-bucket", region_name="us-east-1")
    with pytest.raises(Unavailable, match=r"storage refuses us \(NoSuchBucket\)"):
        blobs.put(io.BytesIO(DATA))
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    line = fields_of(record)
    assert (line["host"], line["bucket"], line["step"]) == (s3.removeprefix("http://"), "missing-bucket", "put")
    assert (line["sha256"], line["status"]) == (NAME, 404)
    assert "The specified bucket does not exist" in line["cause"]


def test_silent_s3_is_unavailable(settings: Any, credentials: None) -> None:
    use_s3(settings, endpoint_url="http://127.0.0.1:9", bucket_name="none", region_name="us-east-1")
    with pytest.raises(Unavailable):
        blobs.put(io.BytesIO(DATA))


def dripping_object(exchange: Exchange) -> None:
    exchange.head(Connection="close")
    exchange.send(bytes(blobs.CHUNK_SIZE))
    exchange.drip(b"x")


def test_dripping_s3_is_unavailable(script: Callable[[Behaviour], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_storage, "SECONDS", 0.5)
    script(bad_upstream.dripping_head)
    with pytest.raises(Unavailable):
        blobs.put(io.BytesIO(DATA))
    with pytest.raises(Unavailable):
        WHOLE.read()
    script(dripping_object)
    with WHOLE.read() as content, pytest.raises(Unavailable):
        content.read()


@pytest.mark.django_db
def test_s3_redirects_clients_to_signed_urls(bucket: str, s3: str, settings: Any) -> None:
    use_s3(settings, endpoint_url=s3, bucket_name=bucket, region_name="us-east-1", redirect_clients=True)
    blob = blobs.put(io.BytesIO(DATA))
    response = respond(RequestFactory().get("/"), blob)
    assert response.status_code == 302
    assert response["Location"].startswith(f"{s3}/{bucket}/")
    assert (response["Cache-Control"], response.get("ETag")) == ("private, no-store", None)
    head = respond(RequestFactory().head("/"), blob)
    assert (head.status_code, head["Content-Length"]) == (200, str(len(DATA)))  # the URL is signed for GET
    part = RequestFactory().get("/", headers={"Range": "bytes=5-"})  # the client repeats the range at the store
    requests = [RequestFactory().get("/"), part, RequestFactory().head("/")]
    assert [counts(request, blob) for request in requests] == [1, 0, 0]
    assert storages["blobs"].redirect_clients is True  # type: ignore[attr-defined]
