"""Archives that come with packages: what is taken, what is refused, and how they are handed out again."""

import base64
import gzip
import hashlib
import hmac
import io
import json
import os
import re
import secrets
import subprocess
import tarfile
import time
import tracemalloc
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from accounts.credentials import app_keys
from accounts.models import User
from accounts.principals import Principal
from packages import archives
from packages.models import Package, Release
from registry_site.errors import Invalid
from tests.support import packing
from tests.support.browser import Browser
from tests.support.package_archives import DEMO_TGZ, encode_form, pack_tgz, upload_archive
from tests.support.servers import PASSWORD, Server

pytestmark = pytest.mark.database_independent

SERVER_SETTINGS = {"REGISTRY_WORKERS": "1"}

PACKAGES = "/namespaces/alice/packages"
DEMO = f"{PACKAGES}/demo"
ARCHIVE = f"{DEMO}/versions/1.0.0/download"
FIELDS = {"package_name": "demo", "version": "1.0.0", "field": "java"}


def tgz_of(*entries: bytes) -> bytes:
    """An archive of entries byte for byte."""
    return gzip.compress(b"".join([*entries, packing.END]), mtime=0)


def pax(**records: str) -> bytes:
    """The entry that changes what the next one says."""
    return packing.entry("pax", b"".join(map(_record, records, records.values())), kind=b"x")


def _record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + len(str(len(rest) + 3))
    return str(length).encode() + rest


DEMO_FILES = [{"path": "package/package.json", "size": 16}, {"path": "package/中文.txt", "size": 6}]


def create(browser: Client, archive: Any = DEMO_TGZ, **changes: Any) -> Any:
    return upload_archive(browser, "POST", PACKAGES, archive, **{**FIELDS, **changes})


def listed(archive: bytes) -> list[dict[str, Any]]:
    return archives.list_files(io.BytesIO(archive), len(archive))


def stored(blob_directory: Path) -> list[Path]:
    return [path for path in blob_directory.rglob("*") if path.is_file()]


def assert_nothing_is_left(blob_directory: Path) -> None:
    assert not Package.objects.exists()
    assert stored(blob_directory) == []


# --- What is taken -----------------------------------------------------------------------------------------------

DEEP = "/".join(["package", *["directory"] * 12, "file.txt"])  # longer than a header's own field


