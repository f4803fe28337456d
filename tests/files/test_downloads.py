"""Downloads: whole files and ranges, names and types, from the disk, S3 or nginx, in little memory."""

import os
import random
import re
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
import pytest
from django.utils.http import http_date
from moto.server import ThreadedMotoServer

from files.models import File
from tests.support.file_clients import FileClient, LiveFileClient, failure, upload_file
from tests.support.servers import running

DATA = random.Random(5).randbytes(200_000)
WRITTEN_AT = 1_700_000_000
GIB = 1024**3
MIB = 1024**2
LARGE = 10 * GIB
MARK = b"in the middle"


def register(machine: FileClient, path: Path, **fields: str) -> int:
    answer = machine.send("POST", "/", {"path": str(path), "serve_path": "file", **fields}).json()
    return int(answer["results"][0]["id"])


def body(response: Any) -> bytes:
    """Return the whole body, which closes the file."""
    return bytes(response.getvalue())


@pytest.fixture
def on_disk(as_box: FileClient, file_root: Path) -> int:
    """The id of a file on the server's disk, written at a known time."""
    path = file_root / "data.bin"
    path.write_bytes(DATA)
    os.utime(path, (WRITTEN_AT, WRITTEN_AT))
    return register(as_box, path)


@pytest.fixture
def upload(as_box: FileClient) -> int:
    """The id of an upload of the same bytes."""
    response = upload_file(as_box, "POST", "/", DATA, serve_path="dir/data.bin")
    return int(response.json()["results"][0]["id"])


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a real S3 server on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of a store in S3, which uploads go to."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    name = f"bucket-{os.urandom(6).hex()}"
    boto3.client("s3", endpoint_url=s3, region_name="us-east-1").create_bucket(Bucket=name)
    options = {"endpoint_url": s3, "bucket_name": name, "region_name": "us-east-1"}
    use(settings, options)
    return options


def use(settings: Any, options: dict[str, Any]) -> None:
    backend = {"BACKEND": "registry_site.storage.s3.S3Blobs", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}


@pytest.fixture
def in_bucket(bucket: dict[str, Any], request: pytest.FixtureRequest) -> int:
    """The id of an upload in S3."""
    pk: int = request.getfixturevalue("upload")
    return pk


@pytest.fixture(params=["on_disk", "upload"])
def pk(request: pytest.FixtureRequest) -> int:
    """The id of a file on the disk, registered or uploaded."""
    pk: int = request.getfixturevalue(request.param)
    return pk


@pytest.fixture(params=["on_disk", "upload", "in_bucket"])
def anywhere(request: pytest.FixtureRequest) -> int:
    """The id of a file on the disk or in S3."""
    pk: int = request.getfixturevalue(request.param)
    return pk


# --- Whole files and ranges ---------------------------------------------------------------------------------------


def test_whole_file_is_served(anywhere: int, as_box: FileClient) -> None:
    response = as_box.send("GET", f"/{anywhere}")
    assert response.status_code == 200
    assert response["Content-Length"] == "200000"
    assert body(response) == DATA


def test_head_has_the_headers_and_no_body(anywhere: int, as_box: FileClient) -> None:
    whole = as_box.send("GET", f"/{anywhere}")
    head = as_box.send("HEAD", f"/{anywhere}")
    body(whole)
    assert (head.status_code, head.content) == (200, b"")
    assert {**dict(head.items()), "X-Request-ID": ""} == {**dict(whole.items()), "X-Request-ID": ""}


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=0-99": (0, 100),
    "bytes=100000-100099": (100_000, 100_100),
    "bytes=199990-": (199_990, 200_000),
    "bytes=199999-199999": (199_999, 200_000),
    "bytes=-10": (199_990, 200_000),
    "bytes=-999999": (0, 200_000),
    "bytes=5-999999999999": (5, 200_000),
}


def test_one_range_is_served(on_disk: int, as_box: FileClient) -> None:
    for requested, (start, end) in RANGES.items():
        response = as_box.send("GET", f"/{on_disk}", headers={"Range": requested})
        assert (response.status_code, response["Content-Length"]) == (206, str(end - start))
        assert response["Content-Range"] == f"bytes {start}-{end - 1}/200000"
        assert body(response) == DATA[start:end]


