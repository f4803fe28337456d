"""`POST /`, `PUT /<id>` and `DELETE /<id>`: changes of the catalogue, their refusals, and changes at the same time."""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.test.utils import CaptureQueriesContext

from accounts import registration
from files import catalogue, clients, sessions
from files.actors import Actor
from files.models import ChangeSequence, Client, File, Rights, Session
from registry_site.errors import PermissionDenied, RegistryError, Unauthenticated
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD
from tests.support.concurrency import run_concurrently
from tests.support.database import rolled_back
from tests.support.file_clients import FileClient, LiveFileClient, failure, upload_file
from tests.support.responses import answer_of
from tests.support.servers import running

TEXT = b"sunny"
SHA256 = hashlib.sha256(TEXT).hexdigest()
START = datetime(2030, 1, 1, tzinfo=UTC)
FIRST, SECOND, THIRD = 1893456000.000001, 1893456000.000002, 1893456000.000003
EXPIRATION = 1924992000.25
NO_SESSION = "No session found"
BOTH = "Give `path`, of a file on the disk of the server, or upload a `file`: not both."
NO_ROOTS = "This registry has no directories to register files from (REGISTRY_FILE_ROOTS); upload the file instead."
RELATIVE = "`serve_path` must be relative, such as weather/today.txt, without empty parts, `.` and `..`."
CHARACTERS = "`serve_path` must have no backslash and no control character."
MANY = 16
WRITERS = 8
ADDED_BY_EACH = 25


@pytest.fixture
def clock(db: None) -> None:
    """Set the last change to a future time, so that the next ones come a microsecond after each other."""
    ChangeSequence.objects.create(pk=1, changed_at=START)


@pytest.fixture
def weather(file_root: Path) -> str:
    """The path of a file on the disk."""
    path = file_root / "weather.txt"
    path.write_bytes(TEXT)
    return str(path)


@pytest.fixture
def entry(as_box: FileClient, clock: None, weather: str) -> int:
    """The id of that file, registered as today.txt."""
    as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt"})
    return File.objects.get().pk


@pytest.fixture
def upload_entry(as_box: FileClient, clock: None) -> int:
    """The id of an upload."""
    upload_file(as_box, "POST", "/", TEXT, serve_path="today.txt")
    return File.objects.get().pk


@pytest.fixture
def incoming(tmp_path: Path, settings: Any) -> Path:
    """The directory of large uploads until they are stored."""
    directory = tmp_path / "incoming"
    directory.mkdir()
    settings.FILE_UPLOAD_TEMP_DIR = directory
    return directory


def entry_of(path: str, **changes: Any) -> dict[str, Any]:
    """Return the entry of the one file, registered with its required fields alone."""
    return {
        "id": File.objects.get().pk,
        "path": path,
        "size": 5,
        "uploaded": FIRST,
        "modified": FIRST,
        "category": None,
        "expiration": None,
        "serve_path": "today.txt",
        "alive": True,
        "aired": False,
        **changes,
    }


def results(path: str, **changes: Any) -> dict[str, Any]:
    return {"success": True, "results": [entry_of(path, **changes)]}


def no_such(pk: int) -> dict[str, Any]:
    return failure(f"File with id {pk} does not exist.")


def send_json(machine: FileClient, method: str, path: str, /, **fields: Any) -> Any:
    body = json.dumps({"session_token": machine.token, **fields})
    return machine.generic(method, path, body, content_type="application/json")


# Encodings of the same parameters.
ENCODINGS: dict[str, Callable[[FileClient, str, str, dict[str, str]], Any]] = {
    "form_without_a_type": lambda machine, method, path, fields: machine.generic(
        method, path, urlencode({"session_token": machine.token, **fields}), content_type=""
    ),
    "form": lambda machine, method, path, fields: machine.generic(
        method,
        path,
        urlencode({"session_token": machine.token, **fields}),
        content_type="application/x-www-form-urlencoded",
    ),
    "form_of_another_type": lambda machine, method, path, fields: machine.generic(
        method, path, urlencode({"session_token": machine.token, **fields}), content_type="text/plain"
    ),
    "multipart": lambda machine, method, path, fields: machine.generic(
        method,
        path,
        encode_multipart(BOUNDARY, {"session_token": machine.token, **fields}),
        content_type=MULTIPART_CONTENT,
    ),
    "json": lambda machine, method, path, fields: send_json(machine, method, path, **fields),
    "query": lambda machine, method, path, fields: machine.generic(
        method, f"{path}?{urlencode({'session_token': machine.token, **fields})}"
    ),
    "bearer": lambda machine, method, path, fields: machine.generic(
        method, path, urlencode(fields), content_type="", headers={"Authorization": f"Bearer {machine.token}"}
    ),
}


# --- POST / -------------------------------------------------------------------------------------------------------


def test_file_is_added_in_each_encoding(as_box: FileClient, clock: None, weather: str) -> None:
    for name, send in ENCODINGS.items():
        with rolled_back():
            response = send(as_box, "POST", "/", {"path": weather, "serve_path": "today.txt"})
            assert answer_of(response) == (200, results(weather)), name


def test_entry_has_these_bytes(as_box: FileClient, clock: None, weather: str) -> None:
    response = as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt"})
    assert response["Content-Type"] == "application/json"
    assert response.content.decode() == (
        f'{{"success":true,"results":[{{"id":{File.objects.get().pk},"path":"{weather}","size":5,'
        '"uploaded":1893456000.000001,"modified":1893456000.000001,"category":null,"expiration":null,'
        '"serve_path":"today.txt","alive":true,"aired":false}]}'
    )


def test_all_fields_are_stored(as_box: FileClient, clock: None, weather: str) -> None:
    details = {"category": "news", "aired": "true", "expiration": EXPIRATION}
    response = as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt", **details})
    assert answer_of(response) == (200, results(weather, category="news", aired=True, expiration=EXPIRATION))


def test_time_of_upload_is_now(as_box: FileClient, weather: str) -> None:
    before = datetime.now(UTC).timestamp()
    (added,) = as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt"}).json()["results"]
    assert before <= added["uploaded"] == added["modified"] <= datetime.now(UTC).timestamp()