@pytest.mark.parametrize("kind", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_archive_of_tar_is_listed(tmp_path: Path, kind: str) -> None:
    paths = ["package/a.txt", "package/中文/é.txt", *([] if kind == "v7" else [DEEP])]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    subprocess.run(["tar", f"--format={kind}", "-czf", "a.tgz", "package"], cwd=tmp_path, check=True)
    found = {file["path"]: file["size"] for file in listed((tmp_path / "a.tgz").read_bytes())}
    assert found == {path: len(path.encode()) for path in paths}


def test_archive_of_npm_is_listed() -> None:
    usual = {"magic": b"ustar\x0000", "mode": b"000644 \0", "mtime": b"03560116604 "}
    archive = tgz_of(
        packing.entry("package/LICENSE", b"MIT", **usual),
        packing.entry("package/lib/index.js", b"x" * 700, **usual),
        packing.entry("PaxHeader/package/long.js", _record("path", "package/" + "l" * 120 + ".js"), kind=b"x"),
        packing.entry("package/" + "l" * 80, b"1", **usual),
    )
    sizes = [("package/LICENSE", 3), ("package/lib/index.js", 700), ("package/" + "l" * 120 + ".js", 1)]
    assert listed(archive) == [{"path": path, "size": size} for path, size in sizes]


def test_source_distribution_of_python_is_listed() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        directory = tarfile.TarInfo("demo-1.0")
        directory.type, directory.mtime = tarfile.DIRTYPE, 1700000000.25
        tar.addfile(directory)
        file = tarfile.TarInfo("demo-1.0/PKG-INFO")
        file.size, file.mtime, file.uname = 4, 1700000000.75, "名"
        tar.addfile(file, io.BytesIO(b"Name"))
    assert listed(buffer.getvalue()) == [{"path": "demo-1.0/PKG-INFO", "size": 4}]


@pytest.mark.parametrize("path", ["a", "./a", "a b/ü.txt", "..a/b..", "資料/データ/자료", "-rf", "ab:c", "x" * 512])
def test_possible_path_is_listed(path: str) -> None:
    assert listed(pack_tgz({path: "1"})) == [{"path": path, "size": 1}]


def test_files_without_content_are_listed() -> None:
    assert listed(pack_tgz({"a": "", "b": ""})) == [{"path": "a", "size": 0}, {"path": "b", "size": 0}]


def test_large_file_is_listed_in_little_memory() -> None:
    archive = pack_tgz({"large": bytes(40 * 1024 * 1024)})
    tracemalloc.start()
    found = listed(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [{"path": "large", "size": 40 * 1024 * 1024}]
    assert peak < 4 * 1024 * 1024


def test_headers_for_all_entries_are_read_in_little_memory() -> None:
    record = "a" * 60_000
    headers = [packing.entry("pax", _record(f"key{number}", record), kind=b"g") for number in range(300)]
    archive = tgz_of(*(part for header in headers for part in (header, packing.entry("a", b""))))
    tracemalloc.start()
    try:
        listed(archive)
    except Invalid:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


# --- What is refused ---------------------------------------------------------------------------------------------

GIGABYTES = b"%011o\0" % (4 * 1024**3)
SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9" * 12}
FILE = packing.entry("a", b"1")

REFUSED = {
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
    "file of a gigabyte in a few bytes": gzip.compress(packing.header("a", size=GIGABYTES) + bytes(70 * 1024 * 1024)),
    "too many entries": tgz_of(packing.header("a") * 20_001),
}


@pytest.mark.parametrize("archive", REFUSED.values(), ids=REFUSED)
def test_bad_archive_is_refused_and_leaves_nothing(browser: Browser, blob_directory: Path, archive: bytes) -> None:
    response = create(browser, archive)
    assert (response.status_code, set(response.json())) == (400, {"error", "message"})
    assert_nothing_is_left(blob_directory)


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


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_bad_path_is_refused(path: bytes) -> None:
    with pytest.raises(Invalid, match=r"a path that is not (allowed|UTF-8)"):
        listed(tgz_of(packing.long_name(path), packing.entry("a")))


@pytest.mark.parametrize("path", ["../a", "/a", "a\0b", "C:\\a", ""])
def test_bad_path_in_a_header_of_posix_is_refused(path: str) -> None:
    with pytest.raises(Invalid):
        listed(tgz_of(pax(path=path), packing.entry("a")))


def test_name_of_a_directory_is_looked_at_like_a_files() -> None:
    with pytest.raises(Invalid, match=r"a path that is not (allowed|UTF-8)"):
        listed(tgz_of(packing.entry("../a/", kind=b"5")))


def test_bomb_is_refused_in_little_memory() -> None:
    archive = REFUSED["file of a gigabyte in a few bytes"]
    tracemalloc.start()
    with pytest.raises(Invalid, match="unpacks to more than"):
        listed(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def test_bad_archive_of_a_new_version_leaves_the_old_ones(browser: Browser, blob_directory: Path) -> None:
    create(browser)
    before = stored(blob_directory)
    assert upload_archive(browser, "PUT", DEMO, REFUSED["symbolic link"], version="2.0.0").status_code == 400
    assert (browser.get(DEMO).json()["version"], stored(blob_directory)) == ("1.0.0", before)


# --- Forms -------------------------------------------------------------------------------------------------------


def test_form_makes_the_same_package_as_json(browser: Browser, alice: User) -> None:
    needed = [{"name": "acme/core", "version": "^1.0"}]
    lists = {"dependencies": json.dumps(needed), "keywords": '["中文", "fast"]'}
    response = create(browser, **lists, status="RELEASE", type="PRIVATE", description="你好")
    package = Package.objects.get()
    assert response.status_code == 200
    assert response.json() == {
        "package_id": str(package.pk),
        "package_name": "demo",
        "namespace_id": str(package.namespace_id),
        "namespace": "alice",
        "version": "1.0.0",
        "field": "java",
        "dependencies": needed,
        "dev_dependencies": [],
        "status": "RELEASE",
        "publisher_id": str(alice.pk),
        "publisher": "alice",
        "type": "PRIVATE",
        "description": "你好",
        "keywords": ["中文", "fast"],
        "last_updated": f"{package.updated_at:%Y-%m-%d}",
    }


def test_version_tells_of_its_archive(browser: Browser) -> None:
    create(browser)
    shown = browser.get(f"{DEMO}/versions/1.0.0").json()
    assert (shown["sha256"], shown["size"]) == (hashlib.sha256(DEMO_TGZ).hexdigest(), len(DEMO_TGZ))
    assert shown["files"] == DEMO_FILES


def test_new_version_comes_in_a_form_too(browser: Browser) -> None:
    create(browser)
    archive = pack_tgz({"b": "2"})
    response = upload_archive(
        browser, "PUT", DEMO, archive, version="2.0.0", dependencies="[]", package_id=_id_of_demo()
    )
    assert (response.status_code, response.json()["version"]) == (200, "2.0.0")
    assert browser.get(f"{DEMO}/versions/2.0.0/download").getvalue() == archive


def _id_of_demo() -> int:
    return Package.objects.get(name="demo").pk


def test_form_without_a_file_is_a_package_without_an_archive(browser: Browser) -> None:
    assert create(browser, None).status_code == 200
    shown = browser.get(f"{DEMO}/versions/1.0.0").json()
    assert (shown["sha256"], shown["size"], shown["files"]) == ("", 0, [])


def test_two_files_are_refused(browser: Browser, blob_directory: Path) -> None:
    files = [SimpleUploadedFile("a.tgz", DEMO_TGZ), SimpleUploadedFile("b.tgz", pack_tgz({"b": "2"}))]
    response = browser.generic(
        "POST", PACKAGES, encode_multipart(BOUNDARY, {**FIELDS, "file": files}), MULTIPART_CONTENT
    )
    assert response.status_code == 400
    assert_nothing_is_left(blob_directory)


def test_text_is_no_file(browser: Browser) -> None:
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


@pytest.mark.parametrize("text", BAD_LISTS, ids=[text[:40] for text in BAD_LISTS])
@pytest.mark.parametrize("field", ["dependencies", "dev_dependencies"])
def test_bad_list_in_a_form_is_refused(browser: Browser, blob_directory: Path, field: str, text: str) -> None:
    response = create(browser, **{field: text})
    assert (response.status_code, set(response.json())) == (400, {"error", "message"})
    assert_nothing_is_left(blob_directory)


@pytest.mark.parametrize("field", ["dependencies", "keywords", "version", "description", "package_name"])
def test_file_is_no_text(browser: Browser, field: str) -> None:
    assert create(browser, **{field: SimpleUploadedFile("x", b'[{"name": "a"}]\n')}).status_code == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("description", "x" * 1001),
        ("description", "a\0b"),
        ("package_name", "x" * 64),
        ("field", "x" * 64),
        ("version", "1.0.0-" + "x" * 122),
        ("status", "x" * 41),
        ("package_id", "x"),
        ("keywords", json.dumps(["x" * 51])),
        ("keywords", json.dumps([str(number) for number in range(21)])),
    ],
    ids=repr,
)
def test_field_over_its_limit_is_refused(browser: Browser, blob_directory: Path, field: str, value: str) -> None:
    assert create(browser, **{field: value}).status_code == 400
    assert_nothing_is_left(blob_directory)


def test_text_of_megabytes_is_refused(browser: Browser, blob_directory: Path) -> None:
    assert create(browser, description="x" * 3 * 1024 * 1024).status_code in (400, 413)
    assert_nothing_is_left(blob_directory)


def test_ten_thousand_fields_are_refused(browser: Browser, blob_directory: Path) -> None:
    response = create(browser, **{f"field{number}": "1" for number in range(10_000)})
    assert (response.status_code, set(response.json())) == (400, {"error", "message"})
    assert_nothing_is_left(blob_directory)


def test_archive_over_the_limit_is_refused(browser: Browser, blob_directory: Path, settings: Any) -> None:
    settings.MAX_PACKAGE_SIZE = len(DEMO_TGZ) - 1
    response = create(browser)
    message = f"The archive has {len(DEMO_TGZ)} bytes; at most {len(DEMO_TGZ) - 1} are taken here."
    assert (response.status_code, response.json()) == (413, {"error": "too_large", "message": message})
    assert_nothing_is_left(blob_directory)


def test_archive_at_the_limit_is_taken(browser: Browser, settings: Any) -> None:
    settings.MAX_PACKAGE_SIZE = len(DEMO_TGZ)
    assert create(browser).status_code == 200


def test_body_over_the_limit_is_not_read(browser: Browser, blob_directory: Path, settings: Any) -> None:
    settings.MAX_PACKAGE_SIZE = 1000
    body = encode_form(bytes(1024 * 1024 + 1000), **FIELDS)
    response = browser.generic("POST", PACKAGES, body, MULTIPART_CONTENT)
    message = f"The body has {len(body)} bytes; at most {1024 * 1024 + 1000} are taken here."
    assert (response.status_code, response.json()) == (413, {"error": "too_large", "message": message})
    assert_nothing_is_left(blob_directory)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=é"]
)
def test_form_without_a_boundary_is_refused(browser: Browser, content_type: str) -> None:
    response = browser.generic("POST", PACKAGES, encode_form(DEMO_TGZ, **FIELDS), content_type)
    assert (response.status_code, set(response.json())) == (400, {"error", "message"})


