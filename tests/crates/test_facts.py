"""Facts from `.crate` files: what cargo packed is read, what is hostile costs little and is left out."""

import gzip
import io
import json
import os
import shutil
import subprocess
import time
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crates import readme_rendering
from crates.models import Version, VersionContents
from crates.package import archive, facts, licenses, manifest, source_lines
from crates.package.facts import Facts
from tests.support import packing
from tests.support.cargo import DEBIAN_CARGOS
from tests.support.cast import CargoClient

KIB = 1024
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLD_CARGOS = sorted(str(path / "cargo") for path in DEBIAN_CARGOS.glob("*"))


def facts_of(crate: bytes) -> Facts:
    file = io.BytesIO(crate)
    contents = archive.read(file, len(crate), "demo-1.0.0")
    return facts.read(manifest.parse_toml(contents.cargo_toml), contents, file, len(crate))


def facts_with(extra: str = "", files: Mapping[str, bytes | str] | None = None) -> Facts:
    """Return the facts of a crate with these files and `src/lib.rs`, whose `[package]` goes on with `extra`."""
    return facts_of(packing.crate(toml=packing.manifest(extra=extra), files=files))


# --- What cargo packs -------------------------------------------------------------------------------------------

SOURCES = {
    "src/lib.rs": "//! Docs\n\npub fn f() {}\n/* a\n b */\n",
    "src/main.rs": "fn main() {}\n",
    "src/bin/tool.rs": "fn main() {}\n",
    "src/bin/other/main.rs": "fn main() {}\n",
    "build.rs": "fn main() {}\n",
    "README.md": "# Demo \u00fc\n",
    "COPY": "You may.\n",
}
MANIFEST = """
description = "d"
license-file = "COPY"
{readme}
[package.metadata.docs.rs]
all-features = true
targets = ["x86_64-unknown-linux-gnu"]
[lib]
name = "demo_lib"
"""


def pack(directory: Path, cargo: str, toml: str, sources: Mapping[str, str]) -> bytes:
    """Pack a crate in a git repository with one commit."""
    for name, text in {"Cargo.toml": toml, ".gitignore": "target\n", **sources}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (
        [*git, "init", "-q"],
        [*git, "add", "."],
        [*git, "commit", "-qm", "first"],
        [cargo, "package", "--offline", "--no-verify", "--quiet"],
    ):
        subprocess.run(command, cwd=directory, check=True, env=os.environ | {"CARGO_TARGET_DIR": f"{directory}/target"})
    return (directory / "target/package/demo-1.0.0.crate").read_bytes()


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_generations_of_cargo_pack_the_same_facts(tmp_path: Path) -> None:
    for number, cargo in enumerate(["cargo", *OLD_CARGOS]):
        readme = "" if number % 2 else 'readme = "README.md"'
        toml = packing.manifest(extra=MANIFEST.format(readme=readme))
        read = facts_of(pack(tmp_path / str(number), cargo, toml, SOURCES))
        assert read.edition == "2021", cargo
        assert vars(read.build_targets) == {
            "has_library": True,
            "library_name": "demo_lib",
            "is_proc_macro": False,
            "binary_names": ["demo", "other", "tool"],
            "has_build_script": True,
        }, cargo
        assert (read.readme_path, read.readme_text) == ("README.md", "# Demo \u00fc\n"), cargo
        assert (read.license_file, read.license_text) == ("COPY", "You may.\n"), cargo
        assert read.docs_rs == {"all-features": True, "targets": ["x86_64-unknown-linux-gnu"]}, cargo
        assert len(read.vcs_commit) == 40, cargo
        assert read.line_counts == {"Rust": {"code_lines": 5, "comment_lines": 3, "files": 5}}, cargo
        assert {path for path, *_ in read.files} >= {*SOURCES, "Cargo.toml", ".cargo_vcs_info.json"}, cargo
        assert read.omissions == []


# --- Parts ------------------------------------------------------------------------------------------------------


def targets_of(tables: str, *paths: str) -> tuple[Any, ...]:
    targets = facts_of(packing.crate(toml=packing.manifest() + tables, files=dict.fromkeys(paths, ""))).build_targets
    return targets.library_name, targets.is_proc_macro, targets.binary_names


