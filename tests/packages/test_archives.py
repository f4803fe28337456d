"""Archives of packages: accepted and refused contents, upload forms, signed forms and downloads."""

import functools
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from accounts.models import User
from packages import archives
from packages.models import Package, Release
from registry_site.errors import Invalid
from tests.support import packing
from tests.support.app_keys import issue_key, sign_request
from tests.support.browser import Browser
from tests.support.live_browser import LiveBrowser
from tests.support.package_archives import DEMO_TGZ, encode_form, pack_tgz, upload_archive
from tests.support.servers import Server

pytestmark = pytest.mark.database_independent

SERVER_SETTINGS = {"REGISTRY_WORKERS": "1"}

PACKAGES = "/namespaces/alice/packages"
DEMO = f"{PACKAGES}/demo"
ARCHIVE = f"{DEMO}/versions/1.0.0/download"
FIELDS = {"package_name": "demo", "version": "1.0.0", "field": "npm"}


def tgz_of(*entries: bytes) -> bytes:
    """Return an archive with exactly these entries."""
    return gzip.compress(b"".join([*entries, packing.END]), mtime=0)


def pax(**records: str) -> bytes:
    """Return an extended header, which overrides fields of the next entry."""
    return packing.entry("pax", b"".join(map(pax_record, records, records.values())), kind=b"x")


def pax_record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + len(str(len(rest) + 3))
    return str(length).encode() + rest


DEMO_FILES = [{"path": "package/package.json", "size": 16}, {"path": "package/中文.txt", "size": 6}]


def create(browser: Client, archive: Any = DEMO_TGZ, **changes: Any) -> Any:
    return upload_archive(browser, "POST", PACKAGES, archive, **{**FIELDS, **changes})


def list_files(archive: bytes) -> list[dict[str, Any]]:
    return archives.list_files(io.BytesIO(archive), len(archive))


def stored_blobs(blob_directory: Path) -> list[Path]:
    return [path for path in blob_directory.rglob("*") if path.is_file()]


def assert_nothing_stored(blob_directory: Path) -> None:
    assert not Package.objects.exists()
    assert stored_blobs(blob_directory) == []


# --- Accepted archives -----------------------------------------------------------------------------------------------

DEEP_PATH = "/".join(["package", *["directory"] * 12, "file.txt"])  # longer than the field of a plain header


