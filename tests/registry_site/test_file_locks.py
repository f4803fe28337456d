"""File locks across threads and processes, also killed ones."""

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
with file_lock("bread", 30) as is_locked:
    print(is_locked, flush=True)
    input()
"""
COUNTER = """
import sys
from pathlib import Path
from registry_site.file_locks import file_lock
path = Path(sys.argv[1])
for _ in range(50):
    with file_lock("bread", 30) as is_locked:
        assert is_locked
        path.write_text(str(int(path.read_text()) + 1))
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
    """Another process that holds the lock."""
    with process(data, HOLDER) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        try:
            yield child
        finally:
            child.kill()


def test_lock_of_another_thread_is_respected() -> None:
    with file_lock("bread", 1) as is_locked, ThreadPoolExecutor(1) as other:

        def take() -> bool:
            with file_lock("bread", 0) as is_locked_there:
                return is_locked_there

        assert (is_locked, other.submit(take).result()) == (True, False)


def test_lock_is_not_reentrant() -> None:
    with file_lock("bread", 0) as first, file_lock("bread", 0) as second:
        assert (first, second) == (True, False)


def test_failed_attempt_releases_nothing() -> None:
    with file_lock("bread", 0):
        with file_lock("bread", 0):
            pass
        with file_lock("bread", 0) as is_locked:
            assert not is_locked


def test_names_have_separate_locks() -> None:
    with file_lock("bread", 0) as first, file_lock("butter", 0) as second:
        assert (first, second) == (True, True)


def test_any_text_can_be_a_name(data: Path) -> None:
    for name in ("../../etc/passwd", "a/b", "ü\0", "", "x" * 10_000):
        with file_lock(name, 0) as is_locked:
            assert is_locked
    assert {path.parent for path in data.rglob("*") if path.is_file()} == {data / "locks"}


def test_exception_releases_the_lock() -> None:
    with pytest.raises(KeyError), file_lock("bread", 0):
        raise KeyError
    with file_lock("bread", 0) as is_locked:
        assert is_locked


def test_threads_exclude_each_other() -> None:
    count = 0

    def add(_: int) -> None:
        nonlocal count
        with file_lock("bread", 30) as is_locked:
            assert is_locked
            before = count
            with file_lock("butter", 30):
                count = before + 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(100)))
    assert count == 100


def test_processes_exclude_each_other(data: Path) -> None:
    path = data / "count"
    path.write_text("0")
    children = [process(data, COUNTER, str(path)) for _ in range(3)]
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0, 0, 0]
    assert path.read_text() == "150"


def test_lock_of_another_process_is_respected(data: Path) -> None:
    with holder(data), file_lock("bread", 0) as is_locked:
        assert not is_locked


def test_released_lock_is_acquired(data: Path) -> None:
    with holder(data) as child:
        child.communicate("go on\n")
        with file_lock("bread", 30) as is_locked:
            assert is_locked


def test_killed_process_releases_its_lock(data: Path) -> None:
    with holder(data) as child:
        child.kill()
        child.wait()
        with file_lock("bread", 0) as is_locked:
            assert is_locked