def test_listed_and_discovered_targets_are_read() -> None:
    listed = '[[bin]]\nname = "other"\npath = "o.rs"\n'
    results = {
        ("",): ("demo", False, []),
        ("[lib]\nproc-macro = true\n",): ("demo", True, []),
        ('[lib]\ncrate-type = ["proc-macro"]\nname = "a"\n',): ("a", True, []),
        (listed, "src/main.rs"): ("demo", False, ["demo", "other"]),
        ("", "src/bin/a.rs", "src/bin/b/main.rs", "src/bin/b/c.rs", "src/bin/d.txt"): ("demo", False, ["a", "b"]),
        ("[[bin]]\n[lib]\nname = 1\n",): ("", False, []),
        ("bin = 1\nlib = 2\n",): ("demo", False, []),
    }
    assert {case: targets_of(*case) for case in results} == results


def test_discovery_can_be_off() -> None:
    off = packing.manifest(extra="autobins = false\nautolib = false\nbuild = false")
    old = packing.manifest().replace("2021", "2015") + '[[bin]]\nname = "b"\n'
    files = {"src/main.rs": "", "build.rs": ""}
    for toml, expected in ((off, (False, [], False)), (old, (True, ["b"], True))):
        targets = facts_of(packing.crate(toml=toml, files=files)).build_targets
        assert (targets.has_library, targets.binary_names, targets.has_build_script) == expected


def test_missing_edition_is_that_of_2015() -> None:
    toml = packing.manifest()
    editions = {"": "2015", 'edition = "2024"': "2024", "edition = 2021": "", 'edition = "next"': ""}
    read = {line: facts_of(packing.crate(toml=toml.replace('edition = "2021"', line))).edition for line in editions}
    assert read == editions


def test_readme_is_that_of_the_manifest() -> None:
    files = {"README.md": "default", "docs/other.txt": "other"}
    texts = {
        "": "default",
        "readme = true": "default",
        "readme = false": "",
        'readme = "docs/other.txt"': "other",
        'readme = "./docs//other.txt"': "other",
        'readme = "missing.md"': "",
        'readme = "../README.md"': "",
        "readme = 1": "",
    }
    assert {line: facts_with(line, files).readme_text for line in texts} == texts
    assert facts_with("", {"README.txt": "text", "README": "plain"}).readme_path == "README.txt"


def test_text_that_a_database_cannot_hold_is_replaced() -> None:
    assert facts_with("", {"README.md": b"\xef\xbb\xbfa\0b\xffc"}).readme_text == "a\ufffdb\ufffdc"


def test_license_is_written_as_spdx_does() -> None:
    expressions = {
        "MIT/Apache-2.0": "MIT OR Apache-2.0",
        "mit or apache-2.0": "MIT OR Apache-2.0",
        "GPL-3.0+": "GPL-3.0-or-later",
        "Apache-2.0 WITH LLVM-exception": "Apache-2.0 WITH LLVM-exception",
        "MIT AND (BSD-3-Clause OR Zlib)": "MIT AND (BSD-3-Clause OR Zlib)",
        "LicenseRef-ours": "LicenseRef-ours",
        **dict.fromkeys(
            ("", "MIT OR", "Apache-2.0 WITH MIT", "ours", "()", "LicenseRef-\0", "(" * 255, "MIT OR " * 40 + "MIT"), ""
        ),
    }
    assert {text: licenses.normalize(text) for text in expressions} == expressions


def test_metadata_of_docs_rs_is_kept() -> None:
    metadata = 'features = ["a"]\n[package.metadata.docs.rs.x]\nday = 2024-02-29\nn = 1.5\n'
    read = facts_with(f"[package.metadata.docs.rs]\n{metadata}").docs_rs
    assert read == {"features": ["a"], "x": {"day": "2024-02-29", "n": 1.5}}
    long = json.dumps("x" * facts.MAX_METADATA_SIZE)
    for value in (long, "nan", '"\\u0000"', "[" * 40 + "]" * 40):
        assert facts_with(f"[package.metadata.docs.rs]\nkey = {value}").docs_rs is None
    assert facts_with("[package.metadata]\ndocs = 1").docs_rs is None


