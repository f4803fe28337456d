"""Machines with a key, and how they reach the file registry: as the clients of the original do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from django.core.cache import cache
from django.test import Client as HTTPClient

from files import clients
from files.models import Client, Rights

KEY = b"This is a key123"
READER_KEY = bytes(range(32))


def encrypted(key: bytes, challenge: dict[str, Any]) -> bytes:
    """What a client makes of a challenge: AES in CBC mode without padding, by code that is not the registry's."""
    encryptor = Cipher(AES(key), CBC(challenge["cipher_iv"].encode())).encryptor()
    return encryptor.update(challenge["text"].encode()) + encryptor.finalize()


class Machine(HTTPClient):
    """Sends forms that do not say that they are forms; `token`, once there is one, goes with every request."""

    def __init__(self, name: str, key: bytes) -> None:
        super().__init__(raise_request_exception=False)
        self.name, self.key, self.token = name, key, ""

    def ask(self, method: str, path: str, parameters: dict[str, Any] | None = None, **more: Any) -> Any:
        """Parameters go in the query of GET, HEAD and DELETE, and else in a body without a Content-Type."""
        given = ({"session_token": self.token} if self.token else {}) | (parameters or {})
        if method in ("GET", "HEAD", "DELETE"):
            return self.generic(method, f"{path}?{urlencode(given)}", **more)
        return self.generic(method, path, urlencode(given), content_type="", **more)

    def challenge(self) -> dict[str, Any]:
        challenge: dict[str, Any] = self.ask("POST", "/auth", {"client_name": self.name}).json()["challenge"]
        return challenge

    def answer(self, challenge: dict[str, Any], **changes: Any) -> Any:
        """The right answer to a challenge, but for `changes`; those that are None are left out."""
        right = {
            "client_name": self.name,
            "id": challenge["id"],
            "encrypted_text": encrypted(self.key, challenge),
        }
        given = {name: value for name, value in {**right, **changes}.items() if value is not None}
        return self.ask("POST", "/auth_verify", given)

    def log_in(self, **changes: Any) -> str:
        """A new session → its token, which is used from now on."""
        self.token = ""
        self.token = self.answer(self.challenge(), **changes).json()["session"]["token"]
        return self.token


@pytest.fixture(autouse=True)
def fresh_counters() -> Iterator[None]:
    """Requests are counted in the cache, from one test to the next."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def box(db: None) -> Client:
    """Reads and writes."""
    return clients.add("box", KEY, actor="test")


@pytest.fixture
def reader(db: None) -> Client:
    """Only reads."""
    return clients.add("reader", READER_KEY, actor="test", rights=Rights.READ)


@pytest.fixture
def machine(box: Client) -> Machine:
    """The box, which has no session yet."""
    return Machine(box.name, KEY)


@pytest.fixture
def as_box(machine: Machine) -> Machine:
    """The box with a session."""
    machine.log_in()
    return machine


@pytest.fixture
def as_reader(reader: Client) -> Machine:
    """The reader with a session."""
    machine = Machine(reader.name, READER_KEY)
    machine.log_in()
    return machine


@pytest.fixture
def session(as_box: Machine) -> str:
    """The token of a session of the box."""
    return as_box.token


@pytest.fixture
def file_root(tmp_path: Path, settings: Any) -> Path:
    """The one directory that files on the server's disk may be registered from."""
    directory = tmp_path / "root"
    directory.mkdir()
    settings.FILE_ROOTS = [str(directory)]
    return directory
