"""Advisories of a RustSec database: versions that they affect, files that cannot be read, and changes."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from crates.mirror import advisories

ID = "RUSTSEC-2026-0001"


class Database:
    """A checkout of an advisory database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "crates").mkdir(parents=True)

    def write(self, text: bytes, name: str = "demo", file: str = f"{ID}.md") -> Path:
        path = self.folder / "crates" / name / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
        return path

    def add(self, name: str = "demo", id_: str = ID, **fields: Any) -> Path:
        return self.write(advisory(id_, **fields), name, f"{id_}.md")


def advisory(
    id_: str = ID, title: str = "# It breaks", patched: str = "[]", unaffected: str = "[]", extra: str = ""
) -> bytes:
    """Return a file of the database; `extra` continues `[advisory]`."""
    return (
        f'```toml\n[advisory]\nid = "{id_}"\npackage = "demo"\ndate = "2026-01-01"\n{extra}\n'
        f"[versions]\npatched = {patched}\nunaffected = {unaffected}\n```\n\n{title}\n\nIn many words.\n"
    ).encode()


@pytest.fixture
def database(tmp_path: Path, settings: Any) -> Database:
    settings.MIRROR_ADVISORIES = [str(tmp_path / "advisories")]
    return Database(tmp_path / "advisories")


def against(version: str, name: str = "demo") -> list[str]:
    """Return the ids of the advisories that affect a version."""
    return [advisory.id for advisory in advisories.advisories_for(name) if advisory.affects(version)]


# --- Versions ------------------------------------------------------------------------------------------------------


def test_patched_and_unaffected_versions_are_safe(database: Database) -> None:
    affected = ["1.0.0", "1.1.9", "1.2.0-rc.1", "2.0.0-rc.1", "2.0.0", "no version"]
    safe = ["0.9.9", "1.0.0-rc.1", "1.2.0", "1.2.0+build", "1.3.0", "2.0.5"]
    database.add(patched='["^1.2", ">= 2.0.5"]', unaffected='["< 1.0.0"]')
    assert [version for version in affected + safe if against(version)] == affected


def test_all_versions_are_affected_without_a_patch(database: Database) -> None:
    database.add()
    assert against("0.0.1-pre") == against("99.0.0") == [ID]


def test_all_versions_are_affected_without_a_table(database: Database) -> None:
    database.write(f'```toml\n[advisory]\nid = "{ID}"\n```\n# It breaks\n'.encode())
    assert against("1.0.0") == [ID]


# --- Files that count ----------------------------------------------------------------------------------------------


def test_no_database_has_no_advisories(settings: Any) -> None:
    assert settings.MIRROR_ADVISORIES == []
    assert against("1.0.0") == []


def test_withdrawn_and_informational_advisories_are_skipped(database: Database) -> None:
    for extra in ('withdrawn = "2026-02-01"', 'informational = "unmaintained"'):
        database.add(extra=extra)
        assert against("1.0.0") == [], extra


def test_crate_matches_its_folder_in_any_spelling(tmp_path: Path, settings: Any) -> None:
    spellings = ("some-crate", "some_crate", "Some-Crate")
    for folder in spellings:
        settings.MIRROR_ADVISORIES = [str(tmp_path / folder)]
        Database(tmp_path / folder).add(folder)
        assert [against("1.0.0", name) for name in spellings] == [[ID]] * 3, folder
        assert against("1.0.0", "some") == against("1.0.0", "some-crate-2") == []


UNREADABLE = {
    "empty": b"",
    "no fences": b'[advisory]\nid = "RUSTSEC-2026-0001"\n',
    "open fence": advisory().replace(b"\n```\n", b"\n"),
    "broken TOML": advisory(extra="x ="),
    "no id": advisory().replace(b"id =", b"other ="),
    "another table": advisory().replace(b"[advisory]", b"[notice]"),
    "advisory is a number": b"```toml\nadvisory = 1\n```\n",
    "advisory is a list": advisory().replace(b"[advisory]", b"[[advisory]]"),
    "versions is a number": b'```toml\nversions = 1\n[advisory]\nid = "x"\n```\n',
    "bad requirement": advisory(patched='[">= latest"]'),
    "requirement is a number": advisory(patched="[1]"),
    "patched is a text": advisory(patched='"none"'),
    "patched is a number": advisory(patched="1"),
    "no text": b"\xff" + advisory(),
    "deep nesting": advisory(extra="x = " + "[" * 100_000),
}


def test_unreadable_advisory_is_logged_and_skipped(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    offenders = []
    for number, (case, text) in enumerate(UNREADABLE.items()):
        name = f"demo{number}"
        path = database.write(text, name, "RUSTSEC-2026-0000.md")
        database.add(name)
        if against("1.0.0", name) != [ID] or f"The advisory {path} cannot be read" not in caplog.text:
            offenders.append(case)
    assert offenders == []


def test_folder_and_dangling_link_are_skipped(database: Database) -> None:
    path = database.add()
    path.with_name("folder.md").mkdir()
    path.with_name("link.md").symlink_to("nowhere")
    assert against("1.0.0") == [ID]


def test_file_instead_of_a_folder_is_skipped(database: Database) -> None:
    (database.folder / "crates" / "demo").write_text("no folder")
    assert against("1.0.0") == []


# --- Titles --------------------------------------------------------------------------------------------------------


def test_title_is_part_of_the_reason(database: Database) -> None:
    titles = {
        "# It breaks": ": It breaks.",
        "# It breaks.": ": It breaks.",
        "": ".",
        "# " + "x" * 900: f": {'x' * 200}.",
    }
    for title, end in titles.items():
        database.add(title=title)
        assert [str(advisory) for advisory in advisories.advisories_for("demo")] == [f"{ID} is against it{end}"]


def test_lines_may_end_as_on_windows(database: Database) -> None:
    database.write(advisory().replace(b"\n", b"\r\n"))
    assert [str(advisory) for advisory in advisories.advisories_for("demo")] == [f"{ID} is against it: It breaks."]


# --- Changes -------------------------------------------------------------------------------------------------------


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


def test_added_and_removed_files_count_at_once(database: Database) -> None:
    assert against("1.0.0") == []
    path = database.add()
    assert against("1.0.0") == [ID]
    database.add(id_="RUSTSEC-2025-0001")
    assert against("1.0.0") == ["RUSTSEC-2025-0001", ID]
    path.unlink()
    assert against("1.0.0") == ["RUSTSEC-2025-0001"]


def test_several_databases_count_while_they_exist(tmp_path: Path, settings: Any) -> None:
    rustsec, ours = Database(tmp_path / "rustsec"), Database(tmp_path / "ours")
    settings.MIRROR_ADVISORIES = [str(tmp_path / "rustsec"), str(tmp_path / "ours")]
    rustsec.add()
    ours.add(id_="OURS-1")
    assert against("1.0.0") == ["OURS-1", ID]
    shutil.rmtree(ours.folder)
    assert against("1.0.0") == [ID]
    Database(tmp_path / "ours").add(id_="OURS-2")
    assert against("1.0.0") == ["OURS-2", ID]
