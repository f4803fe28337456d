"""The source browser: folders, files and lines of a version."""

import time
from html import unescape

import pytest
from django.test import Client
from django.utils.html import strip_tags

from crates import source
from crates.package.archive import Member
from registry_site.markdown import highlighting
from registry_site.storage.blobs import Blob
from tests.support import packing
from tests.support.cast import CargoClient

FILES: dict[str, bytes | str] = {
    "src/lib.rs": "// <first>\n/* two\nlines */\npub fn \u202eshow() {}\n",
    "src/deep/one.rs": "",
    "logo.png": b"\x89PNG\0",
    "latin.txt": b"caf\xe9",
    "long.txt": "x" * (source.MAX_TEXT_SIZE + 1),
    "a b#.txt": "odd name",
    "logo\u202egnp.rs": "",
}


def text_of(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path, headers={"Accept": "text/html"})
    assert response.status_code == status, path
    return str(response.content.decode())


@pytest.fixture
def demo(as_alice: CargoClient) -> None:
    for version in ("1.0.0", "1.1.0"):
        crate = packing.crate("demo", version, files={**FILES, "VERSION": version})
        assert as_alice.publish(packing.frame(packing.metadata("demo", version), crate)).status_code == 200


@pytest.mark.usefixtures("demo")
def test_folder_lists_folders_first(client: Client) -> None:
    page = text_of(client, "/crates/demo/source")
    assert page.index(">src/<") < page.index(">Cargo.toml<")
    assert "one.rs" not in page
    assert 'href="/crates/demo/source/src/deep"' in text_of(client, "/crates/demo/source/src/")


@pytest.mark.usefixtures("demo")
def test_each_file_opens_by_its_link(client: Client) -> None:
    assert "odd name" in text_of(client, "/crates/demo/source/a%20b%23.txt")
    assert 'href="/crates/demo/source/a%20b%23.txt"' in text_of(client, "/crates/demo/source")


@pytest.mark.usefixtures("demo")
def test_file_is_of_the_named_version(client: Client) -> None:
    paths = {"/crates/demo/source/VERSION": "1.1.0", "/crates/demo/1.0.0/source/VERSION": "1.0.0"}
    for path, version in paths.items():
        assert f'<a id="L1" href="#L1">1</a>{version}' in text_of(client, path), path


@pytest.mark.usefixtures("demo")
def test_spans_end_with_their_lines(client: Client) -> None:
    page = text_of(client, "/crates/demo/source/src/lib.rs")
    assert '<span class="cm">/* two</span>\n<a id="L3" href="#L3">3</a><span class="cm">lines */</span>' in page
    assert "&lt;first&gt;" in page


@pytest.mark.usefixtures("demo")
def test_signs_that_reorder_text_are_shown(client: Client) -> None:
    """In the lines of a file, and in paths."""
    for path, expected in {"/src/lib.rs": "U+202E</mark>", "": "U+202E</mark>gnp.rs</a>"}.items():
        page = text_of(client, f"/crates/demo/source{path}")
        assert "\u202e" not in page, path
        assert expected in page, path


@pytest.mark.usefixtures("demo")
def test_obstacles_to_showing_are_named(client: Client) -> None:
    expected = {"logo.png": "It is no text.", "latin.txt": "It is no text.", "long.txt": "It is too long for a page."}
    offenders = [path for path, text in expected.items() if text not in text_of(client, f"/crates/demo/source/{path}")]
    assert offenders == []


@pytest.mark.usefixtures("demo")
def test_paths_that_are_not_there_get_404(client: Client) -> None:
    for path in ("none", "src/none.rs", "../Cargo.toml", "src//lib.rs", "SRC/lib.rs", "1.0.0/source"):
        text_of(client, f"/crates/demo/source/{path}", 404)
    text_of(client, "/crates/demo/2.0.0/source", 404)


def test_file_behind_much_data_is_not_unpacked() -> None:
    member = Member("far.rs", 1, source.MAX_OFFSET + 1)
    file = source.find(Blob("0" * 64, 1), [member], "far.rs")  # no such blob: reading it would fail
    assert isinstance(file, source.SourceFile)
    assert file.obstacle == "It stands too far behind in the archive for a page."


def test_crowded_folder_is_cut() -> None:
    members = [Member(f"{number}.rs", 1, 0) for number in range(source.MAX_LISTED + 7)]
    folder = source.list_folder("", "", members)
    assert (len(folder.entries), folder.hidden) == (source.MAX_LISTED, 7)


def test_lines_after_the_deadline_are_plain() -> None:
    code = "fn a() {}\n" * 500
    lines = highlighting.highlight_lines(code, "rust", time.thread_time() - 1)
    assert lines == code.split("\n")


def test_highlighted_lines_keep_their_text() -> None:
    code = 'let a = "x\n\ny";\n\n  // <b>\n'
    lines = highlighting.highlight_lines(code, "rust", time.thread_time() + 5)
    assert [unescape(strip_tags(line)) for line in lines] == code.split("\n")
    assert "<span" in lines[0]
