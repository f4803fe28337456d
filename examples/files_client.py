"""A client of the file registry: it logs in with its key, and keeps a folder in step with what is registered.

To try it on this machine, with `make run` in another terminal:

    (umask 077; openssl rand -hex 32 > station.key)
    .venv/bin/python manage.py addclient station --key-file station.key
    .venv/bin/python examples/files_client.py http://127.0.0.1:8000 station --key-file station.key upload README.md docs/README.md
    .venv/bin/python examples/files_client.py http://127.0.0.1:8000 station --key-file station.key sync received

Beyond Python 3.11 it needs `cryptography` alone. What a run of `sync` has not finished, however it ended, the next one
goes on with. What else lies in the folder stays, unless a file of the registry takes its place.
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

PATIENCE = 60  # seconds without a byte
LONGEST_WAIT = 60  # seconds, however long the registry asks us to wait
TRIES = 5  # of what the registry puts off, and of a download that does not get on
PIECE = 256 * 1024  # bytes
PAGE = 1000  # entries of a list
SAVE_EVERY = 2  # seconds
OURS = ".files-"  # how the names begin that we keep in the folder for ourselves
FILTERS = ("id", "serve-path", "path", "uploaded", "since", "category", "aired", "alive", "count")


class Refused(Exception):
    """The registry, or this client, does not do one thing; others may go well."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Broken(Exception):
    """The connection cannot be made, or has ended before the answer did."""


class Stopped(Exception):
    """Nothing goes on from here."""


def read_key(path: Path) -> bytes:
    """16, 24 or 32 bytes: in hexadecimal digits, in base64, or as they are; raises `Stopped`."""
    given = path.read_bytes()[:1000]
    for read in (_from_hex, _from_base64, bytes, lambda text: text.strip(b"\r\n")):
        try:
            key = read(given)
        except ValueError:
            continue
        if len(key) in (16, 24, 32):
            return key
    raise Stopped(f"{path} holds no AES key of 16, 24 or 32 bytes.")


def _from_hex(text: bytes) -> bytes:
    return binascii.unhexlify(b"".join(text.split()))


def _from_base64(text: bytes) -> bytes:
    bare = text.strip().rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)


def encrypt(key: bytes, iv: bytes, text: bytes) -> bytes:
    """AES in CBC mode without padding: a challenge has whole blocks."""
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    return encryptor.update(text) + encryptor.finalize()


