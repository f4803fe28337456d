"""The cast of the file registry: the client box reads and writes, the client reader only reads."""

from pathlib import Path
from typing import Any

import pytest

from files import clients
from files.models import Client, Rights
from tests.support.file_clients import KEY, READER_KEY, FileClient


@pytest.fixture
def box(db: None) -> Client:
    """A client that reads and writes."""
    return clients.add_client("box", KEY, actor="test")


@pytest.fixture
def reader(db: None) -> Client:
    """A client that only reads."""
    return clients.add_client("reader", READER_KEY, actor="test", rights=Rights.READ)


@pytest.fixture
def machine(box: Client) -> FileClient:
    """The client box without a session."""
    return FileClient(box.name, KEY)


@pytest.fixture
def as_box(machine: FileClient) -> FileClient:
    """The client box with a session."""
    machine.log_in()
    return machine


@pytest.fixture
def as_reader(reader: Client) -> FileClient:
    """The client reader with a session."""
    machine = FileClient(reader.name, READER_KEY)
    machine.log_in()
    return machine


@pytest.fixture
def session(as_box: FileClient) -> str:
    """The token of a session of box."""
    return as_box.token


@pytest.fixture
def file_root(tmp_path: Path, settings: Any) -> Path:
    """The one directory from which files on the server's disk may be registered."""
    directory = tmp_path / "root"
    directory.mkdir()
    settings.FILE_ROOTS = [str(directory)]
    return directory