@pytest.mark.parametrize("body", [b"", b"x", b"--other\r\n", f"--{BOUNDARY}--\r\n".encode(), DEMO_TGZ])
def test_form_that_is_none_is_refused(browser: Browser, body: bytes) -> None:
    response = browser.generic("POST", PACKAGES, body, MULTIPART_CONTENT)
    assert (response.status_code, set(response.json())) == (400, {"error", "message"})


def test_form_without_a_length_is_refused(browser: Browser, blob_directory: Path) -> None:
    response = browser.generic(
        "POST", PACKAGES, content_type=MULTIPART_CONTENT, headers={"Transfer-Encoding": "chunked"}
    )
    message = "Send the body with a Content-Length; a chunked body is not taken here."
    assert (response.status_code, response.json()) == (411, {"error": "length_required", "message": message})


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "application/gzip", "multipart/mixed"])
def test_archive_in_another_wrapping_is_refused(browser: Browser, content_type: str) -> None:
    assert browser.generic("POST", PACKAGES, DEMO_TGZ, content_type).status_code == 415


# --- What is kept ------------------------------------------------------------------------------------------------


def test_same_bytes_are_kept_once(browser: Browser, blob_directory: Path) -> None:
    create(browser)
    create(browser, package_name="other")
    upload_archive(browser, "PUT", DEMO, DEMO_TGZ, version="2.0.0")
    (blob,) = stored(blob_directory)
    assert blob.read_bytes() == DEMO_TGZ
    assert Release.objects.filter(sha256=blob.name).count() == 3