def test_required_fields_are_named(as_box: FileClient, file_root: Path) -> None:
    for fields in ({}, {"serve_path": "today.txt"}, {"path": "", "serve_path": "today.txt"}):
        assert answer_of(as_box.send("POST", "/", fields)) == (400, failure("`path` must be specified"))
    for fields in ({"path": "/a"}, {"path": "/a", "serve_path": ""}):
        assert answer_of(as_box.send("POST", "/", fields)) == (400, failure("`serve_path` must be specified"))


def test_taken_serve_path_is_refused(as_box: FileClient, entry: int, weather: str) -> None:
    response = as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt"})
    assert answer_of(response) == (200, failure("File at serve_path today.txt already exists."))


def test_similar_serve_paths_are_free(as_box: FileClient, entry: int, weather: str) -> None:
    for serve_path in ("dir/today.txt", "today.txt.gz", "TODAY.TXT", "today_txt", "today.txt "):
        assert as_box.send("POST", "/", {"path": weather, "serve_path": serve_path}).json()["success"] is True


def test_serve_path_is_no_regular_expression(as_box: FileClient, weather: str) -> None:
    as_box.send("POST", "/", {"path": weather, "serve_path": "a[b"})
    response = as_box.send("POST", "/", {"path": weather, "serve_path": "a[b"})
    assert answer_of(response) == (200, failure("File at serve_path a[b already exists."))


def test_path_outside_of_roots_is_refused(as_box: FileClient, file_root: Path) -> None:
    response = as_box.send("POST", "/", {"path": "/etc/passwd", "serve_path": "today.txt"})
    assert answer_of(response) == (200, failure(f"/etc/passwd does not fall under {file_root} hierarchy."))


def test_path_without_a_file_is_refused(as_box: FileClient, file_root: Path) -> None:
    response = as_box.send("POST", "/", {"path": f"{file_root}/none", "serve_path": "today.txt"})
    assert answer_of(response) == (200, failure(f"No file at path {file_root}/none"))


def test_registering_needs_roots(as_box: FileClient, weather: str, settings: Any) -> None:
    settings.FILE_ROOTS = []
    response = as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt"})
    assert answer_of(response) == (200, failure(NO_ROOTS))


def test_refused_file_leaves_nothing(as_box: FileClient, file_root: Path) -> None:
    as_box.send("POST", "/", {"path": f"{file_root}/none", "serve_path": "today.txt"})
    assert not File.objects.exists()
    assert not AuditEvent.objects.filter(action="file.add").exists()


def test_derived_fields_are_ignored(as_box: FileClient, clock: None, weather: str) -> None:
    own = {"id": "7000", "size": "1", "uploaded": "1", "modified": "1", "alive": "false", "sha256": SHA256}
    response = as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt", **own})
    assert answer_of(response) == (200, results(weather))
    assert File.objects.get().pk != 7000


def test_one_file_may_have_many_serve_paths(as_box: FileClient, entry: int, weather: str) -> None:
    as_box.send("POST", "/", {"path": weather, "serve_path": "tomorrow.txt"})
    assert list(File.objects.values_list("path", flat=True)) == [weather, weather]


def test_last_value_in_the_body_wins(as_box: FileClient, clock: None, weather: str) -> None:
    body = urlencode([("path", weather), ("serve_path", "first"), ("serve_path", "today.txt")])
    response = as_box.generic("POST", f"/?session_token={as_box.token}&serve_path=query", body, content_type="")
    assert answer_of(response) == (200, results(weather))


def test_aired_is_read_from_many_words(as_box: FileClient, clock: None, weather: str) -> None:
    words = dict.fromkeys(("true", "True", "yes", "1", "on"), True)
    words |= dict.fromkeys(("false", "False", "no", "0", "off"), False)
    for value, aired in words.items():
        with rolled_back():
            response = as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt", "aired": value})
            assert answer_of(response) == (200, results(weather, aired=aired)), value


EXPIRATIONS = {
    "0": 0.0,
    "-1": 0.0,
    "1893456000": 1893456000.0,
    "1893456000.123456": 1893456000.123456,
    "1893456000.1234569": 1893456000.123456,
    "1e9": 1e9,
    "1e30": 253402300799.0,
    "1e999999": 253402300799.0,
    "": None,
}


def test_expiration_is_any_number_of_seconds(as_box: FileClient, clock: None, weather: str) -> None:
    for value, expiration in EXPIRATIONS.items():
        with rolled_back():
            response = as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt", "expiration": value})
            assert answer_of(response) == (200, results(weather, expiration=expiration)), value


def test_serve_path_is_stored_unchanged(as_box: FileClient, clock: None, weather: str) -> None:
    for serve_path in ("ü/日本.txt", "two words.txt", "%41?a=b#c", "...", "a" * 2000):
        with rolled_back():
            response = as_box.send("POST", "/", {"path": weather, "serve_path": serve_path})
            assert answer_of(response) == (200, results(weather, serve_path=serve_path))


def test_file_of_an_extreme_time_is_added(as_box: FileClient, weather: str) -> None:
    for seconds in (-300_000_000, 10_000_000_000, 15_000_000_000):
        os.utime(weather, (seconds, seconds))
        assert as_box.send("POST", "/", {"path": weather, "serve_path": str(seconds)}).json()["success"] is True


# --- Uploads ------------------------------------------------------------------------------------------------------


def test_upload_is_added(as_box: FileClient, clock: None) -> None:
    response = upload_file(as_box, "POST", "/", TEXT, serve_path="today.txt")
    assert answer_of(response) == (200, results(f"upload:{SHA256}"))


def test_upload_needs_no_roots(as_box: FileClient, clock: None, settings: Any) -> None:
    settings.FILE_ROOTS = []
    assert answer_of(upload_file(as_box, "POST", "/", TEXT, serve_path="today.txt")) == (
        200,
        results(f"upload:{SHA256}"),
    )


def test_all_fields_of_an_upload_are_stored(as_box: FileClient, clock: None) -> None:
    details: dict[str, Any] = {"category": "news", "aired": "yes", "expiration": EXPIRATION}
    response = upload_file(as_box, "POST", "/", TEXT, serve_path="today.txt", **details)
    expected = results(f"upload:{SHA256}", category="news", aired=True, expiration=EXPIRATION)
    assert answer_of(response) == (200, expected)


def test_empty_upload_is_added(as_box: FileClient, clock: None) -> None:
    response = upload_file(as_box, "POST", "/", b"", serve_path="today.txt")
    assert answer_of(response) == (200, results(f"upload:{hashlib.sha256(b'').hexdigest()}", size=0))


