"""The files client in `examples/`: syncing with a running server, behind a failing proxy, and with a hostile server."""

import base64
import fcntl
import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, BaseServer, ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.servers import ROOT, Server, free_port, running

pytestmark = [pytest.mark.database_independent, pytest.mark.long]

CLIENT = ROOT / "examples" / "files_client.py"
CLIENTS = ("station", "rotated")
KEY = secrets.token_bytes(32)
LARGE = secrets.token_bytes(8 * 1024 * 1024)
SLACK = 256 * 1024  # bytes of headers, logins, lists, and bytes under way when a client was killed
SESSION_SECONDS = 1  # so that a slow client has to log in again
LOG_IN = "POST /auth HTTP/1.1"
HOSTILE = [
    "../escaped",
    "a/../../escaped",
    "/escaped",
    "linked/escaped",
    "deep/linked/escaped",
    "a//escaped",
    "./escaped",
    "..",
    "",
    "a\\escaped",
    "a\nescaped",
    "a\x9bescaped",
    "\ud800",
    "x" * 300,
    ".files-sync.json",
    ".files-partial/8",
    "directory",
]
NOTHING = "0 fetched, 0 moved, 0 unchanged, 0 removed, 0 failed"


def import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


files_client = import_file(CLIENT)


class Relay(BaseRequestHandler):
    """One connection through `Proxy`."""

    server: "Proxy"

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.target)) as upstream:
            requests = threading.Thread(target=self.forward_requests, args=(upstream,))
            requests.start()
            with suppress(OSError):
                self.forward_answers(upstream)
            for end in (self.request, upstream):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            requests.join()

    def forward_requests(self, upstream: socket.socket) -> None:
        with suppress(OSError):
            chunk = self.request.recv(65536)
            self.server.requests.append(chunk.partition(b"\r\n")[0].decode())
            while chunk:
                upstream.sendall(chunk)
                chunk = self.request.recv(65536)

    def forward_answers(self, upstream: socket.socket) -> None:
        sent = 0
        while chunk := upstream.recv(65536):
            cut = self.server.cuts[0] if self.server.cuts else None
            if cut is not None and sent + len(chunk) > cut:
                self.server.cuts.pop(0)
                self.send(chunk[: cut - sent])
                self.server.on_cut()
                return
            self.send(chunk)
            sent += len(chunk)

    def send(self, chunk: bytes) -> None:
        self.request.sendall(chunk)
        self.server.sent += len(chunk)


class Proxy(ThreadingTCPServer):
    """A proxy that ends the first answer longer than `cuts[0]` bytes after that many, then uses the next cut."""

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.target = target
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[str] = []
        self.cuts: list[int] = []
        self.sent = 0  # bytes of answers
        self.on_cut: Callable[[], object] = lambda: None

    def downloads(self) -> int:
        return sum(line.startswith("GET /") and "?" not in line for line in self.requests)