def test_same_release_may_come_again(browser: Browser, blob_directory: Path) -> None:
    first = create(browser, status="RELEASE").json()
    response = upload_archive(browser, "PUT", DEMO, DEMO_TGZ, version="1.0.0", status="RELEASE")
    assert (response.status_code, response.json()) == (200, {**first, "name": "demo"})
    assert len(stored(blob_directory)) == Release.objects.count() == 1


def test_stranger_leaves_no_archive(browser: Browser, charlie: User, blob_directory: Path) -> None:
    response = create(Browser(charlie))
    assert (response.status_code, response.json()["error"]) == (403, "denied")
    assert_nothing_is_left(blob_directory)


# --- GET …/versions/{version}/download ---------------------------------------------------------------------------


@pytest.fixture
def reader(browser: Browser) -> Browser:
    """Nobody known; there is a package with an archive."""
    assert create(browser).status_code == 200
    return Browser()


def test_archive_is_handed_out_as_it_came(reader: Browser) -> None:
    response = reader.get(ARCHIVE)
    assert (response.status_code, response.getvalue()) == (200, DEMO_TGZ)
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Length"] == str(len(DEMO_TGZ))
    assert response["ETag"] == f'"{hashlib.sha256(DEMO_TGZ).hexdigest()}"'
    assert response["Content-Disposition"] == 'attachment; filename="demo-1.0.0.tgz"'


