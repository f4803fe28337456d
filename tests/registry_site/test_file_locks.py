"""Locks across threads and processes, and of those who are killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from registry_site.file_locks import file_lock
from tests.support.servers import ROOT

pytestmark = pytest.mark.database_independent

HOLDER = """
from registry_site.file_locks import file_lock
with file_lock("bread", 30) as mine:
    print(mine, flush=True)
    input()
"""
COUNTER = """
import sys
from pathlib import Path
from registry_site.file_locks import file_lock
place = Path(sys.argv[1])
for _ in range(50):
    with file_lock("bread", 30) as mine:
        assert mine
        place.write_text(str(int(place.read_text()) + 1))
"""


@pytest.fixture(autouse=True)
def data(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def process(data: Path, program: str, *arguments: str) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "registry_site.settings",
        "REGISTRY_DATA_DIR": str(data),
    }
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def holder(data: Path) -> "Iterator[subprocess.Popen[str]]":
    """Another process that has the lock."""
    with process(data, HOLDER) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        try:
            yield child
        finally:
            child.kill()


def test_lock_of_another_thread_is_not_to_be_had() -> None:
    with file_lock("bread", 1) as mine, ThreadPoolExecutor(1) as other:

        def take() -> bool:
            with file_lock("bread", 0) as theirs:
                return theirs

        assert (mine, other.submit(take).result()) == (True, False)


def test_lock_cannot_be_had_twice_by_one() -> None:
    with file_lock("bread", 0) as once, file_lock("bread", 0) as twice:
        assert (once, twice) == (True, False)


def test_who_did_not_get_it_does_not_give_it_back() -> None:
    with file_lock("bread", 0):
        with file_lock("bread", 0):
            pass
        with file_lock("bread", 0) as mine:
            assert not mine


def test_locks_of_other_names_are_to_be_had() -> None:
    with file_lock("bread", 0) as one, file_lock("butter", 0) as other:
        assert (one, other) == (True, True)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "ü\0", "", "x" * 10_000])
def test_any_text_is_a_name(data: Path, name: str) -> None:
    with file_lock(name, 0) as mine:
        assert mine
    assert [path.parent for path in data.rglob("*") if path.is_file()] == [data / "locks"]


def test_lock_is_given_back_when_something_goes_wrong() -> None:
    with pytest.raises(KeyError), file_lock("bread", 0):
        raise KeyError
    with file_lock("bread", 0) as mine:
        assert mine


def test_threads_are_one_at_a_time() -> None:
    count = 0

    def add(_: int) -> None:
        nonlocal count
        with file_lock("bread", 30) as mine:
            assert mine
            seen = count
            with file_lock("butter", 30):
                count = seen + 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(100)))
    assert count == 100


def test_processes_are_one_at_a_time(data: Path) -> None:
    place = data / "count"
    place.write_text("0")
    children = [process(data, COUNTER, str(place)) for _ in range(3)]
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0, 0, 0]
    assert place.read_text() == "150"


def test_lock_of_another_process_is_not_to_be_had(data: Path) -> None:
    with holder(data), file_lock("bread", 0) as mine:
        assert not mine


def test_lock_of_another_process_is_waited_for(data: Path) -> None:
    with holder(data) as child:
        child.communicate("go on\n")
        with file_lock("bread", 30) as mine:
            assert mine


def test_killed_process_holds_nothing(data: Path) -> None:
    with holder(data) as child:
        child.kill()
        child.wait()
        with file_lock("bread", 0) as mine:
            assert mine