def test_small_upload_may_hold_the_token(as_box: FileClient, clock: None) -> None:
    fields = {"session_token": as_box.token, "serve_path": "today.txt", "file": SimpleUploadedFile("a", TEXT)}
    assert answer_of(as_box.post("/", fields)) == (200, results(f"upload:{SHA256}"))


def test_large_upload_may_not_hold_the_token(as_box: FileClient, incoming: Path) -> None:
    large = SimpleUploadedFile("a", b"x" * 1024 * 1024)
    response = as_box.post("/", {"session_token": as_box.token, "serve_path": "today.txt", "file": large})
    message = "No session found: so large a body comes with session_token in the query or a header."
    assert answer_of(response) == (401, failure(message))


def test_largest_upload_is_added(as_box: FileClient, clock: None, settings: Any) -> None:
    settings.MAX_FILE_SIZE = 5
    assert answer_of(upload_file(as_box, "POST", "/", TEXT, serve_path="today.txt")) == (
        200,
        results(f"upload:{SHA256}"),
    )


def test_larger_upload_is_refused(as_box: FileClient, settings: Any) -> None:
    settings.MAX_FILE_SIZE = 4
    response = upload_file(as_box, "POST", "/", TEXT, serve_path="today.txt")
    assert answer_of(response) == (413, failure("The file has 5 bytes; at most 4 are taken here."))


def test_much_larger_upload_is_refused_unread(as_box: FileClient, settings: Any, incoming: Path) -> None:
    settings.MAX_FILE_SIZE = 4
    response = as_box.generic(
        "POST", f"/?session_token={as_box.token}", b"x" * 1_048_581, content_type=MULTIPART_CONTENT
    )
    assert answer_of(response) == (413, failure("The body has 1048581 bytes; at most 1048580 are taken here."))


def test_upload_needs_free_space(as_box: FileClient, blob_directory: Path, settings: Any) -> None:
    settings.MIN_FREE_SPACE = 10**15
    for content in (TEXT, b"x" * 1024 * 1024):  # stored from memory, and refused unread
        response = upload_file(as_box, "POST", "/", content, serve_path="today.txt")
        assert (response.status_code, response["Retry-After"]) == (503, "60")
        assert set(response.json()) == {"success", "error", "message"}
    assert not File.objects.exists()
    assert not any(path.is_file() for path in blob_directory.rglob("*"))


def test_upload_and_path_together_are_refused(as_box: FileClient, weather: str, blob_directory: Path) -> None:
    response = upload_file(as_box, "POST", "/", TEXT, serve_path="today.txt", path=weather)
    assert answer_of(response) == (400, failure(BOTH))


def test_upload_needs_a_serve_path(as_box: FileClient) -> None:
    assert answer_of(upload_file(as_box, "POST", "/", TEXT)) == (400, failure("`serve_path` must be specified"))


def test_text_instead_of_a_file_is_refused(as_box: FileClient) -> None:
    response = as_box.send("POST", "/", {"serve_path": "today.txt", "file": "sunny"})
    assert answer_of(response) == (
        400,
        failure("file: The submitted data was not a file. Check the encoding type on the form."),
    )


@pytest.mark.parametrize("size", [5, 3_000_000], ids=["small", "large"])
def test_upload_leaves_no_temporary_file(size: int, as_box: FileClient, incoming: Path) -> None:
    assert upload_file(as_box, "POST", "/", b"x" * size, serve_path="today.txt").json()["results"][0]["size"] == size
    assert list(incoming.iterdir()) == []


def test_refused_upload_leaves_nothing(as_box: FileClient, incoming: Path, blob_directory: Path) -> None:
    malformed = {"serve_path": "../x"}, {"serve_path": "a", "path": "/a"}, {"serve_path": "a", "aired": "maybe"}
    for fields in ({}, *malformed):
        assert upload_file(as_box, "POST", "/", b"x" * 3_000_000, **fields).status_code == 400
        assert (list(incoming.iterdir()), blob_directory.exists(), File.objects.exists()) == ([], False, False)


def test_upload_at_a_taken_path_is_not_stored(as_box: FileClient, entry: int, blob_directory: Path) -> None:
    response = upload_file(as_box, "POST", "/", TEXT, serve_path="today.txt")
    assert answer_of(response) == (200, failure("File at serve_path today.txt already exists."))
    assert not blob_directory.exists()


def test_broken_upload_leaves_nothing(as_box: FileClient, incoming: Path, blob_directory: Path) -> None:
    parts = encode_multipart(BOUNDARY, {"serve_path": "a", "file": SimpleUploadedFile("a", b"x" * 3_000_000)})
    query = f"/?session_token={as_box.token}"
    response = as_box.generic(
        "POST", query, parts[:2_800_000], content_type=MULTIPART_CONTENT, CONTENT_LENGTH=str(len(parts))
    )
    assert response.json()["success"] is False
    assert (list(incoming.iterdir()), blob_directory.exists(), File.objects.exists()) == ([], False, False)


def test_same_bytes_are_stored_once(as_box: FileClient, blob_directory: Path) -> None:
    for name in ("one", "two"):
        upload_file(as_box, "POST", "/", TEXT, serve_path=name)
    assert [path.name for path in blob_directory.rglob("*") if path.is_file()] == [SHA256]
    assert File.objects.count() == 2


def test_name_in_an_upload_is_ignored(as_box: FileClient, clock: None) -> None:
    response = upload_file(as_box, "POST", "/", TEXT, name="../../etc/passwd", serve_path="today.txt")
    assert answer_of(response) == (200, results(f"upload:{SHA256}"))


# --- PUT /<id> ----------------------------------------------------------------------------------------------------


def test_file_is_changed_in_each_encoding(as_box: FileClient, entry: int, weather: str) -> None:
    fields = {"serve_path": "now.txt", "category": "news", "aired": "true", "expiration": str(EXPIRATION)}
    changed = {"serve_path": "now.txt", "category": "news", "aired": True, "expiration": EXPIRATION}
    for name, send in ENCODINGS.items():
        with rolled_back():
            response = send(as_box, "PUT", f"/{entry}", fields)
            assert answer_of(response) == (200, results(weather, modified=SECOND, **changed)), name


def test_other_fields_stay_unchanged(as_box: FileClient, entry: int, weather: str) -> None:
    changes = {"serve_path": "now.txt", "category": "news", "aired": True, "expiration": EXPIRATION}
    for name, value in changes.items():
        with rolled_back():
            response = as_box.send("PUT", f"/{entry}", {name: value})
            assert answer_of(response) == (200, results(weather, modified=SECOND, **{name: value}))


