"""A client of the file registry: it logs in with its key, and keeps a local folder in sync with the registered files.

To try it on this machine, with `make run` in another terminal:

    (umask 077; openssl rand -hex 32 > station.key)
    .venv/bin/python manage.py addclient station --key-file station.key
    .venv/bin/python examples/files_client.py http://127.0.0.1:8000 station --key-file station.key upload README.md docs/README.md
    .venv/bin/python examples/files_client.py http://127.0.0.1:8000 station --key-file station.key sync received

It needs Python 3.11 and `cryptography`. A run of `sync` that was interrupted, even by a power failure, is resumed by
the next one. Other files in the folder stay, unless a file of the registry has the same path.
"""  # noqa: E501

import argparse
import base64
import binascii
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

TIMEOUT_SECONDS = 60  # without a byte from the registry
MAX_RETRY_AFTER_SECONDS = 60  # the registry may ask for longer
MAX_ATTEMPTS = 5  # of a request that the registry puts off, and of a download without progress
CHUNK_SIZE = 256 * 1024  # bytes
PAGE_SIZE = 1000  # entries of a list; the registry allows no higher `count`
SAVE_INTERVAL_SECONDS = 2
PRIVATE_PREFIX = ".files-"  # of the names of our own files in the folder
FILTERS = ("id", "serve-path", "path", "uploaded", "since", "category", "aired", "alive", "count")


