"""A real nginx in front that sends the bytes itself: `X-Accel-Redirect`."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from tests.support.file_clients import LiveFileClient, failure
from tests.support.local_files import CHANGED, GONE, INSIDE, OUTSIDE, SWAPS, create_link, exchange_names, write_file
from tests.support.servers import free_port, running

pytestmark = pytest.mark.database_independent

DATA = bytes(range(256)) * 1000
GIB = 1024**3
MARK = b"in the middle"

CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {place}/pid;
error_log {place}/error.log;
events {{}}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    scgi_temp_path {place}/scgi;
    uwsgi_temp_path {place}/uwsgi;
    upstream entrepot {{
        server 127.0.0.1:{registry};
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 64m;
        location / {{
            proxy_pass http://entrepot;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
        {locations}
        # Only here: whatever address it is told, as the registry would tell it.
        location = /told {{
            proxy_pass http://127.0.0.1:{teller};
        }}
    }}
    server {{
        listen 127.0.0.1:{teller};
        location / {{
            add_header X-Accel-Redirect $arg_address;
            return 200;
        }}
    }}
}}
"""
# One of these for each directory of REGISTRY_FILE_ROOTS, and one for the blobs.
LOCATION = """
        location "/_files{directory}/" {{
            internal;
            alias "{directory}/";
            disable_symlinks on "from={directory}";
            add_header X-Content-Type-Options nosniff always;
        }}
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Proxied:
    """A client of the registry that goes by way of nginx."""

    def __init__(self, live: LiveFileClient, port: int) -> None:
        self.live, self.port = live, port
        self.place = live.server.data.parent
        self.root, self.blobs = self.place / "root", live.server.data / "blobs"

    def request(self, method: str, address: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, address, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def fetch(self, pk: int, method: str = "GET", **headers: str) -> Answer:
        return self.request(method, f"/{pk}?session_token={self.live.token}", headers)

    def told(self, path: Path | str) -> Answer:
        """What nginx does when it is told to send this."""
        return self.request("GET", f"/told?address=/_files{path}", {})

    def add(self, path: Path, serve_path: str) -> int:
        return int(self.live.send("POST", "/", path=str(path), serve_path=serve_path)["results"][0]["id"])

    def upload(self, content: bytes, serve_path: str) -> int:
        parts: dict[str, Any] = {"serve_path": serve_path, "file": SimpleUploadedFile("a", content)}
        answer = self.request(
            "POST",
            f"/?session_token={self.live.token}",
            {"Content-Type": MULTIPART_CONTENT},
            encode_multipart(BOUNDARY, parts),
        )
        return int(json.loads(answer.body)["results"][0]["id"])


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    place = tmp_path_factory.mktemp("nginx")
    (place / "root").mkdir()
    settings = {"REGISTRY_FILE_ROOTS": str(place / "root"), "REGISTRY_X_ACCEL_PREFIX": "/_files"}
    with running(place / "data", REGISTRY_TRUSTED_PROXIES="127.0.0.1", **settings) as server:
        port = free_port()
        config = CONFIG.format(
            user=f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else "",
            place=place,
            registry=server.port,
            port=port,
            teller=free_port(),
            locations="".join(LOCATION.format(directory=path) for path in (place / "root", server.data / "blobs")),
        )
        (place / "nginx.conf").write_text(config)
        nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        assert nginx
        process = subprocess.Popen([nginx, "-p", place, "-e", place / "error.log", "-c", place / "nginx.conf"])
        try:
            wait_for(port, process, place / "error.log")
            yield Proxied(LiveFileClient(server, "box"), port)
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nginx does not answer:\n{log.read_text()}")


@pytest.fixture(scope="module")
def on_disk(proxied: Proxied) -> int:
    """The id of a file on the server's disk."""
    path = proxied.root / "50% schön?" / "a file.csv"
    path.parent.mkdir()
    path.write_bytes(DATA)
    return proxied.add(path, "file.csv")