def test_new_path_updates_the_size(as_box: FileClient, entry: int, file_root: Path) -> None:
    path = file_root / "other.txt"
    path.write_bytes(b"rain in the evening")
    response = as_box.send("PUT", f"/{entry}", {"path": str(path)})
    assert answer_of(response) == (200, results(str(path), modified=SECOND, size=19))


def test_same_path_updates_the_size(as_box: FileClient, entry: int, weather: str) -> None:
    Path(weather).write_bytes(b"rain")
    response = as_box.send("PUT", f"/{entry}", {"path": weather})
    assert answer_of(response) == (200, results(weather, modified=SECOND, size=4))


def test_upload_replaces_a_path(as_box: FileClient, entry: int) -> None:
    response = upload_file(as_box, "PUT", f"/{entry}", b"rain")
    path = f"upload:{hashlib.sha256(b'rain').hexdigest()}"
    assert answer_of(response) == (200, results(path, modified=SECOND, size=4))


def test_path_replaces_an_upload(as_box: FileClient, upload_entry: int, weather: str) -> None:
    response = as_box.send("PUT", f"/{upload_entry}", {"path": weather})
    assert answer_of(response) == (200, results(weather, modified=SECOND))
    assert File.objects.get().sha256 == ""


def test_upload_replaces_an_upload(as_box: FileClient, upload_entry: int) -> None:
    response = upload_file(as_box, "PUT", f"/{upload_entry}", b"rain")
    path = f"upload:{hashlib.sha256(b'rain').hexdigest()}"
    assert answer_of(response) == (200, results(path, modified=SECOND, size=4))


def test_same_upload_again_is_no_change(as_box: FileClient, upload_entry: int) -> None:
    assert answer_of(upload_file(as_box, "PUT", f"/{upload_entry}", TEXT)) == (200, results(f"upload:{SHA256}"))


def test_path_of_another_upload_is_refused(as_box: FileClient, upload_entry: int, file_root: Path) -> None:
    path = f"upload:{hashlib.sha256(b'rain').hexdigest()}"
    response = as_box.send("PUT", f"/{upload_entry}", {"path": path})
    assert answer_of(response) == (200, failure(f"{path} does not fall under {file_root} hierarchy."))


def test_change_with_upload_and_path_is_refused(as_box: FileClient, entry: int, weather: str) -> None:
    assert answer_of(upload_file(as_box, "PUT", f"/{entry}", TEXT, path=weather)) == (400, failure(BOTH))


def test_equal_values_are_no_change(as_box: FileClient, entry: int, weather: str) -> None:
    for fields in ({}, {"serve_path": "today.txt"}, {"category": ""}, {"aired": "no", "id": "9"}):
        assert answer_of(as_box.send("PUT", f"/{entry}", fields)) == (200, results(weather))
    assert list(AuditEvent.objects.filter(object_type="files.file").values_list("action", flat=True)) == ["file.add"]


@pytest.mark.parametrize("fixture", ["entry", "upload_entry"])
def test_listed_entry_can_be_sent_back(fixture: str, as_box: FileClient, request: pytest.FixtureRequest) -> None:
    pk = request.getfixturevalue(fixture)
    as_box.send("PUT", f"/{pk}", {"category": "news", "aired": "yes", "expiration": 1924992000.123457})
    before = as_box.send("GET", "/").json()["results"]
    for name in ("form_without_a_type", "json"):
        response = ENCODINGS[name](as_box, "PUT", f"/{pk}", before[0])
        assert answer_of(response) == (200, {"success": True, "results": before})


@pytest.mark.parametrize("fixture", ["entry", "upload_entry"])
def test_entry_without_category_can_be_sent_back(
    fixture: str, as_box: FileClient, request: pytest.FixtureRequest
) -> None:
    pk = request.getfixturevalue(fixture)
    before = as_box.send("GET", "/").json()["results"]
    assert answer_of(send_json(as_box, "PUT", f"/{pk}", **before[0])) == (200, {"success": True, "results": before})


@pytest.mark.parametrize("name", ["category", "expiration"])
def test_null_removes_a_value(name: str, as_box: FileClient, entry: int, weather: str) -> None:
    as_box.send("PUT", f"/{entry}", {"category": "news"} if name == "category" else {"expiration": EXPIRATION})
    response = send_json(as_box, "PUT", f"/{entry}", **{name: None})
    assert answer_of(response) == (200, results(weather, modified=THIRD))


@pytest.mark.parametrize("name", ["category", "expiration"])
def test_empty_value_removes_a_value(name: str, as_box: FileClient, entry: int, weather: str) -> None:
    as_box.send("PUT", f"/{entry}", {"category": "news"} if name == "category" else {"expiration": EXPIRATION})
    response = as_box.send("PUT", f"/{entry}", {name: ""})
    assert answer_of(response) == (200, results(weather, modified=THIRD))


def test_derived_fields_cannot_be_changed(as_box: FileClient, entry: int, weather: str) -> None:
    own = {"id": "7000", "size": "1", "uploaded": "1", "modified": "1", "alive": "false", "sha256": SHA256}
    assert answer_of(as_box.send("PUT", f"/{entry}", own)) == (200, results(weather))


def test_serve_path_of_another_is_refused(as_box: FileClient, entry: int, weather: str) -> None:
    as_box.send("POST", "/", {"path": weather, "serve_path": "taken.txt"})
    response = as_box.send("PUT", f"/{entry}", {"serve_path": "taken.txt", "category": "news"})
    assert answer_of(response) == (200, failure("File at serve_path taken.txt already exists."))
    assert File.objects.get(pk=entry).category is None


def test_refused_change_changes_nothing(as_box: FileClient, entry: int, file_root: Path) -> None:
    before = File.objects.values().get()
    refusals: list[tuple[dict[str, str], int, str]] = [
        ({"path": "/etc/passwd"}, 200, f"/etc/passwd does not fall under {file_root} hierarchy."),
        ({"path": f"{file_root}/none"}, 200, f"No file at path {file_root}/none"),
        ({"path": ""}, 400, "`path` must be specified"),
        ({"serve_path": ""}, 400, RELATIVE),
    ]
    for fields, status, message in refusals:
        response = as_box.send("PUT", f"/{entry}", {**fields, "category": "news"})
        assert answer_of(response) == (status, failure(message))
    assert File.objects.values().get() == before


