"""Machines with a key, and how they reach the file registry: as the clients of the original do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache

from files import clients
from files.models import Client, Rights
from tests.support.file_clients import KEY, READER_KEY, FileClient


@pytest.fixture(autouse=True)
def fresh_counters() -> Iterator[None]:
    """Requests are counted in the cache, from one test to the next."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def box(db: None) -> Client:
    """Reads and writes."""
    return clients.add_client("box", KEY, actor="test")


@pytest.fixture
def reader(db: None) -> Client:
    """Only reads."""
    return clients.add_client("reader", READER_KEY, actor="test", rights=Rights.READ)


@pytest.fixture
def machine(box: Client) -> FileClient:
    """The box, which has no session yet."""
    return FileClient(box.name, KEY)


@pytest.fixture
def as_box(machine: FileClient) -> FileClient:
    """The box with a session."""
    machine.log_in()
    return machine


@pytest.fixture
def as_reader(reader: Client) -> FileClient:
    """The reader with a session."""
    machine = FileClient(reader.name, READER_KEY)
    machine.log_in()
    return machine


@pytest.fixture
def session(as_box: FileClient) -> str:
    """The token of a session of the box."""
    return as_box.token


@pytest.fixture
def file_root(tmp_path: Path, settings: Any) -> Path:
    """The one directory that files on the server's disk may be registered from."""
    directory = tmp_path / "root"
    directory.mkdir()
    settings.FILE_ROOTS = [str(directory)]
    return directory