@pytest.fixture(scope="module")
def upload(proxied: Proxied) -> int:
    """The id of an upload of the same bytes."""
    return proxied.upload(DATA, "dir/a file.csv")


@pytest.fixture(params=["on_disk", "upload"])
def pk(request: pytest.FixtureRequest) -> int:
    pk: int = request.getfixturevalue(request.param)
    return pk


def test_bytes_come_out(pk: int, proxied: Proxied) -> None:
    answer = proxied.fetch(pk)
    assert (answer.status, answer.body) == (200, DATA)


def test_nginx_sends_them(pk: int, proxied: Proxied) -> None:
    assert proxied.fetch(pk).headers["Server"].startswith("nginx")
    connection = HTTPConnection("127.0.0.1", proxied.live.server.port, timeout=60)
    connection.request("GET", f"/{pk}?session_token={proxied.live.token}")
    assert connection.getresponse().read() == b""
    connection.close()


def test_headers_of_the_registry_come_out(pk: int, proxied: Proxied) -> None:
    headers = proxied.fetch(pk).headers
    told = {name: headers[name] for name in ("Content-Type", "Content-Disposition", "Cache-Control", "Content-Length")}
    assert told == {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": 'attachment; filename="a file.csv"',
        "Cache-Control": "private, no-cache",
        "Content-Length": "256000",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "X-Accel-Redirect" not in headers


def test_head_has_the_size(pk: int, proxied: Proxied) -> None:
    answer = proxied.fetch(pk, "HEAD")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "256000", b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"), [("0-9", 0, 10), ("1000-", 1000, 256_000), ("-5", 255_995, 256_000)]
)
def test_range_comes_alone(asked: str, start: int, end: int, pk: int, proxied: Proxied) -> None:
    answer = proxied.fetch(pk, Range=f"bytes={asked}")
    assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {start}-{end - 1}/256000")
    assert answer.body == DATA[start:end]


def test_range_past_the_end_cannot_be_satisfied(pk: int, proxied: Proxied) -> None:
    answer = proxied.fetch(pk, Range="bytes=256000-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */256000")


def test_broken_download_goes_on_if_it_is_still_the_same(pk: int, proxied: Proxied) -> None:
    etag = proxied.fetch(pk, "HEAD").headers["ETag"]
    answer = proxied.fetch(pk, **{"Range": "bytes=1000-", "If-Range": etag})
    assert (answer.status, answer.body) == (206, DATA[1000:])


def test_broken_download_begins_again_if_it_is_another(pk: int, proxied: Proxied) -> None:
    answer = proxied.fetch(pk, **{"Range": "bytes=1000-", "If-Range": '"another"'})
    assert (answer.status, answer.body) == (200, DATA)


def test_file_that_one_has_does_not_come_again(pk: int, proxied: Proxied) -> None:
    etag = proxied.fetch(pk, "HEAD").headers["ETag"]
    answer = proxied.fetch(pk, **{"If-None-Match": etag})
    assert (answer.status, answer.body) == (304, b"")


def test_empty_upload_comes_out(proxied: Proxied) -> None:
    answer = proxied.fetch(proxied.upload(b"", "empty"))
    assert (answer.status, answer.body) == (200, b"")


def test_range_in_the_middle_of_ten_gibibytes(proxied: Proxied) -> None:
    path = proxied.root / "large"
    with path.open("wb") as file:
        file.truncate(10 * GIB)
        file.seek(5 * GIB)
        file.write(MARK)
    answer = proxied.fetch(proxied.add(path, "large"), Range=f"bytes={5 * GIB}-{5 * GIB + len(MARK) - 1}")
    assert (answer.status, answer.body) == (206, MARK)


