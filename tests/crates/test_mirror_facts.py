"""Facts of mirrored crates, read from their files when these are stored, and summaries of index files."""

import gzip
import json
import random
import threading
import time
from collections.abc import Iterable
from io import BytesIO, StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from crates.mirror import crate_facts, examination, index_cache
from crates.mirror.models import CachedCrate, CrateFacts, IndexSummary
from registry_site.storage import blobs
from tests.support import packing
from tests.support.bad_upstream import BadUpstream, file, line
from tests.support.mirror_client import MirrorClient

MANIFEST = """
[package]
name = "demo"
version = "1.0.0"
description = "A crate of upstream"
repository = "https://github.com/up/demo"
homepage = "javascript:alert(1)"
documentation = "https://docs.example.com/demo"
readme = "docs/README.md"
edition = "2021"
license = "MIT OR Apache-2.0"
keywords = ["One", "two", 3]
categories = ["parsing"]
[[bin]]
name = "tool"
path = "src/tool.rs"
"""
FILES = {
    "docs/README.md": "# Demo\n[way](there.md)\n",
    "src/lib.rs": "// A comment\npub fn f() {}\n",
    "src/tool.rs": "fn main() {}\n",
    ".cargo_vcs_info.json": json.dumps({"git": {"sha1": "0" * 40}, "path_in_vcs": "crates/demo"}),
}
CRATE = packing.crate(toml=MANIFEST, files=FILES)
EXPECTED = {
    "description": "A crate of upstream",
    "homepage": "",
    "repository": "https://github.com/up/demo",
    "documentation": "https://docs.example.com/demo",
    "license_file": "",
    "edition": "2021",
    "has_library": True,
    "binary_names": ["tool"],
    "line_counts": {"Rust": {"code_lines": 2, "comment_lines": 1, "files": 2}},
    "keywords": ["one", "two"],
    "categories": ["parsing"],
}
OF_THE_ARCHIVE = ("has_library", "binary_names", "line_counts")


def publish(upstream: BadUpstream, content: bytes) -> None:
    upstream.script_index("demo", file(line("demo", "1.0.0", content) + b"\n"))
    upstream.script_crate("demo", "1.0.0", file(content))


def stored_facts() -> dict[str, Any]:
    facts: dict[str, Any] = CrateFacts.objects.values(*EXPECTED).get()
    return facts


def examine() -> str:
    output = StringIO()
    call_command("mirror", "examine", stdout=output)
    return output.getvalue()


def test_manifest_is_read_with_the_crate(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, CRATE)
    assert mirror.crate().status_code == 200
    assert stored_facts() == {**EXPECTED, "edition": "", **dict.fromkeys(OF_THE_ARCHIVE)}
    assert CachedCrate.objects.get().license == "MIT OR Apache-2.0"
    call_command("mirror", "status", stdout=(output := StringIO()))
    assert "1 files are not examined yet" in output.getvalue()


def test_manifest_ends_the_first_reading() -> None:
    files: dict[str, bytes | str] = {
        "demo-1.0.0/Cargo.toml": MANIFEST,
        "demo-1.0.0/src/lib.rs": random.Random(1).randbytes(1_000_000),
    }
    content = BytesIO(gzip.compress(packing.tar_of(files)))
    assert crate_facts.read_manifest(content, len(content.getvalue()))[0] == "MIT OR Apache-2.0"
    assert content.tell() < len(content.getvalue()) // 2


def test_readme_is_read_for_its_page(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, CRATE)
    mirror.index_file()
    page = "/mirror/crates/demo/1.0.0/readme"
    assert "has not stored the file of demo@1.0.0 yet" in mirror.get(page).content.decode()
    mirror.crate()
    html = mirror.get(page).content.decode()
    assert "<h1" in html
    assert 'href="https://github.com/up/demo/blob/HEAD/crates/demo/docs/there.md"' in html
    assert CrateFacts.objects.get().examined == 0
    examine()
    blobs.delete(CachedCrate.objects.get().blob())
    assert mirror.get(page).content.decode() == html


def test_hostile_readme_is_shown_as_text(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, packing.crate(toml=packing.manifest(), files={"README.md": "> " * 100_000 + "<b>"}))
    mirror.crate()
    began = time.process_time()
    html = mirror.get("/mirror/crates/demo/1.0.0/readme").content.decode()
    assert "&gt; &gt;" in html
    assert "<b>" not in html
    assert time.process_time() - began < 5


def test_facts_of_deleted_crates_are_left_out(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, CRATE)
    mirror.crate()
    crate = CachedCrate.objects.get()
    assert examination.store({crate.pk: crate_facts.read_stored(crate), crate.pk + 1: {"examined": 1}}) == 1
    assert stored_facts() == EXPECTED
    assert CrateFacts.objects.count() == 1


