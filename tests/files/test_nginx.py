"""A real nginx in front of the registry, which sends the bytes itself: `X-Accel-Redirect`."""

import json
import threading
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
from tests.support.nginx import running_nginx
from tests.support.servers import free_port, running

pytestmark = pytest.mark.database_independent

DATA = bytes(range(256)) * 1000
GIB = 1024**3
MARK = b"in the middle"

CONFIG = """
    sendfile on;
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
        # For these tests: redirects to any address, as the registry redirects to its files.
        location = /redirect {{
            proxy_pass http://127.0.0.1:{redirector};
        }}
    }}
    server {{
        listen 127.0.0.1:{redirector};
        location / {{
            add_header X-Accel-Redirect $arg_address;
            return 200;
        }}
    }}
"""
# One for each directory of REGISTRY_FILE_ROOTS, and one for the blobs.
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


class ProxiedClient:
    """A client of the registry whose requests go through nginx."""

    def __init__(self, live: LiveFileClient, port: int) -> None:
        self.live, self.port = live, port
        self.directory = live.server.data.parent
        self.root, self.blobs = self.directory / "root", live.server.data / "blobs"

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

    def redirect_to(self, path: Path | str) -> Answer:
        """Return what nginx sends when it is redirected to a path."""
        return self.request("GET", f"/redirect?address=/_files{path}", {})

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
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedClient]:
    directory = tmp_path_factory.mktemp("nginx")
    (directory / "root").mkdir()
    settings = {"REGISTRY_FILE_ROOTS": str(directory / "root"), "REGISTRY_X_ACCEL_PREFIX": "/_files"}
    with running(directory / "data", REGISTRY_TRUSTED_PROXIES="127.0.0.1", **settings) as server:
        port = free_port()
        config = CONFIG.format(
            registry=server.port,
            port=port,
            redirector=free_port(),
            locations="".join(LOCATION.format(directory=path) for path in (directory / "root", server.data / "blobs")),
        )
        with running_nginx(directory, config, port):
            yield ProxiedClient(LiveFileClient(server, "box"), port)


@pytest.fixture(scope="module")
def on_disk(proxied: ProxiedClient) -> int:
    """The id of a file on the server's disk."""
    path = proxied.root / "50% schön?" / "a file.csv"
    path.parent.mkdir()
    path.write_bytes(DATA)
    return proxied.add(path, "file.csv")


@pytest.fixture(scope="module")
def upload(proxied: ProxiedClient) -> int:
    """The id of an upload of the same bytes."""
    return proxied.upload(DATA, "dir/a file.csv")


@pytest.fixture(params=["on_disk", "upload"])
def pk(request: pytest.FixtureRequest) -> int:
    pk: int = request.getfixturevalue(request.param)
    return pk


def test_file_is_served(pk: int, proxied: ProxiedClient) -> None:
    answer = proxied.fetch(pk)
    assert (answer.status, answer.body) == (200, DATA)


def test_nginx_sends_the_bytes(pk: int, proxied: ProxiedClient) -> None:
    assert proxied.fetch(pk).headers["Server"].startswith("nginx")
    connection = HTTPConnection("127.0.0.1", proxied.live.server.port, timeout=60)
    connection.request("GET", f"/{pk}?session_token={proxied.live.token}")
    assert connection.getresponse().read() == b""
    connection.close()


def test_headers_of_the_registry_are_kept(pk: int, proxied: ProxiedClient) -> None:
    headers = proxied.fetch(pk).headers
    expected = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": 'attachment; filename="a file.csv"',
        "Cache-Control": "private, no-store",
        "Content-Length": "256000",
    }
    assert {name: headers[name] for name in expected} == expected
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "X-Accel-Redirect" not in headers


def test_head_has_the_size(pk: int, proxied: ProxiedClient) -> None:
    answer = proxied.fetch(pk, "HEAD")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "256000", b"")


def test_one_range_is_served(pk: int, proxied: ProxiedClient) -> None:
    for requested, start, end in (("0-9", 0, 10), ("1000-", 1000, 256_000), ("-5", 255_995, 256_000)):
        answer = proxied.fetch(pk, Range=f"bytes={requested}")
        assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes {start}-{end - 1}/256000")
        assert answer.body == DATA[start:end]


def test_range_past_the_end_is_refused(pk: int, proxied: ProxiedClient) -> None:
    answer = proxied.fetch(pk, Range="bytes=256000-")
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */256000")


def test_download_of_the_same_file_is_resumed(pk: int, proxied: ProxiedClient) -> None:
    etag = proxied.fetch(pk, "HEAD").headers["ETag"]
    answer = proxied.fetch(pk, **{"Range": "bytes=1000-", "If-Range": etag})
    assert (answer.status, answer.body) == (206, DATA[1000:])


def test_download_of_another_file_begins_again(pk: int, proxied: ProxiedClient) -> None:
    answer = proxied.fetch(pk, **{"Range": "bytes=1000-", "If-Range": '"another"'})
    assert (answer.status, answer.body) == (200, DATA)