def test_archive_is_stored_by_nobody_for_others(reader: Browser) -> None:
    assert reader.head(ARCHIVE)["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=0-9", DEMO_TGZ[:10]), ("bytes=10-", DEMO_TGZ[10:]), ("bytes=-5", DEMO_TGZ[-5:])],
)
def test_part_of_an_archive_is_handed_out(reader: Browser, asked: str, part: bytes) -> None:
    response = reader.get(ARCHIVE, headers={"Range": asked})
    start = DEMO_TGZ.index(part)
    assert (response.status_code, response.getvalue()) == (206, part)
    assert response["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/{len(DEMO_TGZ)}"


def test_part_past_the_end_is_told(reader: Browser) -> None:
    response = reader.get(ARCHIVE, headers={"Range": "bytes=99999-"})
    assert (response.status_code, response["Content-Range"]) == (416, f"bytes */{len(DEMO_TGZ)}")


def test_part_of_what_was_replaced_is_the_whole(browser: Browser, reader: Browser) -> None:
    former = reader.head(ARCHIVE)["ETag"]
    upload_archive(browser, "PUT", DEMO, pack_tgz({"b": "2"}), version="1.0.0")
    response = reader.get(ARCHIVE, headers={"Range": "bytes=0-9", "If-Range": former})
    assert (response.status_code, response.getvalue()) == (200, pack_tgz({"b": "2"}))


def test_known_archive_is_not_sent_again(reader: Browser) -> None:
    response = reader.get(ARCHIVE, headers={"If-None-Match": reader.head(ARCHIVE)["ETag"]})
    assert (response.status_code, response.content) == (304, b"")


def test_replaced_archive_is_sent_to_who_knows_the_former(browser: Browser, reader: Browser) -> None:
    former = reader.head(ARCHIVE)["ETag"]
    upload_archive(browser, "PUT", DEMO, pack_tgz({"b": "2"}), version="1.0.0")
    response = reader.get(ARCHIVE, headers={"If-None-Match": former})
    assert (response.status_code, response.getvalue()) == (200, pack_tgz({"b": "2"}))


def test_head_tells_of_an_archive(reader: Browser) -> None:
    response = reader.head(ARCHIVE)
    assert (response.status_code, response.content) == (200, b"")
    assert response["Content-Length"] == str(len(DEMO_TGZ))
    assert response["ETag"] == reader.head(ARCHIVE)["ETag"]


def test_chinese_name_of_a_file_is_written_as_the_rfc_has_it(browser: Browser) -> None:
    create(browser, package_name="数据库")
    response = browser.head(f"{PACKAGES}/数据库/versions/1.0.0/download")
    coded = "%E6%95%B0%E6%8D%AE%E5%BA%93-1.0.0.tgz"
    assert response["Content-Disposition"] == f"attachment; filename*=utf-8''{coded}"


@pytest.mark.parametrize("version", ["1.0.0+build.7", "1.0.0"])
def test_archive_is_found_with_and_without_build_metadata(browser: Browser, version: str) -> None:
    create(browser, version="1.0.0+build.7")
    assert browser.get(f"{DEMO}/versions/{version}/download").getvalue() == DEMO_TGZ


@pytest.mark.parametrize("version", ["2.0.0", "1.0.0+other", "1.0", "latest", "%2e%2e", "é", "1" * 5000])
def test_unknown_version_has_no_archive(reader: Browser, version: str) -> None:
    response = reader.get(f"{DEMO}/versions/{version}/download")
    assert (response.status_code, response.json()["error"]) == (404, "version_missing")


def test_version_without_an_archive_has_none_to_hand_out(browser: Browser) -> None:
    create(browser, None)
    response = browser.get(ARCHIVE)
    message = "alice/demo 1.0.0 has no archive."
    assert (response.status_code, response.json()) == (404, {"error": "archive_missing", "message": message})


@pytest.mark.parametrize("header", [{}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}])
def test_private_archive_is_missing_for_strangers(browser: Browser, charlie: User, header: dict[str, str]) -> None:
    create(browser, type="PRIVATE")
    response = Browser(charlie).get(ARCHIVE, headers=header)
    message = "There is no package alice/demo."
    assert (response.status_code, response.json()) == (404, {"error": "package_missing", "message": message})
    assert "ETag" not in response
    assert browser.get(ARCHIVE).getvalue() == DEMO_TGZ


# --- Signed forms ------------------------------------------------------------------------------------------------


def signed(user: User, part: bytes, kind: str = "PUBLISH") -> str:
    """A token over `part` by a new app key."""
    key = app_keys.issue(Principal(user), kind)
    parts = [str(int(time.time())).encode(), secrets.token_bytes(16), part]
    unsigned = ":".join(base64.urlsafe_b64encode(part).decode() for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(key.appsecret.encode(), unsigned.encode(), "sha1")).decode()
    return f"{key.appid}:{signature}:{unsigned}"


def send(token: str, body: bytes) -> Any:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    return client.generic("POST", PACKAGES, body, MULTIPART_CONTENT, headers={"Token": token})