def test_range_past_the_end_is_refused(on_disk: int, as_box: FileClient) -> None:
    for requested in ("bytes=200000-", "bytes=200000-200001", "bytes=-0", "bytes=999999999999999999-"):
        response = as_box.send("GET", f"/{on_disk}", headers={"Range": requested})
        assert (response.status_code, response["Content-Range"]) == (416, "bytes */200000")
        assert body(response) == b""


def test_malformed_range_is_ignored(on_disk: int, as_box: FileClient) -> None:
    malformed = ["bytes=0-1,5-6", "bytes=9-5", "bytes=-", "bytes=a-b", "bytes=1", "bytes", "lines=0-1"]
    for requested in (*malformed, "bytes=0x0-1", "bytes=-1-2"):
        response = as_box.send("GET", f"/{on_disk}", headers={"Range": requested})
        assert response.status_code == 200
        assert body(response) == DATA


def test_empty_file_has_no_range(as_box: FileClient) -> None:
    pk = upload_file(as_box, "POST", "/", b"", serve_path="empty").json()["results"][0]["id"]
    response = as_box.send("GET", f"/{pk}")
    assert (response.status_code, response["Content-Length"], body(response)) == (200, "0", b"")
    response = as_box.send("GET", f"/{pk}", headers={"Range": "bytes=0-"})
    assert (response.status_code, response["Content-Range"]) == (416, "bytes */0")


def test_download_of_the_same_file_is_resumed(anywhere: int, as_box: FileClient) -> None:
    etag = as_box.send("HEAD", f"/{anywhere}")["ETag"]
    response = as_box.send("GET", f"/{anywhere}", headers={"Range": "bytes=150000-", "If-Range": etag})
    assert (response.status_code, body(response)) == (206, DATA[150_000:])


def test_download_of_another_file_begins_again(pk: int, as_box: FileClient) -> None:
    etag = as_box.send("HEAD", f"/{pk}")["ETag"]
    for condition in ('"another"', f"W/{etag}", "Tue, 14 Nov 2023 22:13:20 GMT"):
        response = as_box.send("GET", f"/{pk}", headers={"Range": "bytes=150000-", "If-Range": condition})
        assert (response.status_code, body(response)) == (200, DATA)


# --- Conditional requests -----------------------------------------------------------------------------------------


def test_file_with_the_same_etag_is_not_sent(pk: int, as_box: FileClient) -> None:
    etag = as_box.send("HEAD", f"/{pk}")["ETag"]
    response = as_box.send("GET", f"/{pk}", headers={"If-None-Match": f'"other", {etag}'})
    assert (response.status_code, response["ETag"], body(response)) == (304, etag, b"")


def test_file_of_the_same_date_is_not_sent(pk: int, as_box: FileClient) -> None:
    date = as_box.send("HEAD", f"/{pk}")["Last-Modified"]
    response = as_box.send("GET", f"/{pk}", headers={"If-Modified-Since": date})
    assert (response.status_code, response["Last-Modified"], body(response)) == (304, date, b"")


def test_newer_file_is_sent(on_disk: int, as_box: FileClient) -> None:
    response = as_box.send("GET", f"/{on_disk}", headers={"If-Modified-Since": http_date(WRITTEN_AT - 1)})
    assert (response.status_code, body(response)) == (200, DATA)


def test_file_on_the_disk_has_its_date(on_disk: int, as_box: FileClient) -> None:
    assert as_box.send("HEAD", f"/{on_disk}")["Last-Modified"] == http_date(WRITTEN_AT)


def test_changed_file_has_another_etag(as_box: FileClient, on_disk: int, file_root: Path) -> None:
    before = as_box.send("HEAD", f"/{on_disk}")["ETag"]
    path = file_root / "data.bin"
    path.write_bytes(DATA[::-1])
    os.utime(path, (WRITTEN_AT + 1, WRITTEN_AT + 1))
    as_box.send("PUT", f"/{on_disk}", {"path": str(path)})
    response = as_box.send("GET", f"/{on_disk}", headers={"If-None-Match": before})
    assert (response.status_code, body(response)) == (200, DATA[::-1])