def test_unknown_id_does_not_exist(as_box: FileClient) -> None:
    for pk in (0, 999_999_999, 2**31, 2**63, 10**30):
        for method in ("PUT", "DELETE"):
            assert answer_of(as_box.send(method, f"/{pk}", {"category": "news"})) == (200, no_such(pk))


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_dead_file_does_not_exist(method: str, as_box: FileClient, entry: int) -> None:
    as_box.send("DELETE", f"/{entry}")
    before = File.objects.values().get()
    assert answer_of(as_box.send(method, f"/{entry}", {"alive": "true"})) == (200, no_such(entry))
    assert File.objects.values().get() == before


def test_malformed_id_is_an_unknown_path(as_box: FileClient) -> None:
    for path in ("/x", "/1.5", "/-1", "/1/", "/1/2", "/" + "9" * 5000):
        assert [as_box.send(method, path).status_code for method in ("PUT", "DELETE")] == [404, 404]


def test_other_methods_are_not_allowed(as_box: FileClient) -> None:
    for method, path in (("PUT", "/"), ("DELETE", "/"), ("POST", "/1"), ("PATCH", "/1")):
        assert answer_of(as_box.send(method, path)) == (405, failure(f'Method "{method}" not allowed.'))


# --- DELETE /<id> -------------------------------------------------------------------------------------------------


def test_file_is_removed_in_each_encoding(as_box: FileClient, entry: int) -> None:
    for name, send in ENCODINGS.items():
        with rolled_back():
            assert answer_of(send(as_box, "DELETE", f"/{entry}", {})) == (200, {"success": True}), name


def test_removed_file_is_dead_and_stays_listed(as_box: FileClient, entry: int, weather: str) -> None:
    as_box.send("DELETE", f"/{entry}")
    listed = as_box.send("GET", "/").json()["results"]
    assert listed == [entry_of(weather, alive=False, modified=SECOND)]
    assert Path(weather).read_bytes() == TEXT


def test_serve_path_of_a_removed_file_is_free(as_box: FileClient, entry: int, weather: str) -> None:
    as_box.send("DELETE", f"/{entry}")
    response = as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt"})
    assert response.json()["success"] is True
    assert list(File.objects.filter(serve_path="today.txt").values_list("alive", flat=True)) == [False, True]


def test_serve_path_of_a_renamed_file_is_free(as_box: FileClient, entry: int, weather: str) -> None:
    as_box.send("PUT", f"/{entry}", {"serve_path": "yesterday.txt"})
    assert as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt"}).json()["success"] is True


# --- Rights -------------------------------------------------------------------------------------------------------

OPERATIONS: dict[str, tuple[str, str, dict[str, str]]] = {
    "list": ("GET", "/", {}),
    "add": ("POST", "/", {"path": "{weather}", "serve_path": "new.txt"}),
    "download": ("GET", "/{entry}", {}),
    "update": ("PUT", "/{entry}", {"category": "news"}),
    "remove": ("DELETE", "/{entry}", {}),
}
CHANGES = ("add", "update", "remove")


def attempt(machine: FileClient, operation: str, entry: int, weather: str, **more: str) -> tuple[int, Any]:
    method, path, template = OPERATIONS[operation]
    fields = {name: value.replace("{weather}", weather) for name, value in template.items()}
    return answer_of(machine.send(method, path.replace("{entry}", str(entry)), fields | more))


def test_every_operation_needs_a_session(as_box: FileClient, entry: int, weather: str) -> None:
    before = File.objects.values().get()
    for token in ("", "0" * 32, "not a token", "ü", "x" * 5000):
        as_box.token = token
        answers = [attempt(as_box, operation, entry, weather) for operation in OPERATIONS]
        assert answers == [(401, failure(NO_SESSION))] * len(OPERATIONS)
    assert File.objects.values().get() == before


def test_session_of_another_client_is_refused(as_box: FileClient, entry: int, weather: str) -> None:
    answers = [attempt(as_box, operation, entry, weather, client_name="reader") for operation in OPERATIONS]
    assert answers == [(401, failure(NO_SESSION))] * len(OPERATIONS)


def test_reader_cannot_change_files(as_reader: FileClient, entry: int, weather: str) -> None:
    before = File.objects.values().get()
    answers = [attempt(as_reader, operation, entry, weather) for operation in CHANGES]
    assert answers == [(403, failure("The client reader may only read."))] * len(CHANGES)
    assert File.objects.values().get() == before


def test_reader_cannot_upload(as_reader: FileClient, blob_directory: Path) -> None:
    response = upload_file(as_reader, "POST", "/", TEXT, serve_path="today.txt")
    assert answer_of(response) == (403, failure("The client reader may only read."))
    assert (blob_directory.exists(), File.objects.exists()) == (False, False)


def test_disabled_client_cannot_do_anything(as_box: FileClient, box: Client, entry: int, weather: str) -> None:
    clients.set_active(box, active=False, actor="test")
    answers = [attempt(as_box, operation, entry, weather) for operation in OPERATIONS]
    assert answers == [(401, failure(NO_SESSION))] * len(OPERATIONS)


def make_reader(client: Client) -> None:
    client.rights = Rights.READ
    clients.update_client(client, ["rights"], actor="test")


# Events between the authentication of a request and its transaction.
EVENTS: dict[str, tuple[Callable[[Client], Any], type[RegistryError]]] = {
    "disabled": (lambda box: clients.set_active(box, active=False, actor="test"), Unauthenticated),
    "another_key": (lambda box: clients.rotate_key(box, b"another key, 123", actor="test"), Unauthenticated),
    "sessions_ended": (lambda box: clients.end_sessions(box, actor="test"), Unauthenticated),
    "timed_out": (lambda box: Session.objects.update(expires_at=datetime.now(UTC)), Unauthenticated),
    "became_a_reader": (make_reader, PermissionDenied),
}


@pytest.mark.parametrize("event", EVENTS)
def test_client_is_checked_again_in_the_transaction(
    event: str, box: Client, session: str, entry: int, weather: str
) -> None:
    cause, refusal = EVENTS[event]
    actor = Actor.from_session(sessions.authenticate(session))
    before = File.objects.values().get()
    cause(Client.objects.get(pk=box.pk))
    with pytest.raises(refusal):
        catalogue.add_file(actor, "new.txt", weather)
    with pytest.raises(refusal):
        catalogue.update_file(actor, entry, category="news")
    with pytest.raises(refusal):
        catalogue.mark_dead(actor, entry)
    assert File.objects.values().get() == before