def test_lost_file_keeps_no_other_from_examination(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, CRATE)
    mirror.crate()
    lost = CachedCrate.objects.create(name="another", version="1.0.0", sha256="0" * 64, size=1)
    examination.examine_all([lost, CachedCrate.objects.get(name="demo")])
    assert stored_facts() == EXPECTED


def test_process_remembers_few_fetched_crates(monkeypatch: pytest.MonkeyPatch) -> None:
    all_submitted = threading.Event()
    examined: list[CachedCrate] = []

    def examine_later(crates: Iterable[CachedCrate]) -> None:
        all_submitted.wait()
        examined.extend(crates)

    monkeypatch.setattr(examination, "START_AFTER_SECONDS", 0)
    monkeypatch.setattr(examination, "examine_all", examine_later)
    examiner = examination.Examiner()
    for number in range(2 * examination.MAX_WAITING):
        examiner.submit(CachedCrate(pk=number + 1))
    all_submitted.set()
    examiner.finish()
    assert examination.MAX_WAITING <= len(examined) <= examination.MAX_WAITING + 1


TEXTS = ("description", "repository", "documentation", "keywords", "categories", "readme_text", "edition")


def damaged() -> dict[str, bytes]:
    return {
        "no archive": b"the bytes of a crate",
        "cut off": CRATE[: len(CRATE) // 2],
        "no manifest": gzip.compress(packing.tar_of({"demo-1.0.0/src/lib.rs": ""})),
        "odd values": packing.crate(toml="[package]\nkeywords = 7\ncategories = [[]]\nrepository = {}\nedition = 1"),
    }


def test_damaged_crates_have_no_facts() -> None:
    contents = {case: crate_facts.read(BytesIO(content), len(content)) for case, content in damaged().items()}
    offenders = {case: read for case, read in contents.items() if any(read.get(key) for key in TEXTS)}
    assert offenders == {}


def test_unreadable_crate_is_stored_all_the_same(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, b"the bytes of a crate")
    assert mirror.crate().body == b"the bytes of a crate"
    assert CrateFacts.objects.filter(description="", repository="", keywords=[]).count() == 1


def test_manifest_counts_when_the_rest_is_damaged() -> None:
    toml = packing.manifest(extra='license = "MIT"')
    content = gzip.compress(packing.tar_of({"demo-1.0.0/Cargo.toml": toml})[:1024])
    assert crate_facts.read_manifest(BytesIO(content), len(content))[0] == "MIT"


def test_command_reads_stored_crates_once(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, CRATE)
    mirror.crate()
    CrateFacts.objects.all().delete()
    assert examine() == "1 files are read.\n"
    assert stored_facts() == EXPECTED
    assert examine() == "0 files are read.\n"


def test_command_reads_newer_facts(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, CRATE)
    mirror.crate()
    CrateFacts.objects.update(examined=0, repository="")
    examine()
    assert stored_facts() == EXPECTED


def test_command_goes_on_behind_lost_files(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, CRATE)
    mirror.crate()
    CrateFacts.objects.all().delete()
    CachedCrate.objects.create(name="another", version="1.0.0", sha256="0" * 64, size=1)
    with pytest.raises(CommandError, match=r"another@1\.0\.0"):
        call_command("mirror", "examine", stdout=StringIO())
    assert stored_facts() == EXPECTED


def test_facts_go_with_the_crate(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, CRATE)
    mirror.crate()
    call_command("mirror", "prune", "--days", "0", stdout=StringIO())
    assert CrateFacts.objects.count() == 0


# --- Summaries -----------------------------------------------------------------------------------------------------

INDEX = b"\n".join(
    line("Demo", version, version.encode(), yanked=yanked, pubtime=f"2026-01-0{day}T00:00:00Z")
    for day, (version, yanked) in enumerate(
        [("1.0.0", False), ("2.0.0", True), ("3.0.0-rc.1", False), ("0.9.1", False)], start=1
    )
)
SUMMARY = {
    "name": "Demo",
    "name_words": "demo",
    "version_count": 4,
    "max_version": "3.0.0-rc.1",
    "max_stable_version": "1.0.0",
    "default_version": "1.0.0",
    "newest_version": "0.9.1",
}


@pytest.mark.django_db
def test_stored_index_file_is_summarized() -> None:
    index_cache.store("de/mo/demo", "", INDEX)
    assert IndexSummary.objects.values(*SUMMARY).get() == SUMMARY
    summary = IndexSummary.objects.get()
    assert (summary.created_at.day, summary.updated_at.day) == (1, 4)


@pytest.mark.django_db
def test_summary_of_yanked_versions_names_the_highest() -> None:
    index_cache.store("de/mo/demo", "", line("demo", "1.0.0", b"x", yanked=True))
    summary = IndexSummary.objects.get()
    assert (summary.max_version, summary.default_version, summary.newest_version) == ("", "1.0.0", "")