def test_another_upload_has_another_etag(as_box: FileClient, upload: int) -> None:
    before = as_box.send("HEAD", f"/{upload}")["ETag"]
    upload_file(as_box, "PUT", f"/{upload}", DATA[::-1])
    response = as_box.send("GET", f"/{upload}", headers={"If-None-Match": before})
    assert (response.status_code, body(response)) == (200, DATA[::-1])


def test_proxies_may_not_cache_files(pk: int, as_box: FileClient) -> None:
    assert as_box.send("HEAD", f"/{pk}")["Cache-Control"] == "private, no-store"


# --- Names and types ----------------------------------------------------------------------------------------------

DISPOSITIONS = {
    "plain.txt": 'attachment; filename="plain.txt"',
    "two words.txt": 'attachment; filename="two words.txt"',
    'a "quote".txt': 'attachment; filename="a \\"quote\\".txt"',
    "semi;colon=1.txt": 'attachment; filename="semi;colon=1.txt"',
    "50%.txt": 'attachment; filename="50%.txt"',
    "schön.txt": "attachment; filename*=utf-8''sch%C3%B6n.txt",
    "日本.txt": "attachment; filename*=utf-8''%E6%97%A5%E6%9C%AC.txt",
}
ON_DISK_ONLY = {
    "back\\slash.txt": 'attachment; filename="back\\\\slash.txt"',
    "line\nfeed.txt": "attachment; filename*=utf-8''line%0Afeed.txt",
    "carriage\r\nSet-Cookie: a=b": "attachment; filename*=utf-8''carriage%0D%0ASet-Cookie%3A%20a%3Db",
    "line feed at the end\n": 'attachment; filename="line feed at the end"',
    "escape\x1b[31m.txt": "attachment; filename*=utf-8''escape%1B%5B31m.txt",
}
TYPES = {
    "a.txt": "text/plain; charset=utf-8",
    "a.HTML": "text/html; charset=utf-8",
    "a.json": "application/json",
    "a.png": "image/png",
    "a.svg": "image/svg+xml",
    "a.txt.gz": "application/octet-stream",
    "a.tgz": "application/octet-stream",
    "a.txt.bz2": "application/octet-stream",
    "a.unknown": "application/octet-stream",
    "a": "application/octet-stream",
    ".txt": "application/octet-stream",
    "data:text/html,x": "application/octet-stream",
}


def test_file_on_the_disk_keeps_its_name(as_box: FileClient, file_root: Path) -> None:
    expected, dispositions = DISPOSITIONS | ON_DISK_ONLY, {}
    for number, name in enumerate(expected):
        (file_root / name).write_bytes(b"")
        response = as_box.send("GET", f"/{register(as_box, file_root / name, serve_path=f'dir/{number}')}")
        body(response)
        dispositions[name] = response["Content-Disposition"]
    assert dispositions == expected


def test_upload_has_the_name_of_its_serve_path(as_box: FileClient) -> None:
    dispositions = {}
    for name in DISPOSITIONS:
        pk = upload_file(as_box, "POST", "/", b"", name="other", serve_path=f"dir/{name}").json()["results"][0]["id"]
        dispositions[name] = as_box.send("HEAD", f"/{pk}")["Content-Disposition"]
    assert dispositions == DISPOSITIONS


def test_name_decides_the_content_type(as_box: FileClient) -> None:
    types = {}
    for name in TYPES:
        pk = upload_file(as_box, "POST", "/", b"<html>", serve_path=f"dir/{name}").json()["results"][0]["id"]
        response = as_box.send("GET", f"/{pk}")
        body(response)
        types[name] = response["Content-Type"]
        assert response["X-Content-Type-Options"] == "nosniff"
        assert "Content-Encoding" not in response
    assert types == TYPES


# --- Rights, dead and lost files ----------------------------------------------------------------------------------


