"""The client in `examples/` does what it says, on a server as users have it, and with one that means it ill."""

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

pytestmark = pytest.mark.database_independent

CLIENT = ROOT / "examples" / "files_client.py"
CLIENTS = ("station", "rotated")
KEY = secrets.token_bytes(32)
LARGE = secrets.token_bytes(8 * 1024 * 1024)
SLACK = 256 * 1024  # bytes: heads, log-ins, lists, and what was on its way when a client died
SESSION_SECONDS = 1  # so that whoever takes his time has to log in again
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


def imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


files_client = imported(CLIENT)


class Relay(BaseRequestHandler):
    """One connection of `Proxy`."""

    server: "Proxy"

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.target)) as upstream:
            asking = threading.Thread(target=self.ask, args=(upstream,))
            asking.start()
            with suppress(OSError):
                self.answer(upstream)
            for end in (self.request, upstream):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            asking.join()

    def ask(self, upstream: socket.socket) -> None:
        with suppress(OSError):
            head = self.request.recv(65536)
            self.server.requests.append(head.partition(b"\r\n")[0].decode())
            while head:
                upstream.sendall(head)
                head = self.request.recv(65536)

    def answer(self, upstream: socket.socket) -> None:
        sent = 0
        while piece := upstream.recv(65536):
            cut = self.server.cuts[0] if self.server.cuts else None
            if cut is not None and sent + len(piece) > cut:
                self.server.cuts.pop(0)
                self.send(piece[: cut - sent])
                self.server.at_cut()
                return
            self.send(piece)
            sent += len(piece)

    def send(self, piece: bytes) -> None:
        self.request.sendall(piece)
        self.server.sent += len(piece)


class Proxy(ThreadingTCPServer):
    """Stands before a server, and ends answers: the first that is longer than `cuts[0]` there, and so on."""

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.target = target
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[str] = []
        self.cuts: list[int] = []
        self.sent = 0  # bytes of answers
        self.at_cut: Callable[[], object] = lambda: None

    def downloads(self) -> int:
        return sum(line.startswith("GET /") and "?" not in line for line in self.requests)