@dataclass(frozen=True)
class Upload:
    """A form with a file, read anew from the disk each time that it is sent."""

    fields: Mapping[str, str]
    path: Path
    boundary: str = field(default_factory=lambda: secrets.token_hex(16))

    def __iter__(self) -> Iterator[bytes]:
        yield self._head()
        with self.path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece
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
    """A registry, as one client sees it. Methods raise `Refused`, `Broken` and `Stopped`."""

    def __init__(self, url: str, name: str, key: bytes) -> None:
        self.url, self.name, self.key = url.rstrip("/"), name, key
        self.token = ""

    def log_in(self) -> None:
        """Prove that we have the key without sending it: encrypt a text that the registry has just made up."""
        self.token = ""
        try:
            challenge = self.ask("POST", "/auth", {"client_name": self.name})["challenge"]
            if challenge["cipher"] != "AES_CBC":
                raise Refused(f"it wants the cipher {challenge['cipher']}")
            encrypted = encrypt(self.key, challenge["cipher_iv"].encode(), challenge["text"].encode())
            answer = {"client_name": self.name, "id": challenge["id"], "encrypted_text": encrypted}
            self.token = str(self.ask("POST", "/auth_verify", answer)["session"]["token"])
        except Refused as error:
            raise Stopped(f"{self.url} does not let {self.name} in: {error}. Are name and key right?") from error
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise Stopped(f"What answers at {self.url} is no file registry.") from error

    def ask(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> Any:
        """Send a form, or none, and read JSON. Failures come with `success` false, many of them with status 200."""
        return self._read(self.open(method, path, urlencode(fields).encode() if fields else None))

    def upload(self, form: Upload) -> Any:
        """The same with a file in the form."""
        try:
            return self._read(self.open("POST", "/", form, form.headers()))
        except Broken as error:  # a registry that refuses need not listen to the end
            raise Broken(f"{error}. Is the file larger than it may be there?") from error

    def open(
        self, method: str, path: str, body: bytes | Upload | None = None, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        """The answer, once there is one: a session that has ended is renewed, a pause that is asked for is made."""
        for _ in range(TRIES):
            request = Request(self.url + path, body, dict(headers or {}), method=method)  # noqa: S310
            if self.token:  # it stays here when we are sent to another server for the bytes
                request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            try:
                opened: HTTPResponse = urlopen(request, timeout=PATIENCE)  # noqa: S310
                return opened
            except HTTPError as error:
                self._mend(error)
            except (OSError, HTTPException) as error:
                raise Broken(str(getattr(error, "reason", error)) or type(error).__name__) from error
        raise Refused(f"{method} {path}: the registry has put it off {TRIES} times")

    def _mend(self, error: HTTPError) -> None:
        """Do what makes another try worth while; raises `Refused` when nothing does."""
        with error:
            message = _message(error)
        if error.code == 401 and self.token:
            self.log_in()
        elif error.code in (429, 503):
            asked = error.headers.get("Retry-After", "")
            time.sleep(min(int(asked) if asked.isdecimal() else 1, LONGEST_WAIT))
        else:
            raise Refused(message, error.code) from error

    def _read(self, answer: HTTPResponse) -> Any:
        try:
            with answer:
                read = json.load(answer)
            if read["success"] is True:
                return read
            raise Refused(str(read["message"]), answer.status)
        except (OSError, HTTPException) as error:
            raise Broken(f"the answer ended too early ({error})") from error
        except (ValueError, LookupError, TypeError) as error:
            raise Stopped(f"What answers at {self.url} is no file registry.") from error

    def download(self, number: int, size: int, partial: Path, etag: str = "") -> str:
        """The bytes of a file into `partial`, be there some of them or none → their ETag.

        Raises `Refused` with status 304 when they still have the `etag` that is given.
        """
        idle = 0
        while True:
            before = _length(partial)
            try:
                return self._receive(number, size, partial, etag)
            except Broken:
                idle = 0 if _length(partial) > before else idle + 1
                if idle == TRIES:
                    raise
                time.sleep(idle)

    def _receive(self, number: int, size: int, partial: Path, etag: str) -> str:
        """One try. Of a part that is there the last byte is asked for again, so that a whole is nothing special."""
        start, stored = max(_length(partial) - 1, 0), partial.with_suffix(".etag")
        headers = {"If-None-Match": etag} if etag else {}
        if start and _length(stored):
            headers |= {"Range": f"bytes={start}-", "If-Range": stored.read_text()}
        with self.open("GET", f"/{number}", headers=headers) as answer:
            if answer.status != 206:  # all of it, be it that the file is another one by now
                start = 0
                partial.write_bytes(b"")  # before the ETag of other bytes
                strong = answer.headers.get("ETag", "")
                stored.write_text(strong if strong.startswith('"') else "")
            elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise Refused("the registry sends another part than it was asked for")
            _copy(answer, partial, start, size)
        return stored.read_text()


def _message(error: HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return f"{error.code} {error.reason}"  # of something between, which is no registry


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _copy(answer: HTTPResponse, partial: Path, start: int, size: int) -> None:
    """From `start` on; no more than `size` bytes come to be there, and one that tells that there are more."""
    with partial.open("r+b") as file:
        file.truncate(start)
        file.seek(start)
        while piece := _piece(answer, size + 1 - file.tell()):
            file.write(piece)
        if file.tell() < size and answer.length:  # http.client is silent about it
            raise Broken("the connection ended in the middle of a file")


def _piece(answer: HTTPResponse, most: int) -> bytes:
    try:
        return answer.read1(min(PIECE, most))
    except (OSError, HTTPException) as error:
        raise Broken(str(error)) from error


@dataclass(frozen=True)
class Entry:
    """What a list says of a file: as far as it matters here, and no stranger than it may be."""

    id: int
    serve_path: str
    path: str
    size: int
    modified: float
    category: str | None
    alive: bool

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> "Entry":
        """Raises `LookupError` and `TypeError`."""
        entry = cls(**{name: listed[name] for name in cls.__dataclass_fields__})
        kinds = (("id", int), ("serve_path", str), ("path", str), ("size", int), ("alive", bool))
        if not all(isinstance(getattr(entry, name), kind) for name, kind in kinds) or not 0 <= entry.modified < 1e11:
            raise TypeError(listed)
        return entry


@dataclass(frozen=True)
class Held:
    """A file that we have put into the folder. Its time there is `modified`; with another one it is not ours."""

    serve_path: str
    size: int
    modified: float
    etag: str


class Folder:
    """A folder, and what is remembered of it from run to run: `files` by id, and `since`, up to where all is done."""

    def __init__(self, path: Path, source: list[str | None]) -> None:
        self.path, self.partials = path.resolve(), path.resolve() / f"{OURS}partial"
        self.state = self.path / f"{OURS}sync.json"
        self.source = source
        self.since, self.files, self.saved = 0.0, dict[int, Held](), time.monotonic()
        self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While nobody else syncs this folder; what is remembered is read before, and written after."""
        with (self.path / f"{OURS}sync.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Stopped(f"Another run is syncing {self.path}.") from error
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
            raise Stopped(f"{self.path} is kept in step with {state['source'][0]}; sync another folder.")
        self.files = {int(number): Held(**held) for number, held in state["files"].items()}
        if state["source"] == self.source:  # else other files are wanted now: all have to be looked at again
            self.since = state["since"]

    def save(self) -> None:
        files = {number: asdict(held) for number, held in self.files.items()}
        new = self.state.with_suffix(".new")
        new.write_text(json.dumps({"source": self.source, "since": self.since, "files": files}))
        _move(new, self.state)
        self.saved = time.monotonic()

    def local_path(self, serve_path: str) -> Path:
        """Where a file belongs. The registry is not trusted: raises `Refused` for what might lead out of the folder."""
        *parents, name = serve_path.split("/")
        strange = "\\" in serve_path or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in serve_path)
        if strange or not {"", ".", ".."}.isdisjoint([*parents, name]) or serve_path.startswith(OURS):
            raise Refused("no place for a file")
        place = self.path
        for parent in parents:
            place /= parent
            if place.is_symlink():
                raise Refused(f"{place} is a link")
        return place / name

    def has(self, held: Held) -> bool:
        """Is the file still there as we put it?"""
        try:
            found = self.local_path(held.serve_path).lstat()
        except (Refused, OSError):
            return False
        return stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == (held.size, _ns(held.modified))

    def put(self, entry: Entry, source: Path, etag: str) -> None:
        """Move a whole file to where its entry belongs."""
        place = self.local_path(entry.serve_path)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.utime(source, ns=(_ns(entry.modified), _ns(entry.modified)))
        _move(source, place)
        for parent in place.relative_to(self.path).parents:  # some of which may be new
            _fsync(self.path / parent)
        self.files[entry.id] = Held(entry.serve_path, entry.size, entry.modified, etag)

    def remove(self, held: Held) -> None:
        """What has another place by now, or none."""
        place = self.local_path(held.serve_path)
        place.unlink()
        self.tidy(place)

    def tidy(self, place: Path) -> None:
        """Remove the directories above a place that are empty."""
        for parent in place.parents:
            if parent == self.path or any(parent.iterdir()):
                return
            parent.rmdir()


def _ns(modified: float) -> int:
    return round(modified * 1_000_000) * 1000


def _move(source: Path, place: Path) -> None:
    """At once or not at all, and to stay there also when the power fails."""
    _fsync(source)
    source.replace(place)
    _fsync(place.parent)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Sync:
    """One run. It asks for all changes, and picks: so it also learns of a file that was wanted and is no more."""

    def __init__(self, registry: Registry, folder: Folder, category: str | None, pattern: str | None) -> None:
        self.registry, self.folder, self.category = registry, folder, category
        self.pattern = re.compile(pattern or "")
        self.done = dict.fromkeys(("fetched", "moved", "unchanged", "removed", "failed"), 0)

    def run(self) -> bool:
        """Was everything fetched?"""
        for page in self._pages():
            for entry in sorted(page, key=lambda entry: entry.alive):  # dead ones first, for they make room
                self._try(entry)
            if page and not self.done["failed"]:
                self.folder.since = page[-1].modified
        print(", ".join(f"{count} {deed}" for deed, count in self.done.items()))
        if not self.done["failed"]:
            shutil.rmtree(self.folder.partials)
        return not self.done["failed"]

    def _pages(self) -> Iterable[list[Entry]]:
        """What has changed, in the order of the changes. A list begins with the last entry of the one before."""
        since, last = self.folder.since, None
        while page := self._list(since=since, count=PAGE):
            if page[-1].modified == since:  # nothing new, or more changes at one time than a page may hold
                page = self._list(since=since)
            yield [entry for entry in page if entry != last]
            last = page[-1]
            if last.modified == since:
                return
            since = last.modified

    def _list(self, **filters: Any) -> list[Entry]:
        answer = self.registry.ask("GET", f"/?{urlencode(filters)}")
        try:
            return [Entry.of(listed) for listed in answer["results"]]
        except (LookupError, TypeError) as error:
            raise Stopped("The registry's list is not understood.") from error

    def _try(self, entry: Entry) -> None:
        """One line about one file, unless there is nothing to do."""
        try:
            deed = self._bring(entry)
            if deed:
                print(f"{deed} {entry.serve_path}", flush=True)
        except (Refused, OSError) as error:
            deed = "failed"
            print(f"{deed} {entry.id} {entry.serve_path!r}: {error}", file=sys.stderr, flush=True)
        if deed:
            self.done[deed] += 1
        if time.monotonic() > self.folder.saved + SAVE_EVERY:
            self.folder.save()

    def _bring(self, entry: Entry) -> str | None:
        """Have the folder hold what the entry says → what was done for that."""
        held = self.folder.files.get(entry.id)
        if held and not self.folder.has(held):
            held = None
        if not self._wants(entry):
            if held:
                self.folder.remove(held)
            self.folder.files.pop(entry.id, None)
            return "removed" if held else None
        if held and (held.serve_path, held.modified) == (entry.serve_path, entry.modified):
            return None
        self.folder.local_path(entry.serve_path)
        return self._fetch(entry, held)

    def _wants(self, entry: Entry) -> bool:
        in_category = self.category is None or entry.category == self.category
        return entry.alive and in_category and self.pattern.search(entry.serve_path) is not None

    def _fetch(self, entry: Entry, held: Held | None) -> str:
        """Its bytes, unless we have them already, perhaps at another place."""
        partial = self.folder.partials / str(entry.id)
        try:
            etag = self.registry.download(entry.id, entry.size, partial, held.etag if held else "")
        except Refused as error:
            if error.status != 304 or held is None:
                raise
            former = self.folder.local_path(held.serve_path)
            self.folder.put(entry, former, held.etag)
            self.folder.tidy(former)
            return "unchanged" if held.serve_path == entry.serve_path else "moved"
        _check(entry, partial)
        self.folder.put(entry, partial, etag)
        if held and held.serve_path != entry.serve_path:
            self.folder.remove(held)
        return "fetched"


def _check(entry: Entry, partial: Path) -> None:
    """Of an upload the list tells the SHA-256, of other files the size."""
    with partial.open("rb") as file:
        kind, _, announced = entry.path.partition(":")
        sound = kind != "upload" or hashlib.file_digest(file, "sha256").hexdigest() == announced
    if not sound or _length(partial) != entry.size:
        partial.unlink()
        raise Refused("what came is not what the list says; it may have changed meanwhile")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A client of the file registry.")
    parser.add_argument("url", help="such as http://127.0.0.1:8000")
    parser.add_argument("name", help="under which the registry knows this client")
    parser.add_argument("--key-file", type=Path, required=True, help="the key: in hexadecimal digits, base64, or raw")
    commands = parser.add_subparsers(dest="command", required=True)
    sync = commands.add_parser("sync", help="fetch what has changed into a folder")
    sync.add_argument("folder", type=Path)
    sync.add_argument("--category", help="only files of it")
    sync.add_argument("--serve-path", metavar="REGEX", help="only files in whose serve path this is found")
    commands.add_parser("add", help="register a file that is on the server's disk").add_argument("path")
    commands.add_parser("upload", help="register a file that is on ours").add_argument("file", type=Path)
    for command in (commands.choices["add"], commands.choices["upload"]):
        command.add_argument("serve_path", help="where it ends up in the folders of receivers")
        command.add_argument("--category")
        command.add_argument("--aired", action="store_const", const="true")
        command.add_argument("--expiration", metavar="T", help="when it dies, in seconds since 1970")
    listing = commands.add_parser("list", help="entries that fit, one JSON object in a line")
    for name in FILTERS:
        listing.add_argument(f"--{name}")
    commands.add_parser("remove", help="mark a file as dead").add_argument("id", type=int)
    given = parser.parse_args()
    if not given.url.startswith(("http://", "https://")):
        parser.error("the URL begins with http:// or https://")
    return given


def act(registry: Registry, given: argparse.Namespace) -> bool:
    """Do what the command line says → whether all of it could be done."""
    if given.command == "sync":
        folder = Folder(given.folder, [registry.url, given.category, given.serve_path])
        with folder.locked():
            registry.log_in()
            return Sync(registry, folder, given.category, given.serve_path).run()
    registry.log_in()
    if given.command == "remove":
        registry.ask("DELETE", f"/{given.id}")
        print(f"removed {given.id}")
        return True
    ours = ("url", "name", "key_file", "command", "file")
    fields = {name: text for name, text in vars(given).items() if name not in ours and text is not None}
    if given.command == "list":
        answer = registry.ask("GET", f"/?{urlencode(fields)}")
    elif given.command == "add":
        answer = registry.ask("POST", "/", fields)
    else:
        answer = registry.upload(Upload(fields, given.file))
    for entry in answer["results"]:
        print(json.dumps(entry, ensure_ascii=False))
    return True


def main() -> None:
    """Leaves with 0 when all was done, with 1 and a line that says why not, with 2 when it is called wrongly."""
    given = read_arguments()
    try:
        sys.exit(not act(Registry(given.url, given.name, read_key(given.key_file)), given))
    except Refused as error:
        sys.exit(f"The registry refuses: {error}")
    except Broken as error:
        sys.exit(f"The connection to {given.url} fails: {error}")
    except (Stopped, OSError, re.error) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")


if __name__ == "__main__":
    main()
