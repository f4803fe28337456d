"""The cast, and how they reach the registry."""

import gc
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts import registration
from accounts.credentials import cargo_tokens
from accounts.models import User
from accounts.principals import Principal

PASSWORD = "correct horse"


def pytest_collection_finish() -> None:
    """The collector of garbage need not look at thousands of tests time and again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def blob_directory(tmp_path_factory: pytest.TempPathFactory, settings: Any) -> Path:
    """Blobs of one test stay in its own directory, which is made for the first of them."""
    location = tmp_path_factory.getbasetemp() / f"blobs-{uuid4()}"
    settings.STORAGES = {
        **settings.STORAGES,
        "blobs": {"BACKEND": "registry_site.storage.blobs.DiskBlobs", "OPTIONS": {"location": location}},
    }
    return location


@pytest.fixture
def alice(db: None) -> User:
    """Owns things."""
    return registration.register("alice", PASSWORD)


@pytest.fixture
def bob(db: None) -> User:
    """Is made an owner by some."""
    return registration.register("bob", PASSWORD)


@pytest.fixture
def charlie(db: None) -> User:
    """Has an account, and no right to anything of the others."""
    return registration.register("charlie", PASSWORD)


@pytest.fixture
def root(db: None) -> User:
    """Administers."""
    return registration.register("root", PASSWORD, admin=True)


class CargoClient(Client):
    """Talks to the registry as cargo does: a bare token in `Authorization`, JSON both ways."""

    def __init__(self, user: User | None = None, token: str | None = None) -> None:
        self.token = cargo_tokens.replace_default(user) if user else token
        headers = {"Authorization": self.token} if self.token else {}
        super().__init__(headers=headers, raise_request_exception=False)

    def put_json(self, path: str, data: Any) -> Any:
        return self.put(path, data, content_type="application/json")

    def delete_json(self, path: str, data: Any) -> Any:
        return self.delete(path, data, content_type="application/json")

    def publish(self, body: bytes) -> Any:
        return self.put("/api/v1/crates/new", body, content_type="application/octet-stream")


@pytest.fixture
def anonymous(db: None) -> CargoClient:
    return CargoClient()


@pytest.fixture
def as_alice(alice: User) -> CargoClient:
    return CargoClient(alice)


@pytest.fixture
def as_bob(bob: User) -> CargoClient:
    return CargoClient(bob)


@pytest.fixture
def as_charlie(charlie: User) -> CargoClient:
    return CargoClient(charlie)


@pytest.fixture
def alice_principal(alice: User) -> Principal:
    return Principal(alice)
