"""Free space: incoming bytes leave the reserve of the database alone."""

import tempfile
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from registry_site.errors import Unavailable
from registry_site.storage import free_space
from tests.support import packing
from tests.support.concurrency import post_to_ktra
from tests.support.servers import PASSWORD, running

pytestmark = pytest.mark.database_independent


def test_reserve_stays_free(tmp_path: Path, settings: Any) -> None:
    settings.MIN_FREE_SPACE = 0
    free_space.require(1, tmp_path)
    with pytest.raises(Unavailable, match="too little free space"):
        free_space.require(10**15, tmp_path)
    settings.MIN_FREE_SPACE = 10**15
    with pytest.raises(Unavailable, match="too little free space"):
        free_space.require(1, tmp_path)


def test_disk_that_fills_stops_a_write(settings: Any) -> None:
    with free_space.TemporaryFile() as file:
        assert file.write(b"first") == 5
        settings.MIN_FREE_SPACE = 10**15
        with pytest.raises(Unavailable, match="too little free space"):
            file.write(b"second")


def test_lost_directory_makes_uploads_unavailable(tmp_path: Path, settings: Any) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "none"
    with free_space.TemporaryFile() as file, pytest.raises(Unavailable, match="No such file or directory"):
        file.write(b"x")


def test_failing_disk_makes_uploads_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    with free_space.TemporaryFile() as file, pytest.raises(Unavailable, match="No space left on device"):
        file.write(bytes(free_space.MAX_BYTES_IN_MEMORY + 1))


def test_full_disk_leaves_the_database_alive(tmp_path: Path) -> None:
    with running(tmp_path / "data", REGISTRY_MIN_FREE_SPACE=str(10**14)) as server:
        server.sign_up("alice")
        token = post_to_ktra(server, "login", "alice", password=PASSWORD).token
        publish = Request(f"{server.url}/api/v1/crates/new", packing.body(), {"Authorization": token}, method="PUT")
        with pytest.raises(HTTPError) as refusal, urlopen(publish):
            pass
        assert (refusal.value.code, refusal.value.headers["Retry-After"]) == (503, "60")
        refusal.value.close()