class ScriptedHandler(BaseHTTPRequestHandler):
    """One request to `ScriptedServer`."""

    server: "ScriptedServer"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        challenge = {"id": "1", "text": "0" * 64, "duration": 30, "cipher": "AES_CBC", "cipher_iv": "0" * 16}
        self.reply({"success": True, "challenge": challenge, "session": {"token": "secret", "duration": 60}})

    def do_GET(self) -> None:
        self.server.requests.append((urlsplit(self.path).path, dict(self.headers)))
        if self.server.answers and "?" not in self.path:
            self.reply(*self.server.answers.pop(0))
        else:
            since = float(parse_qs(urlsplit(self.path).query)["since"][0])
            changed = [entry for entry in self.server.entries if not entry["modified"] < since]
            self.reply({"success": True, "results": changed, "count": len(changed)})

    def reply(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(encoded)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class ScriptedServer(ThreadingHTTPServer):
    """A server that accepts any key, lists `entries`, and answers downloads with `answers`: body, status, headers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ScriptedHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.entries: list[dict[str, Any]] = []
        self.answers: list[Any] = []
        self.requests: list[tuple[str, dict[str, str]]] = []

    def add_entry(self, serve_path: Any, **changes: Any) -> None:
        entry = {"id": 7, "serve_path": serve_path, "path": "/there", "size": 4, "modified": 1.5, "category": None}
        self.entries.append({**entry, "alive": True, **changes})


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "station.key"
    path.write_text(f"{KEY.hex()}\n")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Server]:
    settings = {"REGISTRY_FILE_ROOTS": str(root), "REGISTRY_FILE_SESSION_SECONDS": str(SESSION_SECONDS)}
    with running(
        tmp_path_factory.mktemp("example") / "data", **settings, REGISTRY_FILE_HANDSHAKES_PER_MINUTE="10000"
    ) as server:
        add = f"for name in {CLIENTS}: clients.add_client(name, bytes.fromhex('{KEY.hex()}'), actor='test')"
        server.manage("shell", "-c", f"from files import clients\n{add}")
        yield server


class Station:
    """A client with its key, and files on the server in a category of its own."""

    def __init__(self, server: Server, root: Path, key_file: Path, folder: Path) -> None:
        self.url, self.key_file, self.folder = server.url, key_file, folder
        self.category = secrets.token_hex(8)
        self.root = root / self.category
        self.root.mkdir()
        self.registry = files_client.Registry(server.url, "station", KEY)
        self.registry.log_in()
        self.ids: list[int] = []

    def add(self, serve_path: str, content: bytes, **details: Any) -> int:
        """Write a file to the server's disk, register it, and return its id."""
        path = self.root / str(len(self.ids))
        path.write_bytes(content)
        fields = {"path": path, "serve_path": serve_path, "category": self.category, **details}
        self.ids.append(int(self.registry.request("POST", "/", fields)["results"][0]["id"]))
        return self.ids[-1]

    def clear(self) -> None:
        """Remove the files, whose serve paths other tests need."""
        for file_id in self.ids:
            with suppress(files_client.Refused):
                self.registry.request("DELETE", f"/{file_id}")

    def change(self, file_id: int, **fields: Any) -> None:
        self.registry.request("PUT", f"/{file_id}", fields)

    def run(self, *command: str | Path, url: str = "", name: str = "station") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command_line(*command, url=url, name=name),
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    def command_line(self, *command: str | Path, url: str = "", name: str = "station") -> list[str | Path]:
        return [
            sys.executable,
            "-I",
            "-X",
            "utf8",
            CLIENT,
            url or self.url,
            name,
            "--key-file",
            self.key_file,
            *command,
        ]

    def sync_command(self) -> tuple[str | Path, ...]:
        return "sync", self.folder, "--category", self.category

    def sync(self, url: str = "") -> list[str]:
        """Run a successful sync, and return its output line by line."""
        done = self.run(*self.sync_command(), url=url)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def files(self) -> dict[str, bytes]:
        """Return the contents of the folder without the client's own files."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and not str(path.relative_to(self.folder)).startswith(".files-")
        }

    def since(self) -> float:
        return float(json.loads((self.folder / ".files-sync.json").read_text())["since"])


@pytest.fixture
def station(server: Server, root: Path, key_file: Path, tmp_path: Path) -> Iterator[Station]:
    station = Station(server, root, key_file, tmp_path / "folder")
    yield station
    station.clear()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    with serving(proxy):
        yield proxy


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    with serving(server):
        yield server


# --- Changes ------------------------------------------------------------------------------------------------------


def test_first_sync_fetches_all_files(station: Station) -> None:
    files = {f"weather/{number // 10}/{number}.txt": secrets.token_bytes(number) for number in range(30)}
    for serve_path, content in files.items():
        station.add(serve_path, content)
    *lines, end = station.sync()
    assert lines == [f"fetched {serve_path}" for serve_path in files]
    assert end == "30 fetched, 0 moved, 0 unchanged, 0 removed, 0 failed"
    assert station.files() == files


def test_second_sync_fetches_only_changes(station: Station, proxy: Proxy) -> None:
    ids = [station.add(f"{number}.txt", b"old") for number in range(5)]
    assert len(station.sync(proxy.url)) == 6
    (station.root / "3").write_bytes(b"newer")
    station.change(ids[3], path=station.root / "3")
    station.add("5.txt", b"new")
    proxy.requests.clear()
    assert station.sync(proxy.url)[:-1] == ["fetched 3.txt", "fetched 5.txt"]
    assert proxy.downloads() == 2
    assert station.files() == {**{f"{number}.txt": b"old" for number in range(5)}, "3.txt": b"newer", "5.txt": b"new"}


def test_sync_without_changes_downloads_nothing(station: Station, proxy: Proxy) -> None:
    station.add("a.txt", b"a")
    station.sync(proxy.url)
    proxy.requests.clear()
    assert station.sync(proxy.url) == [NOTHING]
    assert [line.partition("?")[0] for line in proxy.requests] == [
        LOG_IN,
        "POST /auth_verify HTTP/1.1",
        "GET /",
        "GET /",
    ]


def test_removed_file_leaves_no_empty_directory(station: Station) -> None:
    file_id = station.add("deep/down/a.txt", b"a")
    station.add("deep/b.txt", b"b")
    station.sync()
    station.registry.request("DELETE", f"/{file_id}")
    assert station.sync()[0] == "removed deep/down/a.txt"
    assert station.files() == {"deep/b.txt": b"b"}
    assert not (station.folder / "deep" / "down").exists()


def test_renamed_file_is_moved_locally(station: Station, proxy: Proxy) -> None:
    file_id = station.add("old/name.bin", LARGE)
    station.sync(proxy.url)
    station.change(file_id, serve_path="new/name.bin")
    proxy.sent = 0
    assert station.sync(proxy.url)[0] == "moved new/name.bin"
    assert proxy.sent < SLACK
    assert station.files() == {"new/name.bin": LARGE}
    assert not (station.folder / "old").exists()


def test_files_can_exchange_their_paths(station: Station) -> None:
    first, second = station.add("a", b"one"), station.add("b", b"two")
    station.sync()
    for file_id, serve_path in ((first, "c"), (second, "a"), (first, "b")):
        station.change(file_id, serve_path=serve_path)
    station.sync()
    assert station.files() == {"a": b"two", "b": b"one"}


def test_removed_path_can_become_a_directory(station: Station) -> None:
    file_id = station.add("a", b"one")
    station.sync()
    station.registry.request("DELETE", f"/{file_id}")
    station.add("a/below", b"two")
    assert station.sync()[:-1] == ["removed a", "fetched a/below"]
    assert station.files() == {"a/below": b"two"}


def test_changed_details_send_no_bytes(station: Station, proxy: Proxy) -> None:
    file_id = station.add("a.bin", LARGE)
    station.sync(proxy.url)
    station.change(file_id, aired="true")
    proxy.sent = 0
    assert station.sync(proxy.url)[0] == "unchanged a.bin"
    assert proxy.sent < SLACK


def test_file_of_another_category_is_removed(station: Station) -> None:
    file_id = station.add("a.txt", b"a")
    station.sync()
    station.change(file_id, category="another")
    assert station.sync()[0] == "removed a.txt"
    assert station.files() == {}


def test_new_pattern_syncs_from_the_beginning(station: Station) -> None:
    station.add("a.txt", b"a")
    station.add("b.log", b"b")
    station.sync()
    done = station.run(*station.sync_command(), "--serve-path", r"\.log$")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "removed a.txt")
    assert station.files() == {"b.log": b"b"}


def test_other_files_in_the_folder_stay(station: Station) -> None:
    file_id = station.add("dir/a.txt", b"a")
    station.sync()
    (station.folder / "dir" / "mine.txt").write_bytes(b"mine")
    (station.folder / "dir" / "a.txt").write_bytes(b"mine, too")
    station.registry.request("DELETE", f"/{file_id}")
    assert station.sync() == [NOTHING]
    assert station.files() == {"dir/mine.txt": b"mine", "dir/a.txt": b"mine, too"}


def test_file_has_the_time_of_its_last_change(station: Station) -> None:
    station.add("a.txt", b"a")
    station.sync()
    assert (station.folder / "a.txt").stat().st_mtime == pytest.approx(station.since(), abs=1e-6)


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_list_is_read_in_pages_of_any_length(station: Station, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    since = time.time()
    for number in range(5):
        station.add(str(number), b"")
    monkeypatch.setattr(files_client, "PAGE_SIZE", page)
    folder = files_client.Folder(station.folder, [station.url, station.category, None])
    folder.since = since
    with folder.locked():
        assert files_client.Sync(station.registry, folder, station.category, None).run()
    assert station.files() == dict.fromkeys("01234", b"")


# --- Failures -----------------------------------------------------------------------------------------------------


def test_failed_files_are_reported_and_retried(station: Station) -> None:
    file_id = station.add("a.txt", b"as registered")
    (station.root / "0").write_bytes(b"as it is")
    gone = station.add("b.txt", b"b")
    (station.root / "1").unlink()
    station.add("c.txt", b"c")
    done = station.run(*station.sync_command())
    assert (done.returncode, done.stdout.splitlines()) == (
        1,
        ["fetched c.txt", "1 fetched, 0 moved, 0 unchanged, 0 removed, 2 failed"],
    )
    assert done.stderr.splitlines() == [
        f"failed {file_id} 'a.txt': The file has changed since it was registered; "
        "a client that may write has to update its entry.",
        f"failed {gone} 'b.txt': File does not exist.",
    ]
    assert station.since() == 0.0
    station.change(file_id, path=station.root / "0")
    station.registry.request("DELETE", f"/{gone}")
    assert station.sync()[:-1] == ["fetched a.txt"]
    assert station.files() == {"a.txt": b"as it is", "c.txt": b"c"}


def test_broken_download_is_resumed(station: Station, proxy: Proxy) -> None:
    station.add("large.bin", LARGE)
    proxy.cuts = [3_000_000, 2_000_000]
    assert station.sync(proxy.url)[0] == "fetched large.bin"
    assert sha256(station.files()["large.bin"]).digest() == sha256(LARGE).digest()
    assert proxy.downloads() == 3
    assert len(LARGE) < proxy.sent < len(LARGE) + SLACK


def test_download_of_a_changed_file_begins_again(station: Station, proxy: Proxy) -> None:
    file_id = station.add("large.bin", LARGE)
    other = bytes(reversed(LARGE))

    def replace() -> None:
        (station.root / "0").write_bytes(other)
        station.change(file_id, path=station.root / "0")

    proxy.cuts, proxy.on_cut = [3_000_000], replace
    station.sync(proxy.url)
    assert station.files() == {"large.bin": other}


def test_other_file_of_same_size_is_fetched(station: Station) -> None:
    file_id = station.add("a.txt", b"old")
    station.sync()
    other, registered = station.root / "other", (station.root / "0").stat()
    other.write_bytes(b"new")
    os.utime(other, ns=(registered.st_mtime_ns, registered.st_mtime_ns))
    station.change(file_id, path=other)
    station.sync()
    assert station.files() == {"a.txt": b"new"}


def test_killed_run_is_resumed_by_the_next(station: Station, proxy: Proxy) -> None:
    file_id = station.add("large.bin", LARGE)
    reached, died = threading.Event(), threading.Event()

    def stall() -> None:
        reached.set()
        died.wait(60)

    proxy.cuts, proxy.on_cut = [4_000_000], stall
    with subprocess.Popen(
        station.command_line(*station.sync_command(), url=proxy.url), stdout=subprocess.DEVNULL
    ) as client:
        assert reached.wait(60)
        partial = station.folder / ".files-partial" / str(file_id)
        while not partial.exists() or partial.stat().st_size < 4_000_000 - SLACK // 2:
            time.sleep(0.01)
        client.kill()
    died.set()
    assert station.files() == {}
    assert station.sync(proxy.url)[0] == "fetched large.bin"
    assert station.files() == {"large.bin": LARGE}
    assert len(LARGE) < proxy.sent < len(LARGE) + SLACK
    assert not partial.parent.exists()


def test_complete_partial_file_is_not_fetched_again(station: Station, proxy: Proxy) -> None:
    file_id = station.add("large.bin", LARGE)
    partial = station.folder / ".files-partial" / str(file_id)
    partial.parent.mkdir(parents=True)
    station.registry.download(file_id, len(LARGE), partial)
    station.sync(proxy.url)
    assert station.files() == {"large.bin": LARGE}
    assert proxy.sent < SLACK


def test_expired_session_is_renewed(station: Station, proxy: Proxy) -> None:
    station.add("large.bin", LARGE)
    station.add("small.txt", b"small")
    proxy.cuts, proxy.on_cut = [1_000_000], lambda: time.sleep(SESSION_SECONDS + 0.1)
    station.sync(proxy.url)
    assert station.files() == {"large.bin": LARGE, "small.txt": b"small"}
    assert proxy.requests.count(LOG_IN) == 2


def test_key_rotated_meanwhile_ends_the_run(server: Server, station: Station, proxy: Proxy) -> None:
    station.add("small.txt", b"small")
    station.add("large.bin", LARGE)
    proxy.cuts, proxy.on_cut = [1_000_000], lambda: server.manage("rotatekey", "rotated")
    done = station.run(*station.sync_command(), url=proxy.url, name="rotated")
    assert (done.returncode, done.stdout) == (1, "fetched small.txt\n")
    assert done.stderr == (
        f"{proxy.url} does not let rotated in: Handshake challenge response failed. Are name and key right?\n"
    )
    assert station.sync(proxy.url)[:-1] == ["fetched large.bin"]
    assert station.files() == {"small.txt": b"small", "large.bin": LARGE}


def test_folder_has_one_run_at_a_time(station: Station) -> None:
    station.sync()
    with (station.folder / ".files-sync.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = station.run(*station.sync_command())
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"Another run is syncing {station.folder}.\n",
    )


def test_folder_follows_one_registry(station: Station, proxy: Proxy) -> None:
    station.sync()
    done = station.run(*station.sync_command(), url=proxy.url)
    assert (done.returncode, done.stderr) == (
        1,
        f"{station.folder} is kept in step with {station.url}; sync another folder.\n",
    )


# --- A hostile registry -------------------------------------------------------------------------------------------


def test_hostile_serve_paths_write_nothing(scripted: ScriptedServer, station: Station, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for directory in ("deep", "directory"):
        (station.folder / directory).mkdir(parents=True)
    for link in ("linked", "deep/linked"):
        (station.folder / link).symlink_to(outside)
    for number, serve_path in enumerate([*HOSTILE, str(outside / "escaped")]):
        scripted.add_entry(serve_path, id=number, modified=number + 1.5)
        scripted.answers.append((b"evil", 200, {"ETag": '"1"'}))
    before = {path for path in tmp_path.rglob("*") if ".files-" not in str(path)}
    done = station.run("sync", station.folder, url=scripted.url)
    refused = len(HOSTILE) + 1
    assert (done.returncode, done.stdout) == (1, f"0 fetched, 0 moved, 0 unchanged, 0 removed, {refused} failed\n")
    assert [line.split()[:2] for line in done.stderr.splitlines()] == [["failed", str(n)] for n in range(refused)]
    assert {path for path in tmp_path.rglob("*") if ".files-" not in str(path)} == before
    assert station.since() == 0.0


def test_nothing_is_removed_through_a_link(scripted: ScriptedServer, station: Station, tmp_path: Path) -> None:
    scripted.add_entry("dir/a.txt")
    scripted.answers = [(b"good", 200, {"ETag": '"1"'})]
    assert station.run("sync", station.folder, url=scripted.url).returncode == 0
    (station.folder / "dir").rename(tmp_path / "outside")
    (station.folder / "dir").symlink_to(tmp_path / "outside")
    scripted.entries[0] |= {"alive": False, "modified": 2.5}
    assert station.run("sync", station.folder, url=scripted.url).stdout == f"{NOTHING}\n"
    assert (tmp_path / "outside" / "a.txt").read_bytes() == b"good"


def test_malformed_list_ends_the_run(scripted: ScriptedServer, station: Station) -> None:
    scripted.add_entry("a.txt", id="../../7")
    done = station.run("sync", station.folder, url=scripted.url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "The registry's list is not understood.\n")


def test_malformed_entry_is_refused(scripted: ScriptedServer) -> None:
    malformed: list[dict[str, Any]] = [{"size": "4"}, {"size": None}, {"modified": float("nan")}, {"modified": 1e300}]
    for changes in (*malformed, {"serve_path": 5}, {"path": 5}, {"alive": "no"}):
        scripted.add_entry(**{"serve_path": "a.txt", **changes})
        with pytest.raises(TypeError):
            files_client.Entry.from_json(scripted.entries.pop())


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"more than was said", "/there"),
        (b"les", "/there"),
        (b"evil", f"upload:{sha256(b'good').hexdigest()}"),
    ],
)
def test_unexpected_bytes_are_discarded(scripted: ScriptedServer, station: Station, body: bytes, path: str) -> None:
    scripted.add_entry("a.txt", path=path)
    scripted.answers = [(body, 200, {"ETag": '"1"'})]
    done = station.run("sync", station.folder, url=scripted.url)
    assert (done.returncode, done.stderr) == (
        1,
        "failed 7 'a.txt': what came is not what the list says; it may have changed meanwhile\n",
    )
    assert station.files() == {}
    assert not (station.folder / ".files-partial" / "7").exists()


@pytest.mark.parametrize("status", [429, 503])
def test_unavailable_file_is_requested_again(scripted: ScriptedServer, station: Station, status: int) -> None:
    scripted.add_entry("a.txt")
    later = ({"success": False, "message": "Later."}, status, {"Retry-After": "0"})
    scripted.answers = [later, later, (b"good", 200, {"ETag": '"1"'})]
    assert station.run("sync", station.folder, url=scripted.url).returncode == 0
    assert station.files() == {"a.txt": b"good"}


def test_unavailable_file_is_given_up_later(scripted: ScriptedServer, station: Station) -> None:
    scripted.add_entry("a.txt")
    scripted.answers = [({"success": False, "message": "Later."}, 503, {"Retry-After": "0"})] * 10
    done = station.run("sync", station.folder, url=scripted.url)
    assert (done.returncode, done.stderr) == (1, "failed 7 'a.txt': GET /7: the registry has put it off 5 times\n")
    assert len(scripted.answers) == 5


def test_redirect_does_not_carry_the_token(scripted: ScriptedServer, station: Station) -> None:
    storage = ScriptedServer()
    storage.answers = [(b"good", 200, {"ETag": '"1"'})]
    scripted.add_entry("a.txt")
    scripted.answers = [(b"", 302, {"Location": f"{storage.url}/signed"})]
    with serving(storage):
        assert station.run("sync", station.folder, url=scripted.url).returncode == 0
    assert station.files() == {"a.txt": b"good"}
    ((path, headers),) = storage.requests
    assert path == "/signed"
    assert "Authorization" not in headers
    assert {headers["Authorization"] for _, headers in scripted.requests} == {"Bearer secret"}


def test_partial_file_without_etag_is_discarded(scripted: ScriptedServer, station: Station) -> None:
    scripted.add_entry("a.txt")
    partial = station.folder / ".files-partial" / "7"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"god")
    scripted.answers = [(b"good", 200, {})]
    assert station.run("sync", station.folder, url=scripted.url).returncode == 0
    assert "Range" not in scripted.requests[1][1]
    assert station.files() == {"a.txt": b"good"}


# --- Other commands -----------------------------------------------------------------------------------------------


def test_upload_is_listed_fetched_and_removed(station: Station, tmp_path: Path) -> None:
    (tmp_path / "今日.txt").write_bytes(LARGE)
    details = ("--category", station.category, "--aired", "--expiration", "4000000000.5")
    uploaded = station.run("upload", tmp_path / "今日.txt", "天气/今日.txt", *details)
    assert (uploaded.returncode, uploaded.stderr) == (0, "")
    entry = json.loads(uploaded.stdout)
    assert entry == {
        "id": entry["id"],
        "path": f"upload:{sha256(LARGE).hexdigest()}",
        "size": len(LARGE),
        "uploaded": entry["uploaded"],
        "modified": entry["uploaded"],
        "category": station.category,
        "expiration": 4000000000.5,
        "serve_path": "天气/今日.txt",
        "alive": True,
        "aired": True,
    }
    filters = ("--category", station.category, "--aired", "yes", "--serve-path", "^天气/")
    assert station.run("list", *filters).stdout == uploaded.stdout
    assert station.sync()[0] == "fetched 天气/今日.txt"
    assert station.files() == {"天气/今日.txt": LARGE}
    removed = station.run("remove", str(entry["id"]))
    assert (removed.returncode, removed.stdout) == (0, f"removed {entry['id']}\n")
    assert station.run("list", *filters, "--alive", "true").stdout == ""


def test_file_on_the_servers_disk_is_added(station: Station) -> None:
    (station.root / "a.txt").write_bytes(b"a")
    added = station.run("add", station.root / "a.txt", "b.txt", "--category", station.category)
    assert (added.returncode, added.stderr) == (0, "")
    entry = json.loads(added.stdout)
    assert (entry["path"], entry["serve_path"], entry["size"]) == (str(station.root / "a.txt"), "b.txt", 1)
    station.ids.append(entry["id"])
    station.sync()
    assert station.files() == {"b.txt": b"a"}


def test_refusal_is_reported_in_one_line(station: Station) -> None:
    refusals = {
        ("add", "/etc/passwd", "x"): "The registry refuses: /etc/passwd does not fall under ",
        ("remove", "0"): "The registry refuses: File with id 0 does not exist.",
        ("list", "--serve-path", "("): "The registry refuses: Invalid regular expression for serve_path: (",
        ("upload", "/nowhere", "x"): "[Errno 2] No such file or directory: '/nowhere'",
    }
    for command, message in refusals.items():
        done = station.run(*command)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
        assert done.stderr.startswith(message)


def test_wrong_key_is_reported_in_one_line(station: Station, tmp_path: Path) -> None:
    station.key_file = tmp_path / "wrong.key"
    station.key_file.write_bytes(bytes(32))
    done = station.run("list")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"{station.url} does not let station in: Handshake challenge response failed. Are name and key right?\n",
    )


def test_key_is_read_in_each_encoding(tmp_path: Path) -> None:
    for size in (16, 24, 32):
        key = secrets.token_bytes(size)
        for content in (key, key.hex(" ").encode() + b"\n", base64.b64encode(key) + b"\n"):
            (tmp_path / "key").write_bytes(content)
            assert files_client.read_key(tmp_path / "key") == key


def test_malformed_key_is_reported_in_one_line(station: Station, tmp_path: Path) -> None:
    station.key_file = tmp_path / "no.key"
    station.key_file.write_text("none\n")
    done = station.run("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{station.key_file} holds no AES key of 16, 24 or 32 bytes.\n"


def test_unreachable_server_is_reported(station: Station) -> None:
    done = station.run("list", url=f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(" fails: [Errno 111] Connection refused\n")


def test_wrong_arguments_print_the_usage(station: Station) -> None:
    for command in ((), ("sync",), ("dance",), ("remove", "all")):
        done = station.run(*command)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: files_client.py ")