# --- Nothing else comes out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/_files{path}", "//_files{path}", "/x/../_files{path}", "/%5Ffiles{path}"])
def test_nobody_asks_nginx_for_a_file_itself(address: str, on_disk: int, proxied: Proxied) -> None:
    answer = proxied.request("GET", address.replace("{path}", str(write_file(proxied.root / "asked"))), {})
    assert answer.status == 404
    assert INSIDE not in answer.body


def test_nobody_asks_nginx_for_an_upload_itself(upload: int, proxied: Proxied) -> None:
    (blob, *_) = (path for path in proxied.blobs.glob("*/*/*") if path.stat().st_size == len(DATA))
    answer = proxied.request("GET", f"/_files{blob}", {})
    assert answer.status == 404
    assert DATA[:100] not in answer.body


def test_nobody_fetches_without_a_session(pk: int, proxied: Proxied) -> None:
    answer = proxied.request("GET", f"/{pk}", {})
    assert (answer.status, json.loads(answer.body)) == (401, failure("No session found"))


def test_registry_tells_of_a_file_that_has_changed(proxied: Proxied) -> None:
    path = write_file(proxied.root / "changing")
    pk = proxied.add(path, "changing")
    path.write_bytes(b"other")
    answer = proxied.fetch(pk)
    assert (answer.status, json.loads(answer.body)) == (409, failure(CHANGED))


def test_registry_tells_of_a_file_that_is_gone(proxied: Proxied) -> None:
    path = write_file(proxied.root / "going")
    pk = proxied.add(path, "going")
    path.unlink()
    answer = proxied.fetch(pk)
    assert (answer.status, json.loads(answer.body)) == (404, failure(GONE))


def test_nginx_sends_what_it_is_told(proxied: Proxied) -> None:
    assert proxied.told(write_file(proxied.root / "told" / "file")).body == INSIDE


def test_link_that_is_swapped_in_after_the_registry_looked_is_refused(proxied: Proxied) -> None:
    outside = write_file(proxied.place / "outside" / "file", OUTSIDE)
    answer = proxied.told(create_link(proxied.root / "swapped", outside))
    assert answer.status == 403
    assert OUTSIDE not in answer.body


def test_directory_that_is_swapped_for_a_link_after_the_registry_looked_is_refused(proxied: Proxied) -> None:
    outside = write_file(proxied.place / "outside" / "file", OUTSIDE)
    answer = proxied.told(create_link(proxied.root / "swapped_directory", outside.parent) / "file")
    assert answer.status == 404
    assert OUTSIDE not in answer.body


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{root}/../outside/file", "{root}/..%2Foutside/file", "{place}/nginx.conf"]
)
def test_nginx_sends_nothing_from_elsewhere(path: str, proxied: Proxied) -> None:
    write_file(proxied.place / "outside" / "file", OUTSIDE)
    answer = proxied.told(path.replace("{root}", str(proxied.root)).replace("{place}", str(proxied.place)))
    assert answer.status in (404, 500)  # of a path with `..` nginx says 500
    assert OUTSIDE not in answer.body


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_swapping_for_a_link_again_and_again_serves_nothing_outside(kind: str, proxied: Proxied) -> None:
    outside = write_file(proxied.place / f"outside_{kind}" / "file", OUTSIDE)
    inside = write_file(proxied.root / kind / "file")
    pk = proxied.add(inside, f"swapped/{kind}")
    target = (inside, outside) if kind == "file" else (inside.parent, outside.parent)
    trap = create_link(target[0].parent / f"trap_{kind}", target[1])

    def swap() -> None:
        for _ in range(SWAPS):
            exchange_names(target[0], trap)

    swapper = threading.Thread(target=swap)
    swapper.start()
    answers = []
    while swapper.is_alive():
        answers.append(proxied.fetch(pk))
    swapper.join()
    assert {answer.status for answer in answers} <= {200, 403, 404}
    assert {answer.body for answer in answers if answer.status == 200} <= {INSIDE}
    assert not any(OUTSIDE in answer.body for answer in answers)
    assert proxied.fetch(pk).body == INSIDE