class Script(BaseHTTPRequestHandler):
    """One request to `Scripted`."""

    server: "Scripted"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        challenge = {"id": "1", "text": "0" * 64, "duration": 30, "cipher": "AES_CBC", "cipher_iv": "0" * 16}
        self.tell({"success": True, "challenge": challenge, "session": {"token": "secret", "duration": 60}})

    def do_GET(self) -> None:
        self.server.asked.append((urlsplit(self.path).path, dict(self.headers)))
        if self.server.answers and "?" not in self.path:
            self.tell(*self.server.answers.pop(0))
        else:
            since = float(parse_qs(urlsplit(self.path).query)["since"][0])
            listed = [entry for entry in self.server.entries if not entry["modified"] < since]
            self.tell({"success": True, "results": listed, "count": len(listed)})

    def tell(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(encoded)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Scripted(ThreadingHTTPServer):
    """Lets everybody in, lists `entries`, and answers downloads with the next of `answers`: body, status, headers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Script)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.entries: list[dict[str, Any]] = []
        self.answers: list[Any] = []
        self.asked: list[tuple[str, dict[str, str]]] = []

    def lists(self, serve_path: Any, **changes: Any) -> None:
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
    """A client with its key, and files of one category on the server, which are nobody else's concern."""

    def __init__(self, server: Server, root: Path, key_file: Path, folder: Path) -> None:
        self.url, self.key_file, self.folder = server.url, key_file, folder
        self.category = secrets.token_hex(8)
        self.root = root / self.category
        self.root.mkdir()
        self.registry = files_client.Registry(server.url, "station", KEY)
        self.registry.log_in()
        self.ids: list[int] = []

    def add(self, serve_path: str, content: bytes, **about: Any) -> int:
        """A file on the server's disk and its entry → its id."""
        path = self.root / str(len(self.ids))
        path.write_bytes(content)
        fields = {"path": path, "serve_path": serve_path, "category": self.category, **about}
        self.ids.append(int(self.registry.request("POST", "/", fields)["results"][0]["id"]))
        return self.ids[-1]

    def clear(self) -> None:
        """Leave its serve paths to others."""
        for file_id in self.ids:
            with suppress(files_client.Refused):
                self.registry.request("DELETE", f"/{file_id}")

    def change(self, file_id: int, **fields: Any) -> None:
        self.registry.request("PUT", f"/{file_id}", fields)

    def run(self, *command: str | Path, url: str = "", name: str = "station") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(*command, url=url, name=name), capture_output=True, text=True, encoding="utf-8", check=False
        )

    def line(self, *command: str | Path, url: str = "", name: str = "station") -> list[str | Path]:
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

    def syncing(self) -> tuple[str | Path, ...]:
        return "sync", self.folder, "--category", self.category

    def sync(self, url: str = "") -> list[str]:
        """What a run tells that fetches everything."""
        done = self.run(*self.syncing(), url=url)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def files(self) -> dict[str, bytes]:
        """What is in the folder, but for what the client keeps there for itself."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and not str(path.relative_to(self.folder)).startswith(".files-")
        }

    def since(self) -> float:
        return float(json.loads((self.folder / ".files-sync.json").read_text())["since"])


@pytest.fixture
def station(server: Server, root: Path, key_file: Path, tmp_path: Path) -> Iterator[Station]:
    made = Station(server, root, key_file, tmp_path / "folder")
    yield made
    made.clear()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.port)
    with serving(made):
        yield made


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    made = Scripted()
    with serving(made):
        yield made


# What has changed


def test_first_sync_fetches_all_files_and_tells_of_each(station: Station) -> None:
    files = {f"weather/{number // 10}/{number}.txt": secrets.token_bytes(number) for number in range(30)}
    for serve_path, content in files.items():
        station.add(serve_path, content)
    *lines, end = station.sync()
    assert lines == [f"fetched {serve_path}" for serve_path in files]
    assert end == "30 fetched, 0 moved, 0 unchanged, 0 removed, 0 failed"
    assert station.files() == files


def test_second_sync_asks_only_for_what_changed(station: Station, proxy: Proxy) -> None:
    ids = [station.add(f"{number}.txt", b"old") for number in range(5)]
    assert len(station.sync(proxy.url)) == 6
    (station.root / "3").write_bytes(b"newer")
    station.change(ids[3], path=station.root / "3")
    station.add("5.txt", b"new")
    proxy.requests.clear()
    assert station.sync(proxy.url)[:-1] == ["fetched 3.txt", "fetched 5.txt"]
    assert proxy.downloads() == 2
    assert station.files() == {**{f"{number}.txt": b"old" for number in range(5)}, "3.txt": b"newer", "5.txt": b"new"}


def test_sync_without_a_change_downloads_nothing(station: Station, proxy: Proxy) -> None:
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


def test_removed_file_is_removed_with_its_empty_directories(station: Station) -> None:
    file_id = station.add("deep/down/a.txt", b"a")
    station.add("deep/b.txt", b"b")
    station.sync()
    station.registry.request("DELETE", f"/{file_id}")
    assert station.sync()[0] == "removed deep/down/a.txt"
    assert station.files() == {"deep/b.txt": b"b"}
    assert not (station.folder / "deep" / "down").exists()


def test_renamed_file_is_moved_without_its_bytes_being_sent(station: Station, proxy: Proxy) -> None:
    file_id = station.add("old/name.bin", LARGE)
    station.sync(proxy.url)
    station.change(file_id, serve_path="new/name.bin")
    proxy.sent = 0
    assert station.sync(proxy.url)[0] == "moved new/name.bin"
    assert proxy.sent < SLACK
    assert station.files() == {"new/name.bin": LARGE}
    assert not (station.folder / "old").exists()


def test_files_that_change_places_keep_their_bytes(station: Station) -> None:
    first, second = station.add("a", b"one"), station.add("b", b"two")
    station.sync()
    for file_id, serve_path in ((first, "c"), (second, "a"), (first, "b")):
        station.change(file_id, serve_path=serve_path)
    station.sync()
    assert station.files() == {"a": b"two", "b": b"one"}


def test_path_that_is_taken_over_by_another_file_has_its_bytes(station: Station) -> None:
    file_id = station.add("a", b"one")
    station.sync()
    station.registry.request("DELETE", f"/{file_id}")
    station.add("a/below", b"two")
    assert station.sync()[:-1] == ["removed a", "fetched a/below"]
    assert station.files() == {"a/below": b"two"}


def test_file_with_other_words_about_it_is_not_sent_again(station: Station, proxy: Proxy) -> None:
    file_id = station.add("a.bin", LARGE)
    station.sync(proxy.url)
    station.change(file_id, aired="true")
    proxy.sent = 0
    assert station.sync(proxy.url)[0] == "unchanged a.bin"
    assert proxy.sent < SLACK


def test_file_that_leaves_the_category_leaves_the_folder(station: Station) -> None:
    file_id = station.add("a.txt", b"a")
    station.sync()
    station.change(file_id, category="another")
    assert station.sync()[0] == "removed a.txt"
    assert station.files() == {}


def test_other_wishes_are_fulfilled_from_the_beginning(station: Station) -> None:
    station.add("a.txt", b"a")
    station.add("b.log", b"b")
    station.sync()
    done = station.run(*station.syncing(), "--serve-path", r"\.log$")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "removed a.txt")
    assert station.files() == {"b.log": b"b"}


def test_files_of_others_in_the_folder_stay(station: Station) -> None:
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


# What does not go well


def test_what_changed_behind_the_registrys_back_is_reported_and_tried_again(station: Station) -> None:
    file_id = station.add("a.txt", b"as registered")
    (station.root / "0").write_bytes(b"as it is")
    gone = station.add("b.txt", b"b")
    (station.root / "1").unlink()
    station.add("c.txt", b"c")
    done = station.run(*station.syncing())
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


def test_broken_download_goes_on_where_it_broke(station: Station, proxy: Proxy) -> None:
    station.add("large.bin", LARGE)
    proxy.cuts = [3_000_000, 2_000_000]
    assert station.sync(proxy.url)[0] == "fetched large.bin"
    assert sha256(station.files()["large.bin"]).digest() == sha256(LARGE).digest()
    assert proxy.downloads() == 3
    assert len(LARGE) < proxy.sent < len(LARGE) + SLACK


def test_download_begins_anew_when_the_file_is_another_one_by_now(station: Station, proxy: Proxy) -> None:
    file_id = station.add("large.bin", LARGE)
    other = bytes(reversed(LARGE))

    def replace() -> None:
        (station.root / "0").write_bytes(other)
        station.change(file_id, path=station.root / "0")

    proxy.cuts, proxy.at_cut = [3_000_000], replace
    station.sync(proxy.url)
    assert station.files() == {"large.bin": other}


def test_file_of_the_same_size_and_time_in_the_place_of_another_is_fetched(station: Station) -> None:
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

    proxy.cuts, proxy.at_cut = [4_000_000], stall
    with subprocess.Popen(station.line(*station.syncing(), url=proxy.url), stdout=subprocess.DEVNULL) as client:
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


def test_session_that_ends_in_the_middle_is_renewed(station: Station, proxy: Proxy) -> None:
    station.add("large.bin", LARGE)
    station.add("small.txt", b"small")
    proxy.cuts, proxy.at_cut = [1_000_000], lambda: time.sleep(SESSION_SECONDS + 0.1)
    station.sync(proxy.url)
    assert station.files() == {"large.bin": LARGE, "small.txt": b"small"}
    assert proxy.requests.count(LOG_IN) == 2


def test_key_that_is_rotated_in_the_middle_ends_the_run(server: Server, station: Station, proxy: Proxy) -> None:
    station.add("small.txt", b"small")
    station.add("large.bin", LARGE)
    proxy.cuts, proxy.at_cut = [1_000_000], lambda: server.manage("rotatekey", "rotated")
    done = station.run(*station.syncing(), url=proxy.url, name="rotated")
    assert (done.returncode, done.stdout) == (1, "fetched small.txt\n")
    assert done.stderr == (
        f"{proxy.url} does not let rotated in: Handshake challenge response failed. Are name and key right?\n"
    )
    assert station.sync(proxy.url)[:-1] == ["fetched large.bin"]
    assert station.files() == {"small.txt": b"small", "large.bin": LARGE}


def test_two_runs_do_not_share_a_folder(station: Station) -> None:
    station.sync()
    with (station.folder / ".files-sync.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = station.run(*station.syncing())
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"Another run is syncing {station.folder}.\n",
    )


def test_folder_follows_one_registry(station: Station, proxy: Proxy) -> None:
    station.sync()
    done = station.run(*station.syncing(), url=proxy.url)
    assert (done.returncode, done.stderr) == (
        1,
        f"{station.folder} is kept in step with {station.url}; sync another folder.\n",
    )


# A registry that means it ill


def test_hostile_serve_paths_write_nothing(scripted: Scripted, station: Station, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for directory in ("deep", "directory"):
        (station.folder / directory).mkdir(parents=True)
    for link in ("linked", "deep/linked"):
        (station.folder / link).symlink_to(outside)
    for number, serve_path in enumerate([*HOSTILE, str(outside / "escaped")]):
        scripted.lists(serve_path, id=number, modified=number + 1.5)
        scripted.answers.append((b"evil", 200, {"ETag": '"1"'}))
    before = {path for path in tmp_path.rglob("*") if ".files-" not in str(path)}
    done = station.run("sync", station.folder, url=scripted.url)
    refused = len(HOSTILE) + 1
    assert (done.returncode, done.stdout) == (1, f"0 fetched, 0 moved, 0 unchanged, 0 removed, {refused} failed\n")
    assert [line.split()[:2] for line in done.stderr.splitlines()] == [["failed", str(n)] for n in range(refused)]
    assert {path for path in tmp_path.rglob("*") if ".files-" not in str(path)} == before
    assert station.since() == 0.0


def test_nothing_is_removed_through_a_link(scripted: Scripted, station: Station, tmp_path: Path) -> None:
    scripted.lists("dir/a.txt")
    scripted.answers = [(b"good", 200, {"ETag": '"1"'})]
    assert station.run("sync", station.folder, url=scripted.url).returncode == 0
    (station.folder / "dir").rename(tmp_path / "outside")
    (station.folder / "dir").symlink_to(tmp_path / "outside")
    scripted.entries[0] |= {"alive": False, "modified": 2.5}
    assert station.run("sync", station.folder, url=scripted.url).stdout == f"{NOTHING}\n"
    assert (tmp_path / "outside" / "a.txt").read_bytes() == b"good"


def test_list_that_is_none_ends_the_run(scripted: Scripted, station: Station) -> None:
    scripted.lists("a.txt", id="../../7")
    done = station.run("sync", station.folder, url=scripted.url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "The registry's list is not understood.\n")


@pytest.mark.parametrize(
    "strange",
    [
        {"size": "4"},
        {"size": None},
        {"modified": float("nan")},
        {"modified": 1e300},
        {"serve_path": 5},
        {"path": 5},
        {"alive": "no"},
    ],
)
def test_entry_that_is_none_is_not_understood(scripted: Scripted, strange: dict[str, Any]) -> None:
    scripted.lists(**{"serve_path": "a.txt", **strange})
    with pytest.raises(TypeError):
        files_client.Entry.from_json(scripted.entries[0])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"more than was said", "/there"),
        (b"les", "/there"),
        (b"evil", f"upload:{sha256(b'good').hexdigest()}"),
    ],
)
def test_bytes_that_the_list_does_not_speak_of_are_not_kept(
    scripted: Scripted, station: Station, body: bytes, path: str
) -> None:
    scripted.lists("a.txt", path=path)
    scripted.answers = [(body, 200, {"ETag": '"1"'})]
    done = station.run("sync", station.folder, url=scripted.url)
    assert (done.returncode, done.stderr) == (
        1,
        "failed 7 'a.txt': what came is not what the list says; it may have changed meanwhile\n",
    )
    assert station.files() == {}
    assert not (station.folder / ".files-partial" / "7").exists()


@pytest.mark.parametrize("status", [429, 503])
def test_what_is_put_off_is_asked_for_again(scripted: Scripted, station: Station, status: int) -> None:
    scripted.lists("a.txt")
    later = ({"success": False, "message": "Later."}, status, {"Retry-After": "0"})
    scripted.answers = [later, later, (b"good", 200, {"ETag": '"1"'})]
    assert station.run("sync", station.folder, url=scripted.url).returncode == 0
    assert station.files() == {"a.txt": b"good"}


def test_what_is_put_off_for_ever_is_given_up(scripted: Scripted, station: Station) -> None:
    scripted.lists("a.txt")
    scripted.answers = [({"success": False, "message": "Later."}, 503, {"Retry-After": "0"})] * 10
    done = station.run("sync", station.folder, url=scripted.url)
    assert (done.returncode, done.stderr) == (1, "failed 7 'a.txt': GET /7: the registry has put it off 5 times\n")
    assert len(scripted.answers) == 5


def test_token_is_not_told_to_the_server_that_has_the_bytes(scripted: Scripted, station: Station) -> None:
    elsewhere = Scripted()
    elsewhere.answers = [(b"good", 200, {"ETag": '"1"'})]
    scripted.lists("a.txt")
    scripted.answers = [(b"", 302, {"Location": f"{elsewhere.url}/signed"})]
    with serving(elsewhere):
        assert station.run("sync", station.folder, url=scripted.url).returncode == 0
    assert station.files() == {"a.txt": b"good"}
    ((path, headers),) = elsewhere.asked
    assert path == "/signed"
    assert "Authorization" not in headers
    assert {told["Authorization"] for _, told in scripted.asked} == {"Bearer secret"}


def test_bytes_without_an_etag_are_never_put_together(scripted: Scripted, station: Station) -> None:
    scripted.lists("a.txt")
    partial = station.folder / ".files-partial" / "7"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"god")
    scripted.answers = [(b"good", 200, {})]
    assert station.run("sync", station.folder, url=scripted.url).returncode == 0
    assert "Range" not in scripted.asked[1][1]
    assert station.files() == {"a.txt": b"good"}


# The other commands


def test_uploaded_file_is_listed_fetched_and_removed(station: Station, tmp_path: Path) -> None:
    (tmp_path / "今日.txt").write_bytes(LARGE)
    about = ("--category", station.category, "--aired", "--expiration", "4000000000.5")
    uploaded = station.run("upload", tmp_path / "今日.txt", "天气/今日.txt", *about)
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
    told = json.loads(added.stdout)
    assert (told["path"], told["serve_path"], told["size"]) == (str(station.root / "a.txt"), "b.txt", 1)
    station.ids.append(told["id"])
    station.sync()
    assert station.files() == {"b.txt": b"a"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("add", "/etc/passwd", "x"), "The registry refuses: /etc/passwd does not fall under "),
        (("remove", "0"), "The registry refuses: File with id 0 does not exist."),
        (("list", "--serve-path", "("), "The registry refuses: Invalid regular expression for serve_path: ("),
        (("upload", "/nowhere", "x"), "[Errno 2] No such file or directory: '/nowhere'"),
    ],
)
def test_refusal_is_one_line(station: Station, command: tuple[str, ...], words: str) -> None:
    done = station.run(*command)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith(words)


def test_wrong_key_is_one_line(station: Station, tmp_path: Path) -> None:
    station.key_file = tmp_path / "wrong.key"
    station.key_file.write_bytes(bytes(32))
    done = station.run("list")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"{station.url} does not let station in: Handshake challenge response failed. Are name and key right?\n",
    )


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("written", ["raw", "hex", "base64"])
def test_key_is_read_as_the_registry_reads_it(tmp_path: Path, size: int, written: str) -> None:
    key = secrets.token_bytes(size)
    ways = {"raw": key, "hex": key.hex(" ").encode() + b"\n", "base64": base64.b64encode(key) + b"\n"}
    (tmp_path / "key").write_bytes(ways[written])
    assert files_client.read_key(tmp_path / "key") == key


def test_no_key_is_one_line(station: Station, tmp_path: Path) -> None:
    station.key_file = tmp_path / "no.key"
    station.key_file.write_text("none\n")
    done = station.run("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{station.key_file} holds no AES key of 16, 24 or 32 bytes.\n"


def test_client_says_that_nobody_answers(station: Station) -> None:
    done = station.run("list", url=f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(" fails: [Errno 111] Connection refused\n")


@pytest.mark.parametrize("command", [(), ("sync",), ("dance",), ("remove", "all")])
def test_client_says_how_it_is_used(station: Station, command: tuple[str, ...]) -> None:
    done = station.run(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: files_client.py ")