def test_changes_lock_client_and_sequence(session: str, entry: int) -> None:
    """Without the locks a ban could miss a change, and a follower could miss one that commits late."""
    actor = Actor.from_session(sessions.authenticate(session))
    with CaptureQueriesContext(connection) as queries:
        catalogue.update_file(actor, entry, category="news")
    statements = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    tables = ("files_client", "files_file", "files_changesequence")
    last_reads = [max(i for i, sql in enumerate(statements) if f'FROM "{table}"' in sql) for table in tables]
    assert last_reads == sorted(last_reads)
    if connection.features.has_select_for_update:
        assert ["FOR NO KEY UPDATE" in statements[i] or "FOR UPDATE" in statements[i] for i in last_reads] == [True] * 3


def test_client_registers_from_its_own_roots(as_box: FileClient, box: Client, file_root: Path) -> None:
    box.roots = f"{file_root}/mine\n{file_root}/ours"
    clients.update_client(box, ["roots"], actor="test")
    answers = []
    for directory in ("mine", "ours", "others"):
        (file_root / directory).mkdir()
        (file_root / directory / "a.txt").write_bytes(TEXT)
        answer = as_box.send("POST", "/", {"path": f"{file_root}/{directory}/a.txt", "serve_path": directory}).json()
        answers.append(answer.get("error"))
    message = f"{file_root}/others/a.txt does not fall under {file_root}/mine, {file_root}/ours hierarchy."
    assert answers == [None, None, message]


@pytest.fixture
def bound_box(as_box: FileClient, box: Client, file_root: Path) -> FileClient:
    """The client box with a session, bound to the directory `mine` beneath the root, which has a file `a.txt`."""
    (file_root / "mine").mkdir()
    (file_root / "mine" / "a.txt").write_bytes(TEXT)
    box.roots = f"{file_root}/mine"
    clients.update_client(box, ["roots"], actor="test")
    return as_box


def test_change_of_path_needs_own_roots(bound_box: FileClient, weather: str, file_root: Path) -> None:
    path = {"path": f"{file_root}/mine/a.txt", "serve_path": "mine"}
    [mine] = bound_box.send("POST", "/", path).json()["results"]
    response = bound_box.send("PUT", f"/{mine['id']}", {"path": weather})
    assert answer_of(response) == (200, failure(f"{weather} does not fall under {file_root}/mine hierarchy."))
    assert bound_box.send("PUT", f"/{mine['id']}", {"category": "news"}).json()["success"]


def test_bound_client_leaves_other_entries_alone(bound_box: FileClient, weather: str, file_root: Path) -> None:
    staff = Actor("staff")
    on_disk = catalogue.add_file(staff, "theirs.txt", weather)
    uploaded = catalogue.add_file(staff, "upload.txt", upload=catalogue.Upload(io.BytesIO(TEXT), len(TEXT)))
    before = list(File.objects.values())
    own = {"path": f"{file_root}/mine/a.txt"}
    message = f"The client box may change its own uploads and the files beneath {file_root}/mine only."
    for file in (on_disk, uploaded):
        for method, changes in (("PUT", {"category": "news"}), ("PUT", own), ("PUT", {}), ("DELETE", {})):
            response = bound_box.send(method, f"/{file.pk}", changes)
            assert answer_of(response) == (403, failure(message)), (method, changes)
        assert upload_file(bound_box, "PUT", f"/{file.pk}", b"theirs no more").status_code == 403
    assert list(File.objects.values()) == before


def test_bound_client_changes_its_own_uploads(bound_box: FileClient) -> None:
    [entry] = upload_file(bound_box, "POST", "/", TEXT, serve_path="upload.txt").json()["results"]
    assert bound_box.send("PUT", f"/{entry['id']}", {"category": "news"}).json()["success"]
    AuditEvent.objects.all().delete()  # as when the log keeps no old events
    assert bound_box.send("PUT", f"/{entry['id']}", {"category": "sport"}).json()["success"]
    assert bound_box.send("DELETE", f"/{entry['id']}").json()["success"]


def test_client_named_as_staff_leaves_their_upload_alone(bound_box: FileClient) -> None:
    staff = Actor.from_staff(registration.register("box", PASSWORD))
    file = catalogue.add_file(staff, "theirs.txt", upload=catalogue.Upload(io.BytesIO(TEXT), len(TEXT)))
    assert bound_box.send("DELETE", f"/{file.pk}").status_code == 403


def test_author_of_an_upload_is_of_its_bytes(bound_box: FileClient) -> None:
    staff = Actor("staff")
    file = catalogue.add_file(staff, "theirs.txt", upload=catalogue.Upload(io.BytesIO(TEXT), len(TEXT)))
    [own] = upload_file(bound_box, "POST", "/", TEXT, serve_path="own.txt").json()["results"]
    catalogue.update_file(staff, own["id"], category="news")
    assert set(File.objects.values_list("pk", "uploaded_by")) == {(file.pk, "staff"), (own["id"], "box")}
    catalogue.update_file(staff, own["id"], upload=catalogue.Upload(io.BytesIO(b"new"), 3))
    assert File.objects.get(pk=own["id"]).uploaded_by == "staff"


# --- Times --------------------------------------------------------------------------------------------------------


def test_times_grow_while_the_clock_is_behind(as_box: FileClient, entry: int, weather: str) -> None:
    as_box.send("PUT", f"/{entry}", {"category": "news"})
    as_box.send("PUT", f"/{entry}", {"category": "news"})
    as_box.send("POST", "/", {"path": weather, "serve_path": "other.txt"})
    as_box.send("DELETE", f"/{entry}")
    listed = json.loads(as_box.send("GET", "/", {"since": 0}).getvalue())["results"]
    assert [(file["serve_path"], file["modified"]) for file in listed] == [
        ("other.txt", THIRD),
        ("today.txt", 1893456000.000004),
    ]


def test_time_follows_a_clock_that_is_ahead(as_box: FileClient, entry: int) -> None:
    ChangeSequence.objects.update(changed_at=datetime.now(UTC) - timedelta(days=1))
    before = datetime.now(UTC)
    as_box.send("PUT", f"/{entry}", {"category": "news"})
    assert File.objects.get().modified_at >= before


