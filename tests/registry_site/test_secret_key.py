"""The key file: created once, for its owner alone, and never replaced."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from registry_site.secret_key import MIN_LENGTH, create_secret_key, read_secret_keys
from tests.support.servers import ROOT

pytestmark = pytest.mark.database_independent


def test_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    create_secret_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_key_is_long_enough(tmp_path: Path) -> None:
    create_secret_key(tmp_path / "key")
    assert len(read_secret_keys(tmp_path / "key")[0]) >= MIN_LENGTH


def test_key_is_created_once(tmp_path: Path) -> None:
    create_secret_key(tmp_path / "key")
    first = read_secret_keys(tmp_path / "key")[0]
    create_secret_key(tmp_path / "key")
    assert read_secret_keys(tmp_path / "key")[0] == first


def test_each_registry_has_another_key(tmp_path: Path) -> None:
    create_secret_key(tmp_path / "one")
    create_secret_key(tmp_path / "two")
    assert read_secret_keys(tmp_path / "one")[0] != read_secret_keys(tmp_path / "two")[0]


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    create_secret_key(tmp_path / "key")
    create_secret_key(tmp_path / "key")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_existing_key_is_never_replaced(tmp_path: Path) -> None:
    for content in ("", "\n", "x" * 49, "x" * 49 + "\n" * 10, " " * 60):
        (tmp_path / "key").write_text(content)
        create_secret_key(tmp_path / "key")
        assert (tmp_path / "key").read_text() == content
        with pytest.raises(ImproperlyConfigured, match=r"is too short: \d+ characters, 50 are needed"):
            read_secret_keys(tmp_path / "key")


def test_line_end_is_not_part_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x" * 50 + "\n")
    assert read_secret_keys(tmp_path / "key")[0] == "x" * 50


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"The secret key cannot be read from .*No such file"):
        read_secret_keys(tmp_path / "key")
    assert not list(tmp_path.iterdir())


def test_directory_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"The secret key cannot be read from .*Is a directory"):
        read_secret_keys(tmp_path)[0]


def test_key_is_ascii(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff" * 60)
    with pytest.raises(ImproperlyConfigured, match="The secret key cannot be read from "):
        read_secret_keys(tmp_path / "key")[0]


def test_refusal_hides_the_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter22")
    with pytest.raises(ImproperlyConfigured) as refused:
        read_secret_keys(tmp_path / "key")[0]
    assert "hunter22" not in str(refused.value)


def test_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "missing")
    create_secret_key(tmp_path / "key")
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        read_secret_keys(tmp_path / "key")[0]


RACER = """
import sys
from pathlib import Path
from registry_site.secret_key import create_secret_key, read_secret_keys
path = Path(sys.argv[1])
sys.stdin.read()
create_secret_key(path)
print(read_secret_keys(path)[0])
"""


def test_concurrent_processes_agree_on_one_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACER, str(tmp_path / "key")]
    pipe = subprocess.PIPE
    racers = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(6)]
    for racer in racers:  # all wait for the end of their input
        assert racer.stdin is not None
        racer.stdin.close()
        racer.stdin = None
    keys = {racer.communicate(timeout=30)[0] for racer in racers}
    assert keys == {read_secret_keys(tmp_path / "key")[0] + "\n"}
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