@pytest.mark.parametrize("kind", ["PUBLISH", "ALL"])
@pytest.mark.parametrize("is_bound", [False, True])
def test_signed_form_is_taken(alice: User, kind: str, is_bound: bool) -> None:
    body = encode_form(DEMO_TGZ, **FIELDS)
    token = signed(alice, hashlib.sha256(body).digest() if is_bound else b"", kind)
    assert send(token, body).status_code == 200
    assert Client().get(ARCHIVE).getvalue() == DEMO_TGZ


@pytest.mark.parametrize(
    "part",
    [
        hashlib.sha256(DEMO_TGZ).digest(),
        hashlib.sha256(b"").digest(),
        bytes(32),
        bytes(31),
        b"x",
        encode_form(DEMO_TGZ, **FIELDS),
    ],
    ids=["of the file", "of nothing", "of something else", "short", "text", "the body"],
)
def test_form_that_is_not_the_signed_one_is_refused(alice: User, blob_directory: Path, part: bytes) -> None:
    response = send(signed(alice, part), encode_form(DEMO_TGZ, **FIELDS))
    assert (response.status_code, response.json()["error"]) == (401, "unauthenticated")
    assert_nothing_is_left(blob_directory)


@pytest.mark.parametrize("tail", [b"", b"x", b"\r\nepilogue\r\n" * 20_000], ids=["none", "short", "long"])
def test_what_follows_the_form_is_signed_too(alice: User, blob_directory: Path, tail: bytes) -> None:
    body = encode_form(DEMO_TGZ, **FIELDS)
    response = send(signed(alice, hashlib.sha256(body + b"?").digest()), body + tail)
    assert response.status_code == 401
    assert_nothing_is_left(blob_directory)


def test_large_form_that_is_not_the_signed_one_is_refused(alice: User, blob_directory: Path) -> None:
    archive = gzip.compress(packing.tar_of({"large": os.urandom(4 * 1024 * 1024)}), compresslevel=0)
    body = encode_form(archive, **FIELDS)
    assert send(signed(alice, bytes(32)), body).status_code == 401
    assert_nothing_is_left(blob_directory)
    assert send(signed(alice, hashlib.sha256(body).digest()), body).status_code == 200


def test_signed_form_is_taken_once(alice: User) -> None:
    body = encode_form(DEMO_TGZ, **FIELDS)
    token = signed(alice, hashlib.sha256(body).digest())
    assert [send(token, body).status_code for _ in range(2)] == [200, 401]


def test_key_for_reading_publishes_no_form(alice: User, blob_directory: Path) -> None:
    response = send(signed(alice, b"", "READ_ONLY"), encode_form(DEMO_TGZ, **FIELDS))
    assert (response.status_code, response.json()["error"]) == (403, "scope_missing")
    assert_nothing_is_left(blob_directory)


# --- A real server -----------------------------------------------------------------------------------------------

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def cookie(server: Server) -> str:
    """Of Alice."""
    server.sign_up("alice")
    answer, _ = ask(server, "POST", "/login", json.dumps({"username": "alice", "password": PASSWORD}).encode())
    return SimpleCookie(answer)["registry_session"].OutputString([])


def ask(server: Server, method: str, path: str, body: bytes, **headers: str) -> tuple[str, int]:
    """The cookie of the answer, and its status."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json", "Origin": server.url, **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.getheader("Set-Cookie", ""), answer.status
    finally:
        connection.close()


def send_noise(server: Server, cookie: str, name: str, size: int) -> int:
    archive = gzip.compress(packing.tar_of({"noise": os.urandom(size)}), compresslevel=0)
    body = encode_form(archive, **{**FIELDS, "package_name": name})
    return ask(server, "POST", PACKAGES, body, **{"Content-Type": MULTIPART_CONTENT, "Cookie": cookie})[1]


def most_memory(server: Server) -> int:
    """The most that each worker has ever had resident, in bytes, together."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    said = [Path(f"/proc/{child}/status").read_text() for child in children]
    return sum(int(size) * 1024 for text in said for size in re.findall(r"VmHWM:\s*([0-9]+) kB", text))


def test_large_upload_takes_little_memory(server: Server, cookie: str) -> None:
    assert send_noise(server, cookie, "small", 4 * MIB) == 200
    before = most_memory(server)
    assert send_noise(server, cookie, "large", 60 * MIB) == 200
    assert 0 < most_memory(server) < before + 20 * MIB