class Refused(Exception):
    """The registry or this client refuses one operation; others may succeed."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ConnectionBroken(Exception):
    """The connection cannot be opened, or ended before the response did."""


class FatalError(Exception):
    """The whole run has to stop."""


# --- Cryptography ------------------------------------------------------------------------------------------------


def read_key(path: Path) -> bytes:
    """Read a key of 16, 24 or 32 bytes, in hexadecimal digits, in base64 or raw; raise `FatalError`."""
    content = path.read_bytes()[:1000]
    for decode in (decode_hex, decode_base64, bytes, lambda text: text.strip(b"\r\n")):
        try:
            key = decode(content)
        except ValueError:
            continue
        if len(key) in (16, 24, 32):
            return key
    raise FatalError(f"{path} holds no AES key of 16, 24 or 32 bytes.")


def decode_hex(text: bytes) -> bytes:
    return binascii.unhexlify(b"".join(text.split()))


def decode_base64(text: bytes) -> bytes:
    bare = text.strip().rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)


def encrypt(key: bytes, iv: bytes, text: bytes) -> bytes:
    """Encrypt with AES in CBC mode, without padding: the text of a challenge has whole blocks."""
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    return encryptor.update(text) + encryptor.finalize()


# --- HTTP --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UploadForm:
    """A multipart form with a file. Each iteration reads the file from the disk, so a retry can send it again."""

    fields: Mapping[str, str]
    path: Path
    boundary: str = field(default_factory=lambda: secrets.token_hex(16))

    def __iter__(self) -> Iterator[bytes]:
        yield self._head()
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_SIZE):
                yield chunk
        yield self._tail()

    def headers(self) -> dict[str, str]:
        length = len(self._head()) + self.path.stat().st_size + len(self._tail())
        return {"Content-Type": f"multipart/form-data; boundary={self.boundary}", "Content-Length": str(length)}

    def _head(self) -> bytes:
        parts = [f'name="{name}"\r\n\r\n{value}' for name, value in self.fields.items()]
        parts.append('name="file"; filename="file"\r\nContent-Type: application/octet-stream\r\n\r\n')
        return "\r\n".join(f"--{self.boundary}\r\nContent-Disposition: form-data; {part}" for part in parts).encode()

    def _tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()


class Registry:
    """A registry with the session of one client. Methods raise `Refused`, `ConnectionBroken` and `FatalError`."""

    def __init__(self, url: str, name: str, key: bytes) -> None:
        self.url, self.name, self.key = url.rstrip("/"), name, key
        self.token = ""

    def log_in(self) -> None:
        """Open a session: encrypt the text of a challenge, which proves that we have the key without sending it."""
        self.token = ""
        try:
            challenge = self.request("POST", "/auth", {"client_name": self.name})["challenge"]
            if challenge["cipher"] != "AES_CBC":
                raise Refused(f"it wants the cipher {challenge['cipher']}")
            encrypted = encrypt(self.key, challenge["cipher_iv"].encode(), challenge["text"].encode())
            answer = {"client_name": self.name, "id": challenge["id"], "encrypted_text": encrypted}
            self.token = str(self.request("POST", "/auth_verify", answer)["session"]["token"])
        except Refused as error:
            raise FatalError(f"{self.url} does not let {self.name} in: {error}. Are name and key right?") from error
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise FatalError(f"What answers at {self.url} is no file registry.") from error

    def request(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> Any:
        """Send a form, or nothing, and return the JSON of the response."""
        return self._read_json(self.send(method, path, urlencode(fields).encode() if fields else None))

    def upload(self, form: UploadForm) -> Any:
        """Send a form with a file, and return the JSON of the response."""
        try:
            return self._read_json(self.send("POST", "/", form, form.headers()))
        except ConnectionBroken as error:  # a registry that refuses a large file may close without reading it all
            raise ConnectionBroken(f"{error}. Is the file larger than it may be there?") from error

    def send(
        self, method: str, path: str, body: bytes | UploadForm | None = None, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        """Send a request, and return the response. Log in again if the session has ended; wait if the registry asks."""
        for _ in range(MAX_ATTEMPTS):
            request = Request(self.url + path, body, dict(headers or {}), method=method)  # noqa: S310
            if self.token:  # unredirected: the registry may send us to another server for the bytes of a file
                request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            try:
                response: HTTPResponse = urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
                return response
            except HTTPError as error:
                self._prepare_retry(error)
            except (OSError, HTTPException) as error:
                raise ConnectionBroken(str(getattr(error, "reason", error)) or type(error).__name__) from error
        raise Refused(f"{method} {path}: the registry has put it off {MAX_ATTEMPTS} times")

    def download(self, file_id: int, size: int, partial: Path, etag: str = "") -> str:
        """Download a file into `partial`, which may hold the beginning of it, and return its ETag.

        Raises `Refused` with status 304 if the file still has the `etag`.
        """
        attempts_without_progress = 0
        while True:
            length_before = file_size(partial)
            try:
                return self._receive(file_id, size, partial, etag)
            except ConnectionBroken:
                attempts_without_progress = 0 if file_size(partial) > length_before else attempts_without_progress + 1
                if attempts_without_progress == MAX_ATTEMPTS:
                    raise
                time.sleep(attempts_without_progress)

    def _receive(self, file_id: int, size: int, partial: Path, etag: str) -> str:
        # The ETag of the partial file lies beside it. With If-Range the registry sends the rest of those very bytes,
        # or all bytes of another file; so two files are never mixed.
        etag_file = partial.with_suffix(".etag")
        headers = {"If-None-Match": etag} if etag else {}
        # The last byte is requested again: a range that begins after the end would be an error (416).
        start = max(file_size(partial) - 1, 0)
        if start and file_size(etag_file):
            headers |= {"Range": f"bytes={start}-", "If-Range": etag_file.read_text()}
        with self.send("GET", f"/{file_id}", headers=headers) as response:
            if response.status != 206:
                start = 0
                partial.write_bytes(b"")  # before the new ETag: the old bytes must not get it
                response_etag = response.headers.get("ETag", "")
                etag_file.write_text(response_etag if response_etag.startswith('"') else "")  # a weak one is no use
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise Refused("the registry sends another part than it was asked for")
            write_body(response, partial, start, size)
        return etag_file.read_text()

    def _prepare_retry(self, error: HTTPError) -> None:
        """Log in or wait, so that the next attempt may succeed; raise `Refused` if none would."""
        with error:
            try:
                message = str(json.load(error)["message"])
            except (OSError, HTTPException, ValueError, LookupError, TypeError):
                message = f"{error.code} {error.reason}"  # from a proxy, not from a registry
        if error.code == 401 and self.token:
            self.log_in()
        elif error.code in (429, 503):
            retry_after = error.headers.get("Retry-After", "")
            time.sleep(min(int(retry_after) if retry_after.isdecimal() else 1, MAX_RETRY_AFTER_SECONDS))
        else:
            raise Refused(message, error.code) from error

    def _read_json(self, response: HTTPResponse) -> Any:
        try:
            with response:
                body = json.load(response)
            # Many failures of this protocol have status 200: `success` counts.
            if body["success"] is True:
                return body
            raise Refused(str(body["message"]), response.status)
        except (OSError, HTTPException) as error:
            raise ConnectionBroken(f"the answer ended too early ({error})") from error
        except (ValueError, LookupError, TypeError) as error:
            raise FatalError(f"What answers at {self.url} is no file registry.") from error


def file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def write_body(response: HTTPResponse, partial: Path, start: int, size: int) -> None:
    """Write a body into a file from `start` on; stop one byte after `size`, which is enough to see that it is wrong."""
    with partial.open("r+b") as file:
        file.truncate(start)
        file.seek(start)
        while True:
            try:
                chunk = response.read1(min(CHUNK_SIZE, size + 1 - file.tell()))
            except (OSError, HTTPException) as error:
                raise ConnectionBroken(str(error)) from error
            if not chunk:
                break
            file.write(chunk)
        if file.tell() < size and response.length:  # `read1` reports no error for a body that is too short
            raise ConnectionBroken("the connection ended in the middle of a file")


# --- The folder --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """An entry of the registry's list, with the fields that matter here."""

    id: int
    serve_path: str
    path: str
    size: int
    modified: float
    category: str | None
    alive: bool

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Entry":
        """Check the fields of an entry; raise `LookupError` and `TypeError`."""
        entry = cls(**{name: fields[name] for name in cls.__dataclass_fields__})
        types = (("id", int), ("serve_path", str), ("path", str), ("size", int), ("alive", bool))
        # The comparison is false for NaN, too, which JSON in Python may hold.
        if not all(isinstance(getattr(entry, name), kind) for name, kind in types) or not 0 <= entry.modified < 1e11:
            raise TypeError(fields)
        return entry


