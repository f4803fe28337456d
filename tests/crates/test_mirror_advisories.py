"""What a checkout of the RustSec advisory database says against versions."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from crates.mirror import advisories

ID = "RUSTSEC-2026-0001"


class Database:
    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "crates").mkdir(parents=True)

    def write(self, text: bytes, name: str = "demo", file: str = f"{ID}.md") -> Path:
        path = self.place / "crates" / name / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
        return path

    def add(self, name: str = "demo", id_: str = ID, **about: Any) -> Path:
        return self.write(advisory(id_, **about), name, f"{id_}.md")


def advisory(
    id_: str = ID, title: str = "# It breaks", patched: str = "[]", unaffected: str = "[]", extra: str = ""
) -> bytes:
    """As the database has it; `extra` continues `[advisory]`."""
    return (
        f'```toml\n[advisory]\nid = "{id_}"\npackage = "demo"\ndate = "2026-01-01"\n{extra}\n'
        f"[versions]\npatched = {patched}\nunaffected = {unaffected}\n```\n\n{title}\n\nIn many words.\n"
    ).encode()


@pytest.fixture
def database(tmp_path: Path, settings: Any) -> Database:
    settings.MIRROR_ADVISORIES = [str(tmp_path / "advisories")]
    return Database(tmp_path / "advisories")


def against(version: str, name: str = "demo") -> list[str]:
    return [one.id for one in advisories.advisories_for(name) if one.affects(version)]


# --- Versions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("0.9.9", False),
        ("1.0.0-rc.1", False),
        ("1.0.0", True),
        ("1.1.9", True),
        ("1.2.0-rc.1", True),
        ("1.2.0", False),
        ("1.2.0+build", False),
        ("1.3.0", False),
        ("2.0.0-rc.1", True),
        ("2.0.0", True),
        ("2.0.5", False),
        ("no version", True),
    ],
)
def test_what_is_patched_or_never_was_affected_is_unharmed(database: Database, version: str, affected: bool) -> None:
    database.add(patched='["^1.2", ">= 2.0.5"]', unaffected='["< 1.0.0"]')
    assert against(version) == ([ID] if affected else [])


def test_without_a_patch_all_are_affected(database: Database) -> None:
    database.add()
    assert against("0.0.1-pre") == against("99.0.0") == [ID]


def test_without_a_table_of_versions_all_are_affected(database: Database) -> None:
    database.write(f'```toml\n[advisory]\nid = "{ID}"\n```\n# It breaks\n'.encode())
    assert against("1.0.0") == [ID]


# --- What counts -------------------------------------------------------------------------------------------------


def test_without_a_database_there_is_nothing_against_anything(settings: Any) -> None:
    assert settings.MIRROR_ADVISORIES == []
    assert against("1.0.0") == []


@pytest.mark.parametrize("extra", ['withdrawn = "2026-02-01"', 'informational = "unmaintained"'])
def test_withdrawn_and_informational_ones_do_not_count(database: Database, extra: str) -> None:
    database.add(extra=extra)
    assert against("1.0.0") == []


@pytest.mark.parametrize("folder", ["some-crate", "some_crate", "Some-Crate"])
@pytest.mark.parametrize("name", ["some-crate", "some_crate", "SOME-crate"])
def test_folder_is_found_in_any_spelling(database: Database, folder: str, name: str) -> None:
    database.add(folder)
    assert against("1.0.0", name) == [ID]
    assert against("1.0.0", "some") == against("1.0.0", "some-crate-2") == []


UNREADABLE = {
    "empty": b"",
    "without fences": b'[advisory]\nid = "RUSTSEC-2026-0001"\n',
    "with an open fence": advisory().replace(b"\n```\n", b"\n"),
    "of broken TOML": advisory(extra="x ="),
    "without an id": advisory().replace(b"id =", b"other ="),
    "of another table": advisory().replace(b"[advisory]", b"[notice]"),
    "of a table that is none": b"```toml\nadvisory = 1\n```\n",
    "of a list of tables": advisory().replace(b"[advisory]", b"[[advisory]]"),
    "with versions that are no table": b'```toml\nversions = 1\n[advisory]\nid = "x"\n```\n',
    "with a requirement that is none": advisory(patched='[">= latest"]'),
    "with a requirement that is a number": advisory(patched="[1]"),
    "with patches that are a text": advisory(patched='"none"'),
    "with patches that are a number": advisory(patched="1"),
    "of bytes that are no text": b"\xff" + advisory(),
    "that nests deeply": advisory(extra="x = " + "[" * 100_000),
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_one_that_cannot_be_read_is_told_in_the_log_and_the_others_count(
    database: Database, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = database.write(text, file="RUSTSEC-2026-0000.md")
    database.add()
    assert against("1.0.0") == [ID]
    assert f"The advisory {path} cannot be read" in caplog.text


def test_folder_and_dangling_link_in_place_of_a_file_hide_no_other(database: Database) -> None:
    path = database.add()
    path.with_name("folder.md").mkdir()
    path.with_name("link.md").symlink_to("nowhere")
    assert against("1.0.0") == [ID]


def test_file_where_a_folder_should_be_is_passed_over(database: Database) -> None:
    (database.place / "crates" / "demo").write_text("no folder")
    assert against("1.0.0") == []


# --- What is told ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("# It breaks", ": It breaks."),
        ("# It breaks.", ": It breaks."),
        ("", "."),
        ("# " + "x" * 900, f": {'x' * 200}."),
    ],
)
def test_title_is_told(database: Database, title: str, told: str) -> None:
    database.add(title=title)
    assert [str(one) for one in advisories.advisories_for("demo")] == [f"{ID} is against it{told}"]


def test_lines_may_end_as_on_windows(database: Database) -> None:
    database.write(advisory().replace(b"\n", b"\r\n"))
    assert [str(one) for one in advisories.advisories_for("demo")] == [f"{ID} is against it: It breaks."]


# --- Changes -----------------------------------------------------------------------------------------------------


def test_changed_file_counts_at_once(database: Database) -> None:
    path = database.add()
    assert against("1.0.0") == [ID]
    database.add(patched='["*"]')
    assert against("1.0.0") == []
    path.write_bytes(advisory())
    os.utime(path, ns=(0, 10**18))
    assert against("1.0.0") == [ID]
    path.write_bytes(advisory(id_="RUSTSEC-2026-9999"))  # of the same length
    os.utime(path, ns=(0, 2 * 10**18))
    assert against("1.0.0") == ["RUSTSEC-2026-9999"]


def test_added_and_removed_advisories_count_at_once(database: Database) -> None:
    assert against("1.0.0") == []
    path = database.add()
    assert against("1.0.0") == [ID]
    database.add(id_="RUSTSEC-2025-0001")
    assert against("1.0.0") == ["RUSTSEC-2025-0001", ID]
    path.unlink()
    assert against("1.0.0") == ["RUSTSEC-2025-0001"]


def test_each_of_several_databases_counts_while_it_is_there(tmp_path: Path, settings: Any) -> None:
    one, other = Database(tmp_path / "one"), Database(tmp_path / "other")
    settings.MIRROR_ADVISORIES = [str(tmp_path / "one"), str(tmp_path / "other")]
    one.add()
    other.add(id_="OURS-1")
    assert against("1.0.0") == ["OURS-1", ID]
    shutil.rmtree(other.place)
    assert against("1.0.0") == [ID]
    Database(tmp_path / "other").add(id_="OURS-2")
    assert against("1.0.0") == ["OURS-2", ID]