def test_file_with_the_same_etag_is_not_sent(pk: int, proxied: ProxiedClient) -> None:
    etag = proxied.fetch(pk, "HEAD").headers["ETag"]
    answer = proxied.fetch(pk, **{"If-None-Match": etag})
    assert (answer.status, answer.body) == (304, b"")


def test_empty_upload_is_served(proxied: ProxiedClient) -> None:
    answer = proxied.fetch(proxied.upload(b"", "empty"))
    assert (answer.status, answer.body) == (200, b"")


def test_range_in_the_middle_of_ten_gibibytes(proxied: ProxiedClient) -> None:
    path = proxied.root / "large"
    with path.open("wb") as file:
        file.truncate(10 * GIB)
        file.seek(5 * GIB)
        file.write(MARK)
    answer = proxied.fetch(proxied.add(path, "large"), Range=f"bytes={5 * GIB}-{5 * GIB + len(MARK) - 1}")
    assert (answer.status, answer.body) == (206, MARK)


# --- Refusals -----------------------------------------------------------------------------------------------------


def test_internal_addresses_are_not_served(on_disk: int, upload: int, proxied: ProxiedClient) -> None:
    path = write_file(proxied.root / "internal")
    (blob, *_) = (path for path in proxied.blobs.glob("*/*/*") if path.stat().st_size == len(DATA))
    for address in (f"/_files{path}", f"//_files{path}", f"/x/../_files{path}", f"/%5Ffiles{path}", f"/_files{blob}"):
        answer = proxied.request("GET", address, {})
        assert answer.status == 404
        assert INSIDE not in answer.body
        assert DATA[:100] not in answer.body


def test_download_needs_a_session(pk: int, proxied: ProxiedClient) -> None:
    answer = proxied.request("GET", f"/{pk}", {})
    assert (answer.status, json.loads(answer.body)) == (401, failure("No session found"))


def test_changed_file_is_refused(proxied: ProxiedClient) -> None:
    path = write_file(proxied.root / "changing")
    pk = proxied.add(path, "changing")
    path.write_bytes(b"other")
    answer = proxied.fetch(pk)
    assert (answer.status, json.loads(answer.body)) == (409, failure(CHANGED))


def test_missing_file_is_refused(proxied: ProxiedClient) -> None:
    path = write_file(proxied.root / "going")
    pk = proxied.add(path, "going")
    path.unlink()
    answer = proxied.fetch(pk)
    assert (answer.status, json.loads(answer.body)) == (404, failure(GONE))


def test_nginx_follows_a_redirect(proxied: ProxiedClient) -> None:
    assert proxied.redirect_to(write_file(proxied.root / "redirected" / "file")).body == INSIDE


def test_link_is_refused_by_nginx(proxied: ProxiedClient) -> None:
    outside = write_file(proxied.directory / "outside" / "file", OUTSIDE)
    answer = proxied.redirect_to(create_link(proxied.root / "swapped", outside))
    assert answer.status == 403
    assert OUTSIDE not in answer.body


def test_linked_directory_is_refused_by_nginx(proxied: ProxiedClient) -> None:
    outside = write_file(proxied.directory / "outside" / "file", OUTSIDE)
    answer = proxied.redirect_to(create_link(proxied.root / "swapped_directory", outside.parent) / "file")
    assert answer.status == 404
    assert OUTSIDE not in answer.body


def test_nginx_serves_no_outside_file(proxied: ProxiedClient) -> None:
    write_file(proxied.directory / "outside" / "file", OUTSIDE)
    root, directory = proxied.root, proxied.directory
    for path in ("/etc/passwd", f"{root}/../outside/file", f"{root}/..%2Foutside/file", f"{directory}/nginx.conf"):
        answer = proxied.redirect_to(path)
        assert answer.status in (404, 500)  # 500 for a path with `..`
        assert OUTSIDE not in answer.body


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_exchanged_link_serves_no_outside_file(kind: str, proxied: ProxiedClient) -> None:
    outside = write_file(proxied.directory / f"outside_{kind}" / "file", OUTSIDE)
    inside = write_file(proxied.root / kind / "file")
    pk = proxied.add(inside, f"swapped/{kind}")
    target = (inside, outside) if kind == "file" else (inside.parent, outside.parent)
    trap = create_link(target[0].parent / f"trap_{kind}", target[1])

    def exchange() -> None:
        for _ in range(SWAPS):
            exchange_names(target[0], trap)

    exchanger = threading.Thread(target=exchange)
    exchanger.start()
    answers = []
    while exchanger.is_alive():
        answers.append(proxied.fetch(pk))
    exchanger.join()
    assert {answer.status for answer in answers} <= {200, 403, 404}
    assert {answer.body for answer in answers if answer.status == 200} <= {INSIDE}
    assert not any(OUTSIDE in answer.body for answer in answers)
    assert proxied.fetch(pk).body == INSIDE