@dataclass(frozen=True)
class SyncedFile:
    """A file that we have put into the folder. Its time on the disk is `modified`; with another time it is not ours."""

    serve_path: str
    size: int
    modified: float
    etag: str


class Folder:
    """A local folder with a state that outlives a run: our files by id, and the time up to which all is synced."""

    def __init__(self, path: Path, source: list[str | None]) -> None:
        self.path, self.partials = path.resolve(), path.resolve() / f"{PRIVATE_PREFIX}partial"
        self.state = self.path / f"{PRIVATE_PREFIX}sync.json"
        self.source = source  # URL, category and pattern
        self.since, self.files, self.saved_at = 0.0, dict[int, SyncedFile](), time.monotonic()
        self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of this folder; load the state at the beginning, and save it at the end."""
        with (self.path / f"{PRIVATE_PREFIX}sync.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FatalError(f"Another run is syncing {self.path}.") from error
            self._load()
            self.partials.mkdir(exist_ok=True)
            try:
                yield
            finally:
                self.save()

    def _load(self) -> None:
        if not self.state.exists():
            return
        state = json.loads(self.state.read_bytes())
        if state["source"][0] != self.source[0]:
            raise FatalError(f"{self.path} is kept in step with {state['source'][0]}; sync another folder.")
        self.files = {int(file_id): SyncedFile(**fields) for file_id, fields in state["files"].items()}
        # With another category or pattern the run begins at 0, for older entries may match now.
        if state["source"] == self.source:
            self.since = state["since"]

    def save(self) -> None:
        files = {file_id: asdict(file) for file_id, file in self.files.items()}
        new_state = self.state.with_suffix(".new")
        new_state.write_text(json.dumps({"source": self.source, "since": self.since, "files": files}))
        move_durably(new_state, self.state)
        self.saved_at = time.monotonic()

    def local_path(self, serve_path: str) -> Path:
        """Return the path for a serve path; raise `Refused` if it could lead out of the folder.

        The registry is not trusted: one that was taken over must not write anywhere else on this machine.
        """
        *parents, name = serve_path.split("/")
        is_strange = "\\" in serve_path or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in serve_path)
        if is_strange or not {"", ".", ".."}.isdisjoint([*parents, name]) or serve_path.startswith(PRIVATE_PREFIX):
            raise Refused("no place for a file")
        directory = self.path
        for parent in parents:
            directory /= parent
            if directory.is_symlink():
                raise Refused(f"{directory} is a link")
        return directory / name

    def is_unchanged(self, file: SyncedFile) -> bool:
        """Return whether a file is on the disk as we have put it there."""
        try:
            status = self.local_path(file.serve_path).lstat()
        except (Refused, OSError):
            return False
        return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (
            file.size,
            to_nanoseconds(file.modified),
        )

    def store(self, entry: Entry, source: Path, etag: str) -> None:
        """Move a complete file to the path of its entry."""
        target = self.local_path(entry.serve_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.utime(source, ns=(to_nanoseconds(entry.modified), to_nanoseconds(entry.modified)))
        move_durably(source, target)
        for parent in target.relative_to(self.path).parents:  # directories that are new have to be durable, too
            fsync(self.path / parent)
        self.files[entry.id] = SyncedFile(entry.serve_path, entry.size, entry.modified, etag)

    def remove(self, file: SyncedFile) -> None:
        """Remove a file from the disk, and the directories that are empty then."""
        path = self.local_path(file.serve_path)
        path.unlink()
        self.remove_empty_parents(path)

    def remove_empty_parents(self, path: Path) -> None:
        for parent in path.parents:
            if parent == self.path or any(parent.iterdir()):
                return
            parent.rmdir()


def to_nanoseconds(modified: float) -> int:
    # Through microseconds: a float holds a time of today no more precisely, so both sides round to the same.
    return round(modified * 1_000_000) * 1000


def move_durably(source: Path, target: Path) -> None:
    """Move a file atomically and durably: after a power failure the target is the old file or the new one."""
    fsync(source)
    source.replace(target)
    fsync(target.parent)


def fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- Syncing -----------------------------------------------------------------------------------------------------


class Sync:
    """One run of `sync`.

    It requests the changes of all files and selects here: a file that leaves the category would be in no list of it.
    """

    def __init__(self, registry: Registry, folder: Folder, category: str | None, pattern: str | None) -> None:
        self.registry, self.folder, self.category = registry, folder, category
        self.pattern = re.compile(pattern or "")
        self.counts = dict.fromkeys(("fetched", "moved", "unchanged", "removed", "failed"), 0)

    def run(self) -> bool:
        """Sync the folder, and return whether everything succeeded."""
        for page in self._changes():
            for entry in sorted(page, key=lambda entry: entry.alive):  # dead ones first: others may have their paths
                self._process(entry)
            # After a failure `since` stays, so that the next run sees the failed entry again.
            if page and not self.counts["failed"]:
                self.folder.since = page[-1].modified
        print(", ".join(f"{count} {outcome}" for outcome, count in self.counts.items()))
        if not self.counts["failed"]:
            shutil.rmtree(self.folder.partials)
        return not self.counts["failed"]

    def _changes(self) -> Iterable[list[Entry]]:
        """Yield pages of changes in their order. Each list begins with the last entry of the one before."""
        since, last = self.folder.since, None
        while page := self._list(since=since, count=PAGE_SIZE):
            if page[-1].modified == since:  # nothing new, or more changes with one time than fit a page
                page = self._list(since=since)
            yield [entry for entry in page if entry != last]
            last = page[-1]
            if last.modified == since:
                return
            since = last.modified

    def _list(self, **filters: Any) -> list[Entry]:
        body = self.registry.request("GET", f"/?{urlencode(filters)}")
        try:
            return [Entry.from_json(fields) for fields in body["results"]]
        except (LookupError, TypeError) as error:
            raise FatalError("The registry's list is not understood.") from error

    def _process(self, entry: Entry) -> None:
        """Bring one file up to date, and print a line about it unless there was nothing to do."""
        try:
            outcome = self._update(entry)
            if outcome:
                print(f"{outcome} {entry.serve_path}", flush=True)
        except (Refused, OSError) as error:
            outcome = "failed"
            print(f"{outcome} {entry.id} {entry.serve_path!r}: {error}", file=sys.stderr, flush=True)
        if outcome:
            self.counts[outcome] += 1
        if time.monotonic() > self.folder.saved_at + SAVE_INTERVAL_SECONDS:
            self.folder.save()

    def _update(self, entry: Entry) -> str | None:
        """Make the folder agree with an entry, and return the outcome; None if it agreed already."""
        file = self.folder.files.get(entry.id)
        if file and not self.folder.is_unchanged(file):
            file = None  # somebody else's by now: it is not removed, but replaced if its path is needed
        in_category = self.category is None or entry.category == self.category
        if not (entry.alive and in_category and self.pattern.search(entry.serve_path)):
            if file:
                self.folder.remove(file)
            self.folder.files.pop(entry.id, None)
            return "removed" if file else None
        if file and (file.serve_path, file.modified) == (entry.serve_path, entry.modified):
            return None
        self.folder.local_path(entry.serve_path)  # refuses a bad path before anything is downloaded
        return self._fetch(entry, file)

    def _fetch(self, entry: Entry, file: SyncedFile | None) -> str:
        """Download a file, or move it if only its path has changed."""
        partial = self.folder.partials / str(entry.id)
        try:
            etag = self.registry.download(entry.id, entry.size, partial, file.etag if file else "")
        except Refused as error:
            if error.status != 304 or file is None:
                raise
            old_path = self.folder.local_path(file.serve_path)
            self.folder.store(entry, old_path, file.etag)
            self.folder.remove_empty_parents(old_path)
            return "unchanged" if file.serve_path == entry.serve_path else "moved"
        check_download(entry, partial)
        self.folder.store(entry, partial, etag)
        if file and file.serve_path != entry.serve_path:
            self.folder.remove(file)
        return "fetched"


def check_download(entry: Entry, partial: Path) -> None:
    """Compare a download with its entry: an upload by its SHA-256, any file by its size; raise `Refused`."""
    with partial.open("rb") as file:
        scheme, _, sha256 = entry.path.partition(":")
        is_right = scheme != "upload" or hashlib.file_digest(file, "sha256").hexdigest() == sha256
    if not is_right or file_size(partial) != entry.size:
        partial.unlink()
        raise Refused("what came is not what the list says; it may have changed meanwhile")


# --- The command line --------------------------------------------------------------------------------------------


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A client of the file registry.")
    parser.add_argument("url", help="such as http://127.0.0.1:8000")
    parser.add_argument("name", help="of this client at the registry")
    parser.add_argument("--key-file", type=Path, required=True, help="the key: in hexadecimal digits, base64, or raw")
    commands = parser.add_subparsers(dest="command", required=True)
    sync = commands.add_parser("sync", help="fetch the changed files into a folder")
    sync.add_argument("folder", type=Path)
    sync.add_argument("--category", help="only files of this category")
    sync.add_argument("--serve-path", metavar="REGEX", help="only files whose serve path matches")
    commands.add_parser("add", help="register a file that is on the server's disk").add_argument("path")
    commands.add_parser("upload", help="upload and register a file").add_argument("file", type=Path)
    for command in (commands.choices["add"], commands.choices["upload"]):
        command.add_argument("serve_path", help="path in the folders of receivers")
        command.add_argument("--category")
        command.add_argument("--aired", action="store_const", const="true")
        command.add_argument("--expiration", metavar="T", help="time at which the file dies, in seconds since 1970")
    listing = commands.add_parser("list", help="list entries, one JSON object per line")
    for name in FILTERS:
        listing.add_argument(f"--{name}")
    commands.add_parser("remove", help="mark a file as dead").add_argument("id", type=int)
    arguments = parser.parse_args()
    if not arguments.url.startswith(("http://", "https://")):
        parser.error("the URL begins with http:// or https://")
    return arguments


def run_command(registry: Registry, arguments: argparse.Namespace) -> bool:
    """Run the command of the command line, and return whether all of it succeeded."""
    if arguments.command == "sync":
        folder = Folder(arguments.folder, [registry.url, arguments.category, arguments.serve_path])
        with folder.locked():
            registry.log_in()
            return Sync(registry, folder, arguments.category, arguments.serve_path).run()
    registry.log_in()
    if arguments.command == "remove":
        registry.request("DELETE", f"/{arguments.id}")
        print(f"removed {arguments.id}")
        return True
    own_arguments = ("url", "name", "key_file", "command", "file")  # all others are fields of the request
    fields = {name: text for name, text in vars(arguments).items() if name not in own_arguments and text is not None}
    if arguments.command == "list":
        body = registry.request("GET", f"/?{urlencode(fields)}")
    elif arguments.command == "add":
        body = registry.request("POST", "/", fields)
    else:
        body = registry.upload(UploadForm(fields, arguments.file))
    for entry in body["results"]:
        print(json.dumps(entry, ensure_ascii=False))
    return True


def main() -> None:
    """Run, and exit with 0 for success, 1 and a line on standard error for failure, 2 for wrong arguments."""
    arguments = read_arguments()
    try:
        registry = Registry(arguments.url, arguments.name, read_key(arguments.key_file))
        sys.exit(not run_command(registry, arguments))
    except Refused as error:
        sys.exit(f"The registry refuses: {error}")
    except ConnectionBroken as error:
        sys.exit(f"The connection to {arguments.url} fails: {error}")
    except (FatalError, OSError, re.error) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")


if __name__ == "__main__":
    main()