@pytest.mark.parametrize("kind", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_archive_of_tar_is_listed(tmp_path: Path, kind: str) -> None:
    paths = ["package/a.txt", "package/中文/é.txt", *([] if kind == "v7" else [DEEP_PATH])]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    subprocess.run(["tar", f"--format={kind}", "-czf", "a.tgz", "package"], cwd=tmp_path, check=True)
    files = {file["path"]: file["size"] for file in list_files((tmp_path / "a.tgz").read_bytes())}
    assert files == {path: len(path.encode()) for path in paths}


def test_archive_of_npm_is_listed() -> None:
    usual = {"magic": b"ustar\x0000", "mode": b"000644 \0", "mtime": b"03560116604 "}
    archive = tgz_of(
        packing.entry("package/LICENSE", b"MIT", **usual),
        packing.entry("package/lib/index.js", b"x" * 700, **usual),
        packing.entry("PaxHeader/package/long.js", pax_record("path", "package/" + "l" * 120 + ".js"), kind=b"x"),
        packing.entry("package/" + "l" * 80, b"1", **usual),
    )
    sizes = [("package/LICENSE", 3), ("package/lib/index.js", 700), ("package/" + "l" * 120 + ".js", 1)]
    assert list_files(archive) == [{"path": path, "size": size} for path, size in sizes]


def test_source_distribution_of_python_is_listed() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        directory = tarfile.TarInfo("demo-1.0")
        directory.type, directory.mtime = tarfile.DIRTYPE, 1700000000.25
        tar.addfile(directory)
        file = tarfile.TarInfo("demo-1.0/PKG-INFO")
        file.size, file.mtime, file.uname = 4, 1700000000.75, "名"
        tar.addfile(file, io.BytesIO(b"Name"))
    assert list_files(buffer.getvalue()) == [{"path": "demo-1.0/PKG-INFO", "size": 4}]


def test_good_paths_are_listed() -> None:
    paths = ["a", "./a", "a b/ü.txt", "..a/b..", "資料/データ/자료", "-rf", "ab:c", "x" * 512]
    assert list_files(pack_tgz(dict.fromkeys(paths, "1"))) == [{"path": path, "size": 1} for path in paths]


def test_empty_files_are_listed() -> None:
    assert list_files(pack_tgz({"a": "", "b": ""})) == [{"path": "a", "size": 0}, {"path": "b", "size": 0}]


def test_large_file_needs_little_memory() -> None:
    archive = pack_tgz({"large": bytes(40 * 1024 * 1024)})
    tracemalloc.start()
    files = list_files(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert files == [{"path": "large", "size": 40 * 1024 * 1024}]
    assert peak < 4 * 1024 * 1024


def test_global_headers_need_little_memory() -> None:
    record = "a" * 60_000
    headers = [packing.entry("pax", pax_record(f"key{number}", record), kind=b"g") for number in range(300)]
    archive = tgz_of(*(part for header in headers for part in (header, packing.entry("a", b""))))
    tracemalloc.start()
    try:
        list_files(archive)
    except Invalid:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


# --- Refused archives ------------------------------------------------------------------------------------------------

GIGABYTES = b"%011o\0" % (4 * 1024**3)
SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" * 12}
FILE = packing.entry("a", b"1")


@functools.cache
def refused_archives() -> dict[str, bytes]:
    """Pack them for the worker that asks: the large ones take a second, and each worker imports this module."""
    return {
        "empty": b"",
        "text": b"hello",
        "zip": b"PK\x03\x04" + bytes(100),
        "tar without gzip": packing.tar_of({"a": "1"}),
        "gzip of nothing": gzip.compress(b""),
        "gzip of a text": gzip.compress(b"hello" * 200),
        "gzip cut off": DEMO_TGZ[:-9],
        "gzip damaged": DEMO_TGZ[:40] + bytes([DEMO_TGZ[40] ^ 255]) + DEMO_TGZ[41:],
        "gzip of another length": DEMO_TGZ[:-1] + b"\x01",
        "garbage after gzip": DEMO_TGZ + b"x",
        "two gzips": DEMO_TGZ + DEMO_TGZ,
        "tar cut off in a header": gzip.compress(FILE + packing.header("b")[:200]),
        "tar cut off in a file": gzip.compress(FILE + packing.entry("b", b"2" * 2000)[:1024]),
        "tar without an end": gzip.compress(FILE),
        "garbage after tar": gzip.compress(FILE + packing.END + b"x" * 512),
        "tar after tar": gzip.compress((FILE + packing.END) * 2),
        "first header damaged": tgz_of(packing.header("a", checksum=b"000000\0 ")),
        "later header damaged": tgz_of(FILE, packing.header("b", checksum=b"000000\0 ")),
        "garbage for a header": tgz_of(FILE, b"garbage".ljust(512, b"\0")),
        "symbolic link": tgz_of(packing.entry("a", linkname=b"/etc/passwd", kind=b"2")),
        "symbolic link within": tgz_of(FILE, packing.entry("b", linkname=b"a", kind=b"2")),
        "hard link": tgz_of(FILE, packing.entry("b", linkname=b"a", kind=b"1")),
        "character device": tgz_of(packing.entry("a", kind=b"3")),
        "block device": tgz_of(packing.entry("a", kind=b"4")),
        "fifo": tgz_of(packing.entry("a", kind=b"6")),
        "unknown kind": tgz_of(packing.entry("a", kind=b"Z")),
        "sparse file of GNU": tgz_of(packing.entry("a", kind=b"S")),
        "sparse file of POSIX": tgz_of(pax(**SPARSE), packing.entry("a", b"1\n0\n5\n")),
        "negative size": tgz_of(packing.header("a", size=b"\xff" * 12)),
        "negative size in blocks": tgz_of(FILE, packing.header("b", size=b"\xff" * 10 + b"\xfc\x00")),
        "negative size of POSIX": tgz_of(pax(size="-5"), packing.entry("a")),
        "negative size of POSIX in blocks": tgz_of(FILE, pax(size="-1024"), packing.entry("b")),
        "size of exabytes": tgz_of(packing.header("a", size=b"\x80" + b"\0" * 3 + b"\xff" * 8)),
        "size of POSIX beyond everything": tgz_of(pax(size="9" * 100), packing.entry("a")),
        "size that is no number": tgz_of(packing.header("a", size=b"abc")),
        "long name of gigabytes": tgz_of(packing.header("././@LongLink", kind=b"L", size=GIGABYTES), FILE),
        "long link of gigabytes": tgz_of(packing.header("././@LongLink", kind=b"K", size=GIGABYTES), FILE),
        "header of POSIX of gigabytes": tgz_of(packing.header("pax", kind=b"x", size=GIGABYTES), FILE),
        "header for all of gigabytes": tgz_of(packing.header("pax", kind=b"g", size=GIGABYTES), FILE),
        "long names one after another": tgz_of(packing.long_name(b"x") * 3000, FILE),
        "headers one after another": tgz_of(pax(path="x") * 3000, FILE),
        "long name without an entry": tgz_of(packing.long_name(b"x")),
        "header of POSIX without an entry": tgz_of(pax(path="x")),
        "header of POSIX that is none": tgz_of(packing.entry("pax", b"path=x", kind=b"x"), FILE),
        "path of POSIX twice": tgz_of(
            packing.entry("pax", pax_record("path", "b") + pax_record("path", "c"), kind=b"x"), FILE
        ),
        "file of a gigabyte in a few bytes": gzip.compress(packing.header("a", size=GIGABYTES) + bytes(70 << 20)),
        "too many entries": tgz_of(packing.header("a") * 20_001),
        "too long paths together": pack_tgz({f"{number:0500}": "" for number in range(4200)}),
    }


def test_bad_archives_are_refused(browser: Browser, blob_directory: Path) -> None:
    responses = {name: create(browser, archive) for name, archive in refused_archives().items()}
    refusal = (400, {"error", "message"})
    assert [name for name, answer in responses.items() if (answer.status_code, set(answer.json())) != refusal] == []
    assert_nothing_stored(blob_directory)


BAD_PATHS = [
    b"/etc/passwd",
    b"//a",
    b"..",
    b"../a",
    b"a/../../b",
    b"a/..",
    b"C:/a",
    b"c:a",
    b"a\\b",
    b"\\\\host\\a",
    b"..\\a",
    b"a\nb",
    b"a\x1b[2Jb",
    b"a\x7fb",
    b"\xff\xfe",
    "a\u202eb".encode(),
    "a\u200bb".encode(),
    "a\u2028b".encode(),
    "a\x85b".encode(),
    b"x" * 513,
]


def refusal_of(archive: bytes) -> str:
    """Return the message of a refusal, or nothing."""
    try:
        list_files(archive)
    except Invalid as error:
        return error.message
    return ""


def test_bad_paths_are_refused() -> None:
    messages = {path: refusal_of(tgz_of(packing.long_name(path), packing.entry("a"))) for path in BAD_PATHS}
    expected = re.compile(r"a path that is not (allowed|UTF-8)")
    assert [path for path, message in messages.items() if not expected.search(message)] == []


def test_bad_paths_in_extended_headers_are_refused() -> None:
    paths = ["../a", "/a", "a\0b", "C:\\a", ""]
    assert [path for path in paths if not refusal_of(tgz_of(pax(path=path), packing.entry("a")))] == []


def test_bad_path_of_directory_is_refused() -> None:
    with pytest.raises(Invalid, match=r"a path that is not (allowed|UTF-8)"):
        list_files(tgz_of(packing.entry("../a/", kind=b"5")))


def test_gzip_bomb_needs_little_memory() -> None:
    archive = refused_archives()["file of a gigabyte in a few bytes"]
    tracemalloc.start()
    with pytest.raises(Invalid, match="unpacks to more than"):
        list_files(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def test_bad_archive_leaves_older_versions(browser: Browser, blob_directory: Path) -> None:
    create(browser)
    before = stored_blobs(blob_directory)
    assert upload_archive(browser, "PUT", DEMO, refused_archives()["symbolic link"], version="2.0.0").status_code == 400
    assert (browser.get(DEMO).json()["version"], stored_blobs(blob_directory)) == ("1.0.0", before)


# --- Forms -----------------------------------------------------------------------------------------------------------


def test_form_creates_the_same_package_as_json(browser: Browser, alice: User) -> None:
    dependencies = [{"name": "acme/core", "version": "^1.0"}]
    lists = {"dependencies": json.dumps(dependencies), "keywords": '["中文", "fast"]'}
    response = create(browser, **lists, status="RELEASE", type="PRIVATE", description="你好")
    package = Package.objects.get()
    assert response.status_code == 200
    assert response.json() == {
        "package_id": str(package.pk),
        "package_name": "demo",
        "namespace_id": str(package.namespace_id),
        "namespace": "alice",
        "version": "1.0.0",
        "field": "npm",
        "dependencies": dependencies,
        "dev_dependencies": [],
        "status": "RELEASE",
        "publisher_id": str(alice.pk),
        "publisher": "alice",
        "type": "PRIVATE",
        "description": "你好",
        "keywords": ["中文", "fast"],
        "last_updated": f"{package.updated_at:%Y-%m-%d}",
    }


def test_version_shows_its_archive(browser: Browser) -> None:
    create(browser)
    version = browser.get(f"{DEMO}/versions/1.0.0").json()
    assert (version["sha256"], version["size"]) == (hashlib.sha256(DEMO_TGZ).hexdigest(), len(DEMO_TGZ))
    assert version["files"] == DEMO_FILES


def test_form_publishes_a_version(browser: Browser) -> None:
    create(browser)
    archive = pack_tgz({"b": "2"})
    package_id = Package.objects.get(name="demo").pk
    response = upload_archive(browser, "PUT", DEMO, archive, version="2.0.0", dependencies="[]", package_id=package_id)
    assert (response.status_code, response.json()["version"]) == (200, "2.0.0")
    assert browser.get(f"{DEMO}/versions/2.0.0/download").getvalue() == archive


def test_form_without_file_creates_package_without_archive(browser: Browser) -> None:
    assert create(browser, None).status_code == 200
    version = browser.get(f"{DEMO}/versions/1.0.0").json()
    assert (version["sha256"], version["size"], version["files"]) == ("", 0, [])


def test_two_files_are_refused(browser: Browser, blob_directory: Path) -> None:
    files = [SimpleUploadedFile("a.tgz", DEMO_TGZ), SimpleUploadedFile("b.tgz", pack_tgz({"b": "2"}))]
    response = browser.generic(
        "POST", PACKAGES, encode_multipart(BOUNDARY, {**FIELDS, "file": files}), MULTIPART_CONTENT
    )
    assert response.status_code == 400
    assert_nothing_stored(blob_directory)


def test_text_instead_of_file_is_refused(browser: Browser) -> None:
    response = create(browser, None, file="not a file")
    message = "file: The submitted data was not a file. Check the encoding type on the form."
    assert (response.status_code, response.json()) == (400, {"error": "malformed", "message": message})


BAD_LISTS = [
    "",
    "[",
    "nope",
    "null",
    "{}",
    "1",
    '"a"',
    "[1]",
    "[null]",
    "[[]]",
    "[NaN]",
    '[{"name": "a"}]',
    '[{"version": "1"}]',
    '[{"name": 1, "version": "1"}]',
    '[{"name": "a", "version": 1}]',
    '[{"name": "a", "version": "not a range"}]',
    '[{"name": "\\u0000", "version": "1"}]',
    '[{"name": "\\ud800", "version": "1"}]',
    "[" * 10_000,
]


@pytest.mark.parametrize("field", ["dependencies", "dev_dependencies"])
def test_bad_lists_in_a_form_are_refused(browser: Browser, blob_directory: Path, field: str) -> None:
    responses = {text: create(browser, **{field: text}) for text in BAD_LISTS}
    refusal = (400, {"error", "message"})
    assert [text for text, answer in responses.items() if (answer.status_code, set(answer.json())) != refusal] == []
    assert_nothing_stored(blob_directory)


def test_file_instead_of_text_is_refused(browser: Browser) -> None:
    for field in ("dependencies", "keywords", "version", "description", "package_name"):
        assert create(browser, **{field: SimpleUploadedFile("x", b'[{"name": "a"}]\n')}).status_code == 400


TOO_LONG = [
    ("description", "x" * 1001),
    ("description", "a\0b"),
    ("package_name", "x" * 215),
    ("field", "x" * 64),
    ("version", "1.0.0-" + "x" * 122),
    ("status", "x" * 41),
    ("package_id", "x"),
    ("keywords", json.dumps(["x" * 51])),
    ("keywords", json.dumps([str(number) for number in range(21)])),
]


def test_fields_over_their_limits_are_refused(browser: Browser, blob_directory: Path) -> None:
    statuses = [create(browser, **{field: value}).status_code for field, value in TOO_LONG]
    assert statuses == [400] * len(TOO_LONG)
    assert_nothing_stored(blob_directory)


def test_fields_at_their_limits_are_accepted(browser: Browser) -> None:
    keywords = [str(number) * 50 for number in range(10)] + [f"b{number}" for number in range(10)]
    limits = {"package_name": "x" * 63, "field": "x" * 63, "description": "x" * 1000, "keywords": json.dumps(keywords)}
    assert create(browser, **limits).status_code == 200


def test_huge_text_field_is_refused(browser: Browser, blob_directory: Path) -> None:
    assert create(browser, description="x" * 3 * 1024 * 1024).status_code in (400, 413)
    assert_nothing_stored(blob_directory)


def test_too_many_fields_are_refused(browser: Browser, blob_directory: Path) -> None:
    response = create(browser, **{f"field{number}": "1" for number in range(10_000)})
    assert (response.status_code, set(response.json())) == (400, {"error", "message"})
    assert_nothing_stored(blob_directory)


def test_archive_over_the_limit_is_refused(browser: Browser, blob_directory: Path, settings: Any) -> None:
    settings.MAX_PACKAGE_SIZE = len(DEMO_TGZ) - 1
    response = create(browser)
    message = f"The archive has {len(DEMO_TGZ)} bytes; at most {len(DEMO_TGZ) - 1} are taken here."
    assert (response.status_code, response.json()) == (413, {"error": "too_large", "message": message})
    assert_nothing_stored(blob_directory)


def test_archive_at_the_limit_is_accepted(browser: Browser, settings: Any) -> None:
    settings.MAX_PACKAGE_SIZE = len(DEMO_TGZ)
    assert create(browser).status_code == 200


def test_body_over_the_limit_is_not_read(browser: Browser, blob_directory: Path, settings: Any) -> None:
    settings.MAX_PACKAGE_SIZE = 1000
    body = encode_form(bytes(1024 * 1024 + 1000), **FIELDS)
    response = browser.generic("POST", PACKAGES, body, MULTIPART_CONTENT)
    message = f"The body has {len(body)} bytes; at most {1024 * 1024 + 1000} are taken here."
    assert (response.status_code, response.json()) == (413, {"error": "too_large", "message": message})
    assert_nothing_stored(blob_directory)


def test_archive_needs_free_space(browser: Browser, blob_directory: Path, settings: Any) -> None:
    settings.MIN_FREE_SPACE = 10**15
    for archive in (DEMO_TGZ, bytes(1024 * 1024)):  # stored from memory, and refused unread
        response = create(browser, archive)
        assert (response.status_code, response.json()["error"], response["Retry-After"]) == (503, "unavailable", "60")
    assert_nothing_stored(blob_directory)


def test_form_without_a_boundary_is_refused(browser: Browser) -> None:
    for parameter in ("", "; boundary=", "; boundary=é"):
        form = encode_form(DEMO_TGZ, **FIELDS)
        response = browser.generic("POST", PACKAGES, form, f"multipart/form-data{parameter}")
        assert (response.status_code, set(response.json())) == (400, {"error", "message"})


def test_malformed_form_is_refused(browser: Browser) -> None:
    for body in (b"", b"x", b"--other\r\n", f"--{BOUNDARY}--\r\n".encode(), DEMO_TGZ):
        response = browser.generic("POST", PACKAGES, body, MULTIPART_CONTENT)
        assert (response.status_code, set(response.json())) == (400, {"error", "message"})


def test_form_without_a_length_is_refused(browser: Browser) -> None:
    response = browser.generic(
        "POST", PACKAGES, b"--x", MULTIPART_CONTENT, CONTENT_LENGTH="", headers={"Transfer-Encoding": "chunked"}
    )
    message = "Send the body with a Content-Length; a chunked body is not taken here."
    assert (response.status_code, response.json()) == (411, {"error": "length_required", "message": message})


def test_other_content_types_are_refused(browser: Browser) -> None:
    content_types = ["application/x-www-form-urlencoded", "application/gzip", "multipart/mixed"]
    assert [browser.generic("POST", PACKAGES, DEMO_TGZ, kind).status_code for kind in content_types] == [415] * 3


# --- Storage ---------------------------------------------------------------------------------------------------------


def test_same_bytes_are_stored_once(browser: Browser, blob_directory: Path) -> None:
    create(browser)
    create(browser, package_name="other")
    upload_archive(browser, "PUT", DEMO, DEMO_TGZ, version="2.0.0")
    (blob,) = stored_blobs(blob_directory)
    assert blob.read_bytes() == DEMO_TGZ
    assert Release.objects.filter(sha256=blob.name).count() == 3


def test_republished_release_stores_nothing(browser: Browser, blob_directory: Path) -> None:
    first = create(browser, status="RELEASE").json()
    response = upload_archive(browser, "PUT", DEMO, DEMO_TGZ, version="1.0.0", status="RELEASE")
    assert (response.status_code, response.json()) == (200, {**first, "name": "demo"})
    assert len(stored_blobs(blob_directory)) == Release.objects.count() == 1


def test_stranger_stores_no_archive(browser: Browser, charlie: User, blob_directory: Path) -> None:
    response = create(Browser(charlie))
    assert (response.status_code, response.json()["error"]) == (403, "denied")
    assert_nothing_stored(blob_directory)


# --- GET …/versions/{version}/download -------------------------------------------------------------------------------


@pytest.fixture
def visitor(browser: Browser) -> Browser:
    """The browser of an anonymous visitor; a package with an archive exists."""
    assert create(browser).status_code == 200
    return Browser()


def test_download_returns_the_uploaded_bytes(visitor: Browser) -> None:
    response = visitor.get(ARCHIVE)
    assert (response.status_code, response.getvalue()) == (200, DEMO_TGZ)
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Length"] == str(len(DEMO_TGZ))
    assert response["ETag"] == f'"{hashlib.sha256(DEMO_TGZ).hexdigest()}"'
    assert response["Content-Disposition"] == 'attachment; filename="demo-1.0.0.tgz"'


def test_shared_caches_do_not_store_downloads(visitor: Browser) -> None:
    assert visitor.head(ARCHIVE)["Cache-Control"] == "private, no-cache"


def test_range_request_returns_a_part(visitor: Browser) -> None:
    ranges = {"bytes=0-9": DEMO_TGZ[:10], "bytes=10-": DEMO_TGZ[10:], "bytes=-5": DEMO_TGZ[-5:]}
    for header, part in ranges.items():
        response = visitor.get(ARCHIVE, headers={"Range": header})
        start = DEMO_TGZ.index(part)
        assert (response.status_code, response.getvalue()) == (206, part)
        assert response["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/{len(DEMO_TGZ)}"


def test_range_past_the_end_is_refused(visitor: Browser) -> None:
    response = visitor.get(ARCHIVE, headers={"Range": "bytes=99999-"})
    assert (response.status_code, response["Content-Range"]) == (416, f"bytes */{len(DEMO_TGZ)}")


def test_range_of_replaced_archive_returns_the_whole(browser: Browser, visitor: Browser) -> None:
    etag = visitor.head(ARCHIVE)["ETag"]
    upload_archive(browser, "PUT", DEMO, pack_tgz({"b": "2"}), version="1.0.0")
    response = visitor.get(ARCHIVE, headers={"Range": "bytes=0-9", "If-Range": etag})
    assert (response.status_code, response.getvalue()) == (200, pack_tgz({"b": "2"}))


def test_unchanged_archive_answers_not_modified(visitor: Browser) -> None:
    response = visitor.get(ARCHIVE, headers={"If-None-Match": visitor.head(ARCHIVE)["ETag"]})
    assert (response.status_code, response.content) == (304, b"")


def test_replaced_archive_is_sent_in_full(browser: Browser, visitor: Browser) -> None:
    etag = visitor.head(ARCHIVE)["ETag"]
    upload_archive(browser, "PUT", DEMO, pack_tgz({"b": "2"}), version="1.0.0")
    response = visitor.get(ARCHIVE, headers={"If-None-Match": etag})
    assert (response.status_code, response.getvalue()) == (200, pack_tgz({"b": "2"}))


def test_head_describes_an_archive(visitor: Browser) -> None:
    response = visitor.head(ARCHIVE)
    assert (response.status_code, response.content) == (200, b"")
    assert response["Content-Length"] == str(len(DEMO_TGZ))
    assert response["ETag"] == visitor.head(ARCHIVE)["ETag"]


def test_chinese_file_name_follows_rfc_5987(browser: Browser) -> None:
    create(browser, package_name="数据库")
    response = browser.head(f"{PACKAGES}/数据库/versions/1.0.0/download")
    coded = "%E6%95%B0%E6%8D%AE%E5%BA%93-1.0.0.tgz"
    assert response["Content-Disposition"] == f"attachment; filename*=utf-8''{coded}"


def test_build_metadata_is_optional_in_downloads(browser: Browser) -> None:
    create(browser, version="1.0.0+build.7")
    for version in ("1.0.0+build.7", "1.0.0"):
        assert browser.get(f"{DEMO}/versions/{version}/download").getvalue() == DEMO_TGZ


def test_unknown_version_has_no_archive(visitor: Browser) -> None:
    for version in ("2.0.0", "1.0.0+other", "1.0", "latest", "%2e%2e", "é", "1" * 5000):
        response = visitor.get(f"{DEMO}/versions/{version}/download")
        assert (response.status_code, response.json()["error"]) == (404, "version_missing")


def test_version_without_archive_has_no_download(browser: Browser) -> None:
    create(browser, None)
    response = browser.get(ARCHIVE)
    message = "alice/demo 1.0.0 has no archive."
    assert (response.status_code, response.json()) == (404, {"error": "archive_missing", "message": message})


def test_strangers_cannot_download_private_archives(browser: Browser, charlie: User) -> None:
    create(browser, type="PRIVATE")
    refusal = {"error": "package_missing", "message": "There is no package alice/demo."}
    headers: list[dict[str, str]] = [{}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}]
    for header in headers:
        response = Browser(charlie).get(ARCHIVE, headers=header)
        assert (response.status_code, response.json()) == (404, refusal)
        assert "ETag" not in response
    assert browser.get(ARCHIVE).getvalue() == DEMO_TGZ


# --- Signed forms ----------------------------------------------------------------------------------------------------


def sign_digest(user: User, digest: bytes, kind: str = "PUBLISH") -> str:
    """Return a token over `digest` by a new app key."""
    return sign_request(issue_key(user, kind), digest)


def send_form(token: str, body: bytes) -> Any:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    return client.generic("POST", PACKAGES, body, MULTIPART_CONTENT, headers={"Token": token})


@pytest.mark.parametrize("kind", ["PUBLISH", "ALL"])
@pytest.mark.parametrize("is_bound", [False, True])
def test_signed_form_is_accepted(alice: User, kind: str, is_bound: bool) -> None:
    body = encode_form(DEMO_TGZ, **FIELDS)
    token = sign_digest(alice, hashlib.sha256(body).digest() if is_bound else b"", kind)
    assert send_form(token, body).status_code == 200
    assert Client().get(ARCHIVE).getvalue() == DEMO_TGZ


def test_signature_of_other_content_is_refused(alice: User, blob_directory: Path) -> None:
    body = encode_form(DEMO_TGZ, **FIELDS)
    digests = {
        "of the file": hashlib.sha256(DEMO_TGZ).digest(),
        "of nothing": hashlib.sha256(b"").digest(),
        "of something else": bytes(32),
        "short": bytes(31),
        "text": b"x",
        "the body": body,
    }
    responses = {name: send_form(sign_digest(alice, digest), body) for name, digest in digests.items()}
    refusal = (401, "unauthenticated")
    assert [name for name, answer in responses.items() if (answer.status_code, answer.json()["error"]) != refusal] == []
    assert_nothing_stored(blob_directory)


@pytest.mark.parametrize("tail", [b"", b"x", b"\r\nepilogue\r\n" * 20_000], ids=["none", "short", "long"])
def test_signature_covers_the_whole_body(alice: User, blob_directory: Path, tail: bytes) -> None:
    body = encode_form(DEMO_TGZ, **FIELDS)
    response = send_form(sign_digest(alice, hashlib.sha256(body + b"?").digest()), body + tail)
    assert response.status_code == 401
    assert_nothing_stored(blob_directory)


def test_signature_of_large_form_is_checked(alice: User, blob_directory: Path) -> None:
    archive = gzip.compress(packing.tar_of({"large": os.urandom(4 * 1024 * 1024)}), compresslevel=0)
    body = encode_form(archive, **FIELDS)
    assert send_form(sign_digest(alice, bytes(32)), body).status_code == 401
    assert_nothing_stored(blob_directory)
    assert send_form(sign_digest(alice, hashlib.sha256(body).digest()), body).status_code == 200


def test_signature_works_once(alice: User) -> None:
    body = encode_form(DEMO_TGZ, **FIELDS)
    token = sign_digest(alice, hashlib.sha256(body).digest())
    assert [send_form(token, body).status_code for _ in range(2)] == [200, 401]


def test_read_only_key_cannot_publish(alice: User, blob_directory: Path) -> None:
    response = send_form(sign_digest(alice, b"", "READ_ONLY"), encode_form(DEMO_TGZ, **FIELDS))
    assert (response.status_code, response.json()["error"]) == (403, "scope_missing")
    assert_nothing_stored(blob_directory)


# --- Memory of a running server --------------------------------------------------------------------------------------

MIB = 1024 * 1024


def upload_noise(browser: LiveBrowser, name: str, size: int) -> int:
    """Create a package with an archive of `size` random bytes; return the status."""
    archive = gzip.compress(packing.tar_of({"noise": os.urandom(size)}), compresslevel=0)
    return browser.post_form(PACKAGES, encode_form(archive, **{**FIELDS, "package_name": name}), MULTIPART_CONTENT)


def peak_memory(server: Server) -> int:
    """Return the sum of all workers' peaks of resident memory in bytes."""
    reports = [Path(f"/proc/{worker}/status").read_text() for worker in server.workers()]
    return sum(int(size) * 1024 for report in reports for size in re.findall(r"VmHWM:\s*([0-9]+) kB", report))


def test_large_upload_needs_little_memory(server: Server) -> None:
    browser = LiveBrowser(server, "alice")
    assert upload_noise(browser, "small", 4 * MIB) == 200
    before = peak_memory(server)
    assert upload_noise(browser, "large", 60 * MIB) == 200
    assert 0 < peak_memory(server) < before + 20 * MIB
