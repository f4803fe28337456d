"""What is read of two `.crate` files before they are compared."""

import gzip
import io
from typing import Any

import pytest

from crates.package import archive, inventory, unsafe_code
from crates.package.inventory import Inventory
from tests.support import packing

pytestmark = pytest.mark.database_independent

CODE = {
    b"unsafe fn a() {}": 1,
    b"fn a() { unsafe { b() } } unsafe impl Send for A {}": 2,
    b"#[unsafe(no_mangle)]": 1,
    b"#![forbid(unsafe_code)] r#unsafe is_unsafe": 0,
    b"// unsafe\n/// unsafe\n/* unsafe /* x */ unsafe */ unsafe {}": 1,
    b'"unsafe" "\\" unsafe" "\\\\" unsafe {}': 1,
    b'r"\\" unsafe {} r#"unsafe " unsafe"# br##"unsafe"# "## c"unsafe"': 1,
    b"'\"' unsafe {} '\"' b'\\'' '\\u{22}' '\xc3\xa9'": 1,
    b"fn a<'a>(b: &'a str) { unsafe {} }": 1,
    b"/* unsafe": 0,
    b'r##"unsafe"#': 0,
    b'"unsafe': 0,
}


def read(files: dict[str, bytes | str] | None = None, extra: str = "") -> Inventory:
    return read_crate(packing.crate(toml=packing.manifest(extra=extra), files=files))


def read_crate(crate: bytes) -> Inventory:
    return inventory.read(io.BytesIO(crate), len(crate))


def test_only_tokens_of_code_are_counted() -> None:
    assert {code: unsafe_code.count(code) for code in CODE} == CODE


def test_code_of_too_many_tokens_is_not_counted() -> None:
    assert unsafe_code.count(b'"" ' * unsafe_code.MAX_TOKENS) is None


def test_manifest_and_files_are_read() -> None:
    extra = 'license = "mit/apache-2.0"\nlicense-file = "L"\nrust-version = "1.70"\nbuild = "b.rs"'
    crate = read(
        {
            "src/main.rs": "unsafe fn a() {}",
            "L": "text",
            ".cargo_vcs_info.json": '{"git": {"sha1": "' + "a" * 40 + '"}}',
        },
        f"{extra}\n[lib]\nproc-macro = true",
    )
    assert (crate.license, crate.license_file, crate.rust_version) == ("MIT OR Apache-2.0", "L", "1.70")
    assert (crate.build_scripts, crate.is_proc_macro, crate.programs) == (["b.rs"], True, ["demo"])
    assert (crate.edition, crate.vcs_commit, crate.unsafe_counts) == ("2021", "a" * 40, {"src/main.rs": 1})
    assert (crate.is_complete, crate.is_counted) == (True, True)


def test_junk_in_the_manifest_is_left_out() -> None:
    for toml in ("[package]\nlicense = 3\nedition = [1]\nbuild = {}", "[", 'package = "a"', f'license = "{"x" * 999}"'):
        crate = read_crate(packing.crate(toml=toml))
        assert (crate.license, crate.build_scripts, list(crate.files)) == ("", [], ["Cargo.toml", "src/lib.rs"]), toml


def test_few_build_scripts_are_taken() -> None:
    names = ", ".join(f'"{number}.rs"' for number in range(1000))
    assert read(extra=f"build = [{names}]").build_scripts == [f"{number}.rs" for number in range(20)]


def test_files_are_those_that_cargo_unpacks() -> None:
    entries = [
        packing.entry("demo-1.0.0/a.txt", b"first"),
        packing.entry("demo-1.0.0//b/./a.txt", b"b"),
        packing.entry("demo-1.0.0/./a.txt", b"last"),
        packing.entry("demo-1.0.0/b/../c.txt", b"c"),
        packing.entry("demo-1.0.0/Cargo.toml", b'package.license = "MIT"'),
    ]
    data = packing.crate_around(*entries)
    crate = read_crate(data)
    files = list(crate.files.values())
    texts = inventory.read_texts(io.BytesIO(data), len(data), [file.member for file in files])
    assert (texts["a.txt"], sorted(texts), crate.license) == (b"last", ["Cargo.toml", "a.txt", "b/a.txt"], "MIT")
    listed = archive.list_leniently(io.BytesIO(data), len(data), inventory.MAX_UNPACKED)
    assert listed == [file.member for file in files]


def test_reading_ends_at_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, bytes | str] = {f"{number}.txt": "x" * 1000 for number in range(20)}
    for name, limit in (("MAX_ENTRIES", 5), ("MAX_LENGTH_OF_PATHS", 40), ("MAX_UNPACKED", 9000)):
        with monkeypatch.context() as patch:
            patch.setattr(inventory, name, limit)
            crate = read(files)
        assert (crate.is_complete, len(crate.files) < 10) == (False, True), name
    assert read(files).is_complete


def test_path_that_no_address_has_ends_the_reading() -> None:
    path = "demo-1.0.0/" + "a/" * 1000
    record = f" path={path}x\n"
    header = packing.entry(data=f"{len(record) + 4}{record}".encode(), kind=b"x")
    crate = read_crate(packing.crate_around(header, packing.entry(), packing.entry("demo-1.0.0/y")))
    assert (list(crate.files), crate.is_complete) == (["Cargo.toml"], False)


def test_damaged_crate_is_read_to_the_damage() -> None:
    whole = packing.tar_of({"demo-1.0.0/a.txt": "x", "demo-1.0.0/b.txt": "y" * 5000})
    crate = read_crate(gzip.compress(whole[:3000]))
    assert (list(crate.files), crate.is_complete) == (["a.txt"], False)


def test_much_code_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_COUNTED", 30)
    crate = read({"a.rs": "unsafe fn a() {}", "b.rs": "unsafe fn a() {}", "c.rs": "fn a() {}"})
    assert crate.unsafe_counts == {"a.rs": 1}
    assert not crate.is_counted


def test_texts_are_read_in_one_pass() -> None:
    crate = packing.crate(files={"b.txt": "second", "a.txt": "first"})
    files = read_crate(crate).files
    members = [files[path].member for path in ("a.txt", "b.txt", "src/lib.rs")]
    sizes: list[int] = []

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1) -> Any:
            data = super().read(size)
            sizes.append(len(data))
            return data

    texts = inventory.read_texts(Stream(crate), len(crate), members)
    assert texts == {"a.txt": b"first", "b.txt": b"second", "src/lib.rs": b""}
    assert sum(sizes) <= len(crate)
