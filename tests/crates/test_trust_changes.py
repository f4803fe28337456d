"""What a comparison says of builds, licences and dependencies."""

import io
from typing import Any

import pytest

from crates import file_diffs, trust_changes
from crates.file_diffs import Kind
from crates.package import inventory
from crates.package.inventory import Inventory
from crates.records import DependencyRecord
from tests.support import packing

pytestmark = pytest.mark.database_independent

Files = dict[str, bytes | str]


def read(files: Files | None = None, extra: str = "") -> Inventory:
    crate = packing.crate(toml=packing.manifest(extra=extra), files=files)
    return inventory.read(io.BytesIO(crate), len(crate))


def differing(old: Inventory, new: Inventory) -> dict[str, tuple[str, str, list[str]]]:
    changes = trust_changes.compare_builds(old, new)
    return {
        change.label: (change.before, change.after, list(change.paths))
        for change in changes
        if change.before != change.after
    }


def test_each_property_of_a_build_is_compared() -> None:
    unsafe = "unsafe fn a() {}\n"
    cases: dict[str, tuple[Inventory, Inventory, tuple[str, str, list[str]]]] = {
        "Build script": (read(), read({"build.rs": ""}), ("none", "build.rs", ["build.rs"])),
        "Procedural macro": (read(), read(extra="[lib]\nproc-macro = true"), ("no", "yes", [])),
        "unsafe": (
            read({"src/lib.rs": unsafe, "a.rs": unsafe}),
            read({"src/lib.rs": unsafe, "b.rs": unsafe * 2}),
            ("2", "3", ["b.rs"]),
        ),
        "Licence": (read(extra='license = "MIT"'), read(extra='license = "own"'), ("MIT", "own", [])),
        "Licence text": (
            read({"LICENSE": "a"}),
            read({"LICENSE": "b"}),
            ("LICENSE", "LICENSE, with changes", ["LICENSE"]),
        ),
        "Rust": (read(), read(extra='rust-version = "1.80"'), ("any", "1.80", [])),
        "Programs": (read(), read({"src/main.rs": ""}), ("none", "demo", [])),
    }
    for label, (old, new, expected) in cases.items():
        assert differing(old, new) == {label: expected}, label
        assert list(differing(new, old)) == [label], label
        assert differing(old, old) == {}, label


def test_changed_build_script_is_named() -> None:
    old, new = (read({"build.rs": text}) for text in ("fn main() {}", "fn main() { evil() }"))
    assert differing(old, new) == {"Build script": ("build.rs", "build.rs, with changes", ["build.rs"])}


def test_uncounted_code_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_COUNTED", 10)
    before, after, _ = differing(read({"a.rs": "fn a() {}"}), read({"a.rs": "unsafe fn a() {}"}))["unsafe"]
    assert (before, after) == ("0", "at least 0, for not all files were counted")


def record(name: str = "needed", req: str = "^1", **changes: object) -> DependencyRecord:
    fields = {"optional": False, "default_features": True, "features": [], "target": "", "kind": "normal", **changes}
    return DependencyRecord(0, 0, name, req, **fields)  # type: ignore[arg-type]


def test_each_change_of_a_dependency_is_described() -> None:
    plain, named = record(), record(explicit_name="needed")
    cases: tuple[tuple[DependencyRecord | None, DependencyRecord | None, tuple[Any, ...]], ...] = (
        (None, record(optional=True, features=["a"]), ("added", "", "^1", ["optional", "with a"])),
        (plain, None, ("removed", "^1", "", [])),
        (plain, record(req="^2"), ("changed", "^1", "^2", [])),
        (plain, record(optional=True), ("changed", "^1", "^1", ["now optional"])),
        (record(features=["a"]), record(features=["b"]), ("changed", "^1", "^1", ["now with b", "no longer with a"])),
        (plain, record(default_features=False), ("changed", "^1", "^1", ["now without default features"])),
        (plain, record(registry="r"), ("changed", "^1", "^1", ["from another registry: this one before"])),
        (named, record("other", explicit_name="needed"), ("changed", "^1", "^1", ["another crate: needed before"])),
    )
    for before, after, expected in cases:
        old, new = ([side] if side else [] for side in (before, after))
        (change,) = trust_changes.compare_dependencies(old, new)
        assert (change.kind, change.before, change.after, list(change.details)) == expected
        assert list(trust_changes.compare_dependencies(new, new)) == []


def test_dependency_of_another_kind_is_another_one() -> None:
    changes = trust_changes.compare_dependencies([record()], [record(kind="build"), record(target="cfg(windows)")])
    assert [(change.kind, change.scope) for change in changes] == [
        ("added", "for the build script"),
        ("added", "on cfg(windows)"),
        ("removed", ""),
    ]


def test_files_are_listed_in_reading_order() -> None:
    old = read({"a.rs": "a", "old.rs": "moved", "gone.rs": "x", "same.rs": "s", "Cargo.lock": "1", "empty": ""})
    new = read(
        {"a.rs": "b", "new.rs": "moved", "build.rs": "x2", "same.rs": "s", "Cargo.lock": "2"}, "build = 'build.rs'"
    )
    assert [(change.kind, change.path) for change in file_diffs.list_changes(old, new)] == [
        (Kind.ADDED, "build.rs"),
        (Kind.CHANGED, "Cargo.toml"),
        (Kind.CHANGED, "a.rs"),
        (Kind.REMOVED, "empty"),
        (Kind.REMOVED, "gone.rs"),
        (Kind.RENAMED, "new.rs"),
        (Kind.CHANGED, "Cargo.lock"),
    ]


def test_files_behind_the_limit_are_not_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    old = read({"a.rs": "a", "b.rs": "b"})
    monkeypatch.setattr(inventory, "MAX_ENTRIES", 3)
    new = read({"a.rs": "c", "b.rs": "b"})
    assert [change.path for change in file_diffs.list_changes(old, new)] == ["a.rs"]
    assert [change.path for change in file_diffs.list_changes(new, old)] == ["a.rs"]