def test_commit_is_that_of_cargo() -> None:
    infos = {
        json.dumps({"git": {"sha1": COMMIT}, "path_in_vcs": "a/b"}): (COMMIT, "a/b"),
        json.dumps({"git": {"sha1": COMMIT, "dirty": True}}): (COMMIT, ""),
        json.dumps({"git": {"sha1": "<script>"}, "path_in_vcs": 1}): ("", ""),
        **dict.fromkeys(("", "[]", "nothing", '{"git": 1}', "[" * 10_000), ("", "")),
    }
    read = {text: facts_with("", {".cargo_vcs_info.json": text}) for text in infos}
    assert {text: (each.vcs_commit, each.vcs_path) for text, each in read.items()} == infos


def test_listed_file_stands_at_its_offset() -> None:
    crate = packing.crate(files={"src/a.rs": "fn a() {}", "b" * 120: "long name", "empty": ""})
    tar = gzip.decompress(crate)
    texts = {path: tar[offset : offset + size] for path, size, offset in facts_of(crate).files}
    assert (texts["src/a.rs"], texts["b" * 120], texts["empty"]) == (b"fn a() {}", b"long name", b"")
    assert facts_of(crate).unpacked_size == sum(map(len, texts.values()))


def test_lines_are_counted_by_language() -> None:
    files = {
        "a.rs": 'fn a() {} // code\n  // comment\n\n/// docs\n/* one */\n/*\n\n two\n*/\nlet x = "/*";',
        "b.py": "# comment\r\nx = 1\r\n",
        "tests/c.C": "x",
        "d.txt": "text",
        ".rs": "x",
    }
    assert facts_with("", files).line_counts == {
        "Rust": {"code_lines": 2, "comment_lines": 6, "files": 2},
        "Python": {"code_lines": 1, "comment_lines": 1, "files": 1},
        "C": {"code_lines": 1, "comment_lines": 0, "files": 1},
    }


# --- Hostile crates ---------------------------------------------------------------------------------------------