# --- The audit log --------------------------------------------------------------------------------------------------


def events_of(pk: int) -> list[tuple[str, str, str, dict[str, Any], str | None]]:
    events = AuditEvent.objects.filter(object_type="files.file", object_id=pk).order_by("pk")
    return [(event.actor_name, event.action, event.target, event.detail, event.ip_address) for event in events]


def test_changes_are_in_the_audit_log(as_box: FileClient, entry: int) -> None:
    as_box.send("PUT", f"/{entry}", {"category": "news", "aired": "yes", "serve_path": "now.txt", "size": "9"})
    as_box.send("DELETE", f"/{entry}")
    assert events_of(entry) == [
        ("box", "file.add", "today.txt", {}, "127.0.0.1"),
        ("box", "file.update", "now.txt", {"fields": ["serve_path", "category", "aired"]}, "127.0.0.1"),
        ("box", "file.delete", "now.txt", {}, "127.0.0.1"),
    ]


def test_audit_log_has_the_times_of_changes(as_box: FileClient, entry: int) -> None:
    as_box.send("PUT", f"/{entry}", {"category": "news"})
    times = AuditEvent.objects.filter(object_type="files.file").order_by("pk").values_list("at", flat=True)
    assert [time.timestamp() for time in times] == [FIRST, SECOND]


def test_session_token_is_in_no_row(as_box: FileClient, entry: int) -> None:
    ENCODINGS["form_without_a_type"](as_box, "PUT", f"/{entry}", {"category": "news"})
    ENCODINGS["query"](as_box, "DELETE", f"/{entry}", {})
    rows = [*AuditEvent.objects.values(), *File.objects.values(), *Session.objects.values()]
    assert rows
    assert as_box.token not in repr(rows)


def test_refused_changes_are_not_in_the_audit_log(as_box: FileClient, entry: int, weather: str) -> None:
    as_box.send("POST", "/", {"path": weather, "serve_path": "today.txt"})
    as_box.send("PUT", f"/{entry}", {"path": "/etc/passwd"})
    as_box.send("DELETE", "/999999999")
    assert list(AuditEvent.objects.order_by("pk").values_list("action", flat=True)) == ["client.add", "file.add"]


# --- Bad input ----------------------------------------------------------------------------------------------------

SERVE_PATHS = {
    "parent": ("../x", RELATIVE),
    "parent_within": ("a/../b", RELATIVE),
    "parent_at_the_end": ("a/..", RELATIVE),
    "dot": ("./a", RELATIVE),
    "absolute": ("/a", RELATIVE),
    "slash_at_the_end": ("a/", RELATIVE),
    "empty_part": ("a//b", RELATIVE),
    "backslash": ("a\\b", CHARACTERS),
    "line_feed": ("a\nb", CHARACTERS),
    "carriage_return": ("a\r", CHARACTERS),
    "delete": ("a\x7f", CHARACTERS),
    "other_way_round": ("a\u202egpj.exe", CHARACTERS),
    "too_many_bytes": ("é" * 1001, "`serve_path` is longer than 2000 bytes."),
    "too_many_characters": ("x" * 5000, "serve_path: Ensure this field has no more than 4096 characters."),
    "nul": ("a\0b", "serve_path: Null characters are not allowed."),
}


def test_dangerous_serve_path_is_refused(as_box: FileClient, weather: str) -> None:
    answers = {}
    for case, (serve_path, _) in SERVE_PATHS.items():
        answers[case] = answer_of(as_box.send("POST", "/", {"path": weather, "serve_path": serve_path}))
    assert answers == {case: (400, failure(message)) for case, (_, message) in SERVE_PATHS.items()}
    assert not File.objects.exists()


MALFORMED = [
    ("path", "a\0b", "path: Null characters are not allowed."),
    ("path", "/" + "x" * 5000, "path: Ensure this field has no more than 4096 characters."),
    ("category", "x" * 201, "category: Ensure this field has no more than 200 characters."),
    ("category", "\0", "category: Null characters are not allowed."),
    ("aired", "maybe", "aired: Must be a valid boolean."),
    ("aired", "", "aired: Must be a valid boolean."),
    *(
        ("expiration", value, "expiration: Not a Unix timestamp, in seconds.")
        for value in ("nan", "inf", "-inf", "snan", "tomorrow", "2030-01-01", "1,5", "0x10", "\0", " ", "x" * 5000)
    ),
]


def test_malformed_value_is_refused(as_box: FileClient, entry: int, weather: str) -> None:
    before = File.objects.values().get()
    for name, value, message in MALFORMED:
        fields = {"path": weather, "serve_path": "new.txt", name: value}
        responses = [as_box.send("POST", "/", fields), as_box.send("PUT", f"/{entry}", fields)]
        assert [answer_of(response) for response in responses] == [(400, failure(message))] * 2, (name, value)
    assert File.objects.values().get() == before


FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
# Bodies that a real client never sends.
HOSTILE: dict[str, tuple[str, bytes]] = {
    "no_utf8": ("", b"path=/a&serve_path=%ff"),
    "no_utf8_unescaped": ("", b"path=/a&serve_path=\xff\xfe"),
    "surrogate": (FORM, b"path=/a&serve_path=%ed%a0%80"),
    "surrogate_in_a_path": (FORM, b"path=%ed%b0%80&serve_path=a"),
    "no_utf8_in_a_name": ("", b"%ff=a&path=%ff"),
    "no_utf8_in_a_number": ("", b"expiration=%ff"),
    "no_utf8_in_a_flag": ("", b"aired=%ff"),
    "no_utf8_in_a_client": ("", b"client_name=%ff&category=a"),
    "too_many_fields": ("", b"a=b&" * 1001),
    "nothing_but_signs": ("", b"&&==&%&%%%=%zz&;;"),
    "too_long": ("", b"category=" + b"x" * 1_048_576),
    "json_too_long": (JSON, b'{"category": "' + b"x" * 1_048_576 + b'"}'),
    "json_surrogate": (JSON, b'{"path": "/a", "serve_path": "\\ud800"}'),
    "json_nul": (JSON, b'{"path": "/a", "serve_path": "\\u0000"}'),
    "json_no_utf8": (JSON, b'{"path": "\xff"}'),
    "json_in_utf16": (JSON, '{"path": "/a"}'.encode("utf-16")),
    "json_cut_off": (JSON, b'{"path": "/a"'),
    "json_list": (JSON, b'["path"]'),
    "json_text": (JSON, b'"path"'),
    "json_null": (JSON, b"null"),
    "json_object_as_a_path": (JSON, b'{"path": {"a": 1}, "serve_path": "a"}'),
    "json_list_as_a_serve_path": (JSON, b'{"path": "/a", "serve_path": ["a"]}'),
    "json_flag_as_a_path": (JSON, b'{"path": true, "serve_path": "a"}'),
    "json_null_as_a_serve_path": (JSON, b'{"path": "/a", "serve_path": null}'),
    "json_list_as_a_flag": (JSON, b'{"aired": [1]}'),
    "json_null_as_a_flag": (JSON, b'{"aired": null}'),
    "json_object_as_a_time": (JSON, b'{"expiration": {}}'),
    "json_flag_as_a_time": (JSON, b'{"expiration": true}'),
    "json_nan": (JSON, b'{"expiration": NaN}'),
    "json_infinity": (JSON, b'{"expiration": 1e400}'),
    "json_many_digits": (JSON, b'{"expiration": ' + b"9" * 5000 + b"}"),
    "json_text_as_a_file": (JSON, b'{"serve_path": "a", "file": "sunny"}'),
    "json_deep": (JSON, b'{"path": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "multipart_without_a_boundary": ("multipart/form-data", b"path=/a&serve_path=a"),
    "multipart_of_nothing": (MULTIPART_CONTENT, b"nothing"),
    "multipart_with_a_bad_head": (MULTIPART_CONTENT, f"--{BOUNDARY}\r\n\xff: \xff\r\n\r\n--{BOUNDARY}--".encode()),
    "multipart_without_an_end": (
        MULTIPART_CONTENT,
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="path"\r\n\r\n/a'.encode(),
    ),
    "multipart_of_bad_base64": (
        MULTIPART_CONTENT,
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n!!!a\r\n--{BOUNDARY}--\r\n".encode(),
    ),
    "multipart_with_nul": (MULTIPART_CONTENT, encode_multipart(BOUNDARY, {"path": "/a", "serve_path": "a\0"})),
    "multipart_of_unknown_letters": ("multipart/form-data; boundary=\xff", b"--\xff--"),
}


def test_hostile_body_is_refused(as_box: FileClient, entry: int) -> None:
    stored = File.objects.values("path", "serve_path", "size", "aired", "expires_at", "alive")
    before, query = stored.get(), f"?session_token={as_box.token}"
    offenders = []
    for case, (content_type, body) in HOSTILE.items():
        responses = [
            as_box.generic("POST", f"/{query}", body, content_type=content_type),
            as_box.generic("PUT", f"/{entry}{query}", body, content_type=content_type),
            as_box.generic("DELETE", f"/{entry}", body, content_type=content_type),
        ]
        statuses = {response.status_code for response in responses}
        is_refused = responses[0].json()["success"] is False
        if not (is_refused and statuses <= {200, 400, 401, 413} and stored.get() == before):
            offenders.append((case, statuses))
    assert offenders == []


def test_hostile_query_is_refused(as_box: FileClient) -> None:
    for query in ("session_token=%00", "session_token=%ff", "session_token=%ed%a0%80", "%ff=%ff", "&=&"):
        assert as_box.generic("POST", f"/?{query}", b"path=/a", content_type="").status_code in (400, 401)


def test_hostile_token_in_json_is_refused(as_box: FileClient) -> None:
    for token in ('"\\ud800"', '"\\u0000"', "[]", "{}", "1", "true", "null", "1e9"):
        body = f'{{"session_token": {token}, "path": "/a"}}'
        response = as_box.generic("POST", "/", body, content_type="application/json")
        assert response.status_code < 500
        assert response.json()["success"] is False


# --- Many at once -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveFileClient]:
    directory = tmp_path_factory.mktemp("catalogue")
    (directory / "root").mkdir()
    (directory / "root" / "file").write_bytes(TEXT)
    with running(directory / "data", REGISTRY_FILE_ROOTS=str(directory / "root")) as server:
        yield LiveFileClient(server, "box")


def path_of(live: LiveFileClient) -> str:
    return str(live.server.data.parent / "root" / "file")


def add(live: LiveFileClient, serve_path: str) -> dict[str, Any]:
    return live.send("POST", "/", path=path_of(live), serve_path=serve_path)


def count_errors(answers: list[dict[str, Any]]) -> Counter[str]:
    return Counter(answer.get("error", "") for answer in answers)


def test_one_of_many_adds_at_a_serve_path(live: LiveFileClient) -> None:
    answers = run_concurrently([partial(add, live, "race")] * MANY)
    assert count_errors(answers) == {"": 1, "File at serve_path race already exists.": MANY - 1}
    assert live.send("GET", "/", serve_path="^race$")["count"] == 1


def test_one_of_many_moves_to_a_serve_path(live: LiveFileClient) -> None:
    ids = [add(live, f"from/{number}")["results"][0]["id"] for number in range(MANY)]
    answers = run_concurrently([partial(live.send, "PUT", f"/{pk}", serve_path="to") for pk in ids])
    assert count_errors(answers) == {"": 1, "File at serve_path to already exists.": MANY - 1}


def test_one_of_many_removes_a_file(live: LiveFileClient) -> None:
    pk = add(live, "removed")["results"][0]["id"]
    answers = run_concurrently([partial(live.send, "DELETE", f"/{pk}")] * MANY)
    assert count_errors(answers) == {"": 1, f"File with id {pk} does not exist.": MANY - 1}


def test_follower_misses_no_change(live: LiveFileClient) -> None:
    def write(writer: int) -> set[int]:
        added = [add(live, f"followed/{writer}/{number}") for number in range(ADDED_BY_EACH)]
        return {answer["results"][0]["id"] for answer in added}

    seen: dict[int, float] = {}
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, number) for number in range(WRITERS)]
        finished = False
        while not finished:
            finished = all(writer.done() for writer in writers)
            since = max(seen.values(), default=0.0)
            for file in live.send("GET", "/", since=repr(since), serve_path="^followed/")["results"]:
                seen[file["id"]] = file["modified"]
    added = {pk for writer in writers for pk in writer.result()}
    assert len(added) == WRITERS * ADDED_BY_EACH
    assert seen.keys() == added
    assert len(set(seen.values())) == len(added)