def test_reader_may_download(pk: int, as_reader: FileClient) -> None:
    assert body(as_reader.send("GET", f"/{pk}")) == DATA


def test_download_needs_a_session(pk: int, as_box: FileClient) -> None:
    as_box.token = ""
    for method in ("GET", "HEAD"):
        response = as_box.send(method, f"/{pk}")
        assert response.status_code == 401
        assert DATA[:100] not in body(response)


def test_unknown_file_is_missing(as_box: FileClient) -> None:
    for pk in (0, 999_999_999, 2**63, 10**30):
        response = as_box.send("GET", f"/{pk}")
        assert (response.status_code, response.json()) == (404, failure(f"There is no file with id {pk}."))


def test_dead_file_is_still_served(pk: int, as_box: FileClient) -> None:
    as_box.send("DELETE", f"/{pk}")
    assert body(as_box.send("GET", f"/{pk}")) == DATA


def test_dead_files_can_be_switched_off(pk: int, as_box: FileClient, settings: Any) -> None:
    settings.SERVE_DEAD_FILES = False
    as_box.send("DELETE", f"/{pk}")
    response = as_box.send("GET", f"/{pk}")
    assert (response.status_code, response.json()) == (404, failure(f"There is no file with id {pk}."))


def test_live_file_is_served_without_dead_ones(pk: int, as_box: FileClient, settings: Any) -> None:
    settings.SERVE_DEAD_FILES = False
    assert body(as_box.send("GET", f"/{pk}")) == DATA


def test_expired_file_is_served_until_the_purge(as_box: FileClient, upload: int) -> None:
    as_box.send("PUT", f"/{upload}", {"expiration": "1"})
    assert body(as_box.send("GET", f"/{upload}")) == DATA


def test_upload_without_its_blob_is_missing(as_box: FileClient, upload: int, blob_directory: Path) -> None:
    (blob,) = (path for path in blob_directory.rglob("*") if path.is_file())
    blob.unlink()
    response = as_box.send("GET", f"/{upload}")
    message = "The registry has lost the bytes of this file; please tell its operator."
    assert (response.status_code, response.json()) == (404, failure(message))


# --- Redirects to S3 and nginx ------------------------------------------------------------------------------------


@pytest.fixture
def redirecting(bucket: dict[str, Any], upload: int, settings: Any) -> int:
    """The id of an upload that clients fetch from S3 itself."""
    use(settings, {**bucket, "redirect_clients": True})
    return upload


def test_client_is_redirected_to_the_bucket(redirecting: int, bucket: dict[str, Any], as_box: FileClient) -> None:
    response = as_box.send("GET", f"/{redirecting}")
    assert (response.status_code, response.content) == (302, b"")
    assert response["Location"].startswith(f"{bucket['endpoint_url']}/{bucket['bucket_name']}/")
    with urlopen(response["Location"]) as answer:
        assert answer.read() == DATA
        assert answer.headers["Content-Disposition"] == 'attachment; filename="data.bin"'


def test_head_is_not_redirected(redirecting: int, as_box: FileClient) -> None:
    response = as_box.send("HEAD", f"/{redirecting}")
    assert (response.status_code, response["Content-Length"]) == (200, "200000")


def test_file_on_the_disk_is_not_redirected(redirecting: int, on_disk: int, as_box: FileClient) -> None:
    assert body(as_box.send("GET", f"/{on_disk}")) == DATA


def test_redirect_needs_a_session(redirecting: int, as_box: FileClient) -> None:
    as_box.token = ""
    assert as_box.send("GET", f"/{redirecting}").status_code == 401


def test_nginx_gets_the_path(as_box: FileClient, file_root: Path, settings: Any) -> None:
    settings.X_ACCEL_PREFIX = "/_files"
    path = file_root / "50% schön?.txt"
    path.write_bytes(DATA)
    response = as_box.send("GET", f"/{register(as_box, path)}")
    assert (response.status_code, response.content) == (200, b"")
    assert response["X-Accel-Redirect"] == f"/_files{file_root}/50%25%20sch%C3%B6n%3F.txt"
    assert response["Content-Type"] == "text/plain; charset=utf-8"