def test_long_texts_are_left_out_with_a_sentence() -> None:
    read = facts_with(
        'readme = "R"\nlicense-file = "L"',
        {"R": "x" * (facts.MAX_README_SIZE + 1), "L": b"\xff" * (facts.MAX_LICENSE_SIZE // 2)},
    )
    assert (read.readme_text, read.license_text) == ("", "")
    assert read.omissions == [
        "the readme 'R' has 524289 bytes and is not shown; at most 524288 bytes of UTF-8 are",
        "the license-file 'L' has 131072 bytes and is not shown; at most 262144 bytes of UTF-8 are",
    ]
    assert len(facts_with('readme = "R"', {"R": "x" * facts.MAX_README_SIZE}).readme_text) == facts.MAX_README_SIZE


def test_endless_texts_are_not_read_into_memory() -> None:
    endless = "x" * (20 * KIB * KIB)
    crate = packing.crate(
        toml=packing.manifest(extra='license-file = "a.rs"'), files={"README": endless, "a.rs": endless}
    )
    tracemalloc.start()
    try:
        assert facts_of(crate).omissions[0].startswith("the readme 'README' has 20971520 bytes")
        assert tracemalloc.get_traced_memory()[1] < 4 * KIB * KIB
    finally:
        tracemalloc.stop()


def test_many_usual_texts_do_not_pile_up() -> None:
    files = {f"README{number}": "x" * (500 * KIB) for number in range(20)} | {"README.md": "last"}
    crate = packing.crate(files=files)
    contents = archive.read(io.BytesIO(crate), len(crate), "demo-1.0.0")
    assert sum(map(len, contents.usual_texts.values())) <= archive.MAX_USUAL_TEXTS_SIZE
    assert facts_of(packing.crate(files={**files, "README19": "x", "README.md": "x" * (500 * KIB)})).readme_text


def test_long_lists_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "MAX_FILES", 3)
    read = facts_with("", {"a": "", "b": ""})
    assert (len(read.files), read.file_count) == (3, 4)
    assert read.omissions == ["the crate has 4 files; only the first 3 are listed"]
    monkeypatch.setattr(facts, "MAX_LENGTH_OF_PATHS", 12)
    assert [path for path, *_ in facts_with("", {"a": "", "b": ""}).files] == ["Cargo.toml"]
    many = "".join(f'[[bin]]\nname = "b{number}"\n' for number in range(500))
    assert len(targets_of(f'{many}[[bin]]\nname = "{"a" * 200}"\n')[2]) == 100


def test_endless_source_is_not_counted() -> None:
    line_count = source_lines.MAX_LINES
    for text in ("x\n" * (line_count + 1), "x" * (source_lines.MAX_FILE_BYTES + 1)):
        assert facts_with("", {"a.rs": text}).line_counts is None
    counted = facts_with("", {"a.rs": "x\n" * line_count}).line_counts
    assert counted == {"Rust": {"code_lines": line_count, "comment_lines": 0, "files": 2}}


def test_largest_source_is_counted_in_time() -> None:
    crate = packing.crate(files={f"{number}.rs": "/*\n" * (line := 100_000) + "x" * line for number in range(4)})
    began = time.process_time()
    assert facts_of(crate).line_counts
    assert time.process_time() - began < 2


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
_KEYS = ("name", "readme", "license-file", "license", "edition", "build", "autobins", "autolib", "metadata")
_tables = st.dictionaries(st.sampled_from(_KEYS), _values)


@settings(max_examples=40)
@given(package=_values | _tables, library=_values, binaries=_values)
def test_any_manifest_has_facts(package: Any, library: Any, binaries: Any) -> None:
    crate = packing.crate()
    contents = archive.read(io.BytesIO(crate), len(crate), "demo-1.0.0")
    document = {"package": package, "lib": library, "bin": binaries}
    assert facts.read(document, contents, io.BytesIO(crate), len(crate)).file_count == 2


# --- Publish ----------------------------------------------------------------------------------------------------


def test_publish_stores_the_facts(as_alice: CargoClient) -> None:
    extra = 'license = "mit"\nlicense-file = "L"\nreadme = "R.md"\n[package.metadata.docs.rs]\nfeatures = ["a"]'
    info = json.dumps({"git": {"sha1": COMMIT}})
    files = {"R.md": "# R", "L": "You may.", "src/main.rs": "fn main() {}", ".cargo_vcs_info.json": info}
    crate = packing.crate(toml=packing.manifest(extra=extra), files=files)
    assert as_alice.publish(packing.frame(packing.metadata(), crate)).json()["warnings"]["other"] == [
        "the crate has no description, so a search finds it by its name only"
    ]
    version = Version.objects.select_related("contents").get()
    assert (version.edition, version.library_name, version.binary_names) == ("2021", "demo", ["demo"])
    assert (version.has_library, version.has_build_script, version.is_proc_macro) == (True, False, False)
    assert (version.license_expression, version.license_file, version.vcs_commit) == ("MIT", "L", COMMIT)
    assert (version.file_count, version.examined) == (6, facts.REVISION)
    assert version.line_counts == {"Rust": {"code_lines": 1, "comment_lines": 0, "files": 2}}
    contents = version.contents
    assert (contents.readme_path, contents.readme_text, contents.license_text) == ("R.md", "# R", "You may.")
    assert contents.docs_rs == {"features": ["a"]}
    assert [path for path, *_ in contents.files] == ["Cargo.toml", "src/lib.rs", *files]


def test_readme_is_rendered_within_its_repository(as_alice: CargoClient) -> None:
    extra = 'repository = "https://github.com/a/b"\nreadme = "docs/R.md"'
    files = {
        "docs/R.md": "[link](x.md) <script>alert(1)</script>",
        ".cargo_vcs_info.json": json.dumps({"git": {"sha1": COMMIT}, "path_in_vcs": "crates/demo"}),
    }
    crate = packing.crate(toml=packing.manifest(extra=extra), files=files)
    assert as_alice.publish(packing.frame(packing.metadata(), crate)).status_code == 200
    page = as_alice.get("/crates/demo/1.0.0").content.decode()
    assert VersionContents.objects.get().readme_html == ""  # the page has rendered it for itself
    assert readme_rendering.work_off() == 1
    html = VersionContents.objects.get().readme_html
    assert html in page
    assert as_alice.get("/crates/demo/1.0.0").content.decode() == page
    assert readme_rendering.work_off() == 0
    assert 'href="https://github.com/a/b/blob/HEAD/crates/demo/docs/x.md"' in html
    assert "<script" not in html


def test_long_readme_is_published_with_a_warning(as_alice: CargoClient) -> None:
    crate = packing.crate(files={"README.md": "x" * (facts.MAX_README_SIZE + 1)})
    response = as_alice.publish(packing.frame(packing.metadata(), crate))
    assert "the readme 'README.md' has 524289 bytes and is not shown" in response.json()["warnings"]["other"][-1]
    assert VersionContents.objects.get().readme_text == ""