def test_nginx_gets_the_path_of_an_upload(as_box: FileClient, upload: int, blob_directory: Path, settings: Any) -> None:
    settings.X_ACCEL_PREFIX = "/_files"
    sha256 = File.objects.get().sha256
    response = as_box.send("GET", f"/{upload}")
    assert response["X-Accel-Redirect"] == f"/_files{blob_directory}/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def test_nginx_gets_no_path_of_a_link(as_box: FileClient, on_disk: int, file_root: Path, settings: Any) -> None:
    settings.X_ACCEL_PREFIX = "/_files"
    path = file_root / "data.bin"
    path.rename(file_root / "moved")
    path.symlink_to("moved")
    response = as_box.send("GET", f"/{on_disk}")
    assert (response.status_code, response.json()) == (404, failure("File does not exist."))
    assert "X-Accel-Redirect" not in response


def test_file_in_a_bucket_bypasses_nginx(in_bucket: int, as_box: FileClient, settings: Any) -> None:
    settings.X_ACCEL_PREFIX = "/_files"
    assert body(as_box.send("GET", f"/{in_bucket}")) == DATA


# --- Memory -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveFileClient]:
    """A client of a server with one worker and a sparse file of 10 GiB."""
    directory = tmp_path_factory.mktemp("downloads")
    (directory / "root").mkdir()
    with (directory / "root" / "large").open("wb") as file:
        file.truncate(LARGE)
        file.seek(LARGE // 2)
        file.write(MARK)
    with running(directory / "data", REGISTRY_FILE_ROOTS=str(directory / "root"), REGISTRY_WORKERS="1") as server:
        yield LiveFileClient(server, "box")


@pytest.fixture(scope="module")
def large(live: LiveFileClient) -> int:
    """The id of the large file."""
    answer = live.send("POST", "/", path=f"{live.server.data.parent}/root/large", serve_path="large")
    return int(answer["results"][0]["id"])


def memory_of(live: LiveFileClient) -> int:
    """Return the bytes of memory of the server and its worker, without pages that are shared with files."""
    pid = live.server.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    processes = [Path(f"/proc/{number}/status").read_text() for number in (pid, *workers)]
    assert len(processes) >= 2
    return 1024 * sum(int(kib) for status in processes for kib in re.findall(r"RssAnon:\s+([0-9]+)", status))


def start_download(live: LiveFileClient, pk: int, **headers: str) -> tuple[HTTPConnection, HTTPResponse]:
    connection = HTTPConnection("127.0.0.1", live.server.port, timeout=60)
    connection.request("GET", f"/{pk}?session_token={live.token}", headers=headers)
    return connection, connection.getresponse()


def test_range_in_the_middle_of_ten_gibibytes(live: LiveFileClient, large: int) -> None:
    requested = f"bytes={LARGE // 2}-{LARGE // 2 + len(MARK) - 1}"
    connection, answer = start_download(live, large, Range=requested)
    assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {requested[6:]}/{LARGE}")
    assert answer.read() == MARK
    connection.close()


@pytest.mark.parametrize("headers", [{}, {"Range": f"bytes={GIB}-"}], ids=["whole", "range"])
def test_download_of_ten_gibibytes_takes_little_memory(
    headers: dict[str, str], live: LiveFileClient, large: int
) -> None:
    live.send("GET", "/")
    before, peak, left = memory_of(live), 0, 300 * MIB
    connection, answer = start_download(live, large, **headers)
    assert int(answer.headers["Content-Length"]) == LARGE - (GIB if headers else 0)
    while left > 0:
        left -= len(answer.read(10 * MIB))
        peak = max(peak, memory_of(live))
    connection.close()
    assert peak - before < 50 * MIB


def test_server_survives_broken_downloads(live: LiveFileClient, large: int) -> None:
    for _ in range(20):
        connection, answer = start_download(live, large)
        assert len(answer.read(MIB)) == MIB
        connection.close()
    assert live.send("GET", "/")["count"] == 1
