"""The pages that compare two versions."""

import gzip
import re
from html import unescape
from random import Random
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from accounts.models import User
from crates import comparison
from crates.models import Version
from crates.package import inventory
from registry_site.storage.blobs import Blob
from tests.support import crate_rows, packing
from tests.support.bad_upstream import BadUpstream
from tests.support.cast import CargoClient
from tests.support.mirror_client import MirrorClient
from tests.support.mirror_policies import publish as publish_upstream

HTML = {"Accept": "text/html"}
Files = dict[str, bytes | str]
LINES = [f"line {number}" for number in range(1, 41)]
OLD: Files = {"notes.txt": "\n".join(LINES), "moved.txt": "same bytes", "gone.txt": "gone", "tail.txt": "a\r\n"}
NEW: Files = {
    "notes.txt": "\n".join([*LINES[:20], "<new> \u202e line", *LINES[21:]]),
    "other.txt": "same bytes",
    "build.rs": "fn main() {}\n",
    "logo.png": b"\x89PNG\0",
    "long.txt": "x" * (256 * 1024 + 1),
    "tail.txt": "a\n",
}
WAY = "/crates/demo/diff/1.0.0...1.1.0"


@pytest.fixture(autouse=True)
def nothing_read_before() -> None:
    comparison.read_inventory.cache_clear()


def publish(client: CargoClient, version: str, files: Files, **changes: Any) -> None:
    lines = [f'[dependencies.{need["name"]}]\nversion = "{need["version_req"]}"' for need in changes.get("deps", [])]
    own = f'\nregistry-index = "sparse+{django_settings.PUBLIC_URL}/index/"'
    toml = packing.manifest("demo", version, "".join(f"\n{line}{own}" for line in lines))
    body = packing.frame(packing.metadata("demo", version, **changes), packing.crate("demo", version, toml, files))
    assert client.publish(body).status_code == 200


@pytest.fixture
def demo(as_alice: CargoClient) -> None:
    publish(as_alice, "1.0.0", OLD)
    publish(as_alice, "1.1.0", NEW, deps=[packing.dependency("needed")])


def text_of(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path, headers=HTML)
    assert response.status_code == status, path
    return str(response.content.decode())


@pytest.mark.usefixtures("demo")
def test_page_shows_each_part(client: Client) -> None:
    text = text_of(client, WAY)
    parts = (
        "What differs from 1.0.0 to 1.1.0",
        'Build script <span class="badge warn">check</span></th><td data-label="1.0.0">none</td>',
        '<a href="/crates/needed">needed</a> <span class',
        "3 added, 1 removed, 3 changed, 1 renamed",
        'moved.txt before. <a href="/crates/demo/1.0.0/source/moved.txt">',
        "<del>-line 21</del>\n<ins>+&lt;new&gt; ",
        "U+202E</mark> line</ins>",
        "<del>-gone</del>",
        "It is no text.",
        "It is too long to be compared by lines.",
        "Only ends of lines, or a mark at its beginning, differ.",
        'href="/crates/demo/diff/1.1.0...1.0.0"',
    )
    assert [part for part in parts if part not in text] == []
    assert "line 10<" not in text
    assert text.index("build.rs <span") < text.index("Cargo.toml <span") < text.index("gone.txt <span")


def test_commits_and_publishers_of_both_are_shown(client: Client, as_alice: CargoClient, bob: User) -> None:
    for version, commit in (("1.0.0", "a" * 40), ("1.1.0", "b" * 40)):
        info = f'{{"git": {{"sha1": "{commit}"}}}}'
        toml = packing.manifest("demo", version, 'repository = "https://github.com/a/b"')
        crate = packing.crate("demo", version, toml, {".cargo_vcs_info.json": info})
        assert as_alice.publish(packing.frame(packing.metadata("demo", version), crate)).status_code == 200
    Version.objects.filter(number="1.1.0").update(published_by=bob)
    text = text_of(client, WAY)
    for commit in ("a" * 40, "b" * 40):
        assert f'href="https://github.com/a/b/commit/{commit}"' in text
    cells = ('Publisher <span class="badge warn">', '<td data-label="1.0.0">alice<', '<td data-label="1.1.0">bob<')
    assert [cell for cell in cells if cell not in text] == []


@pytest.mark.usefixtures("demo")
def test_other_order_shows_the_reverse(client: Client) -> None:
    text = text_of(client, "/crates/demo/diff/1.1.0...1.0.0")
    assert "<ins>+line 21</ins>" in text
    assert "<del>-&lt;new&gt;" in text
    assert "1 added, 3 removed, 3 changed, 1 renamed" in text


@pytest.mark.usefixtures("demo")
def test_same_version_has_no_difference(client: Client) -> None:
    text = text_of(client, "/crates/demo/diff/1.0.0...1.0.0")
    assert "Both are the same version." in text
    assert "<ins>" not in text


@pytest.mark.usefixtures("demo")
def test_unknown_versions_and_files_get_404(client: Client) -> None:
    Version.objects.filter(number="1.1.0").update(yanked=True)
    for path in (
        "diff/1.0.0...3.0.0",
        "diff/3.0.0...1.0.0",
        "diff/1.0.0...x",
        "diff/1.0.0",
        "diff?from=9.9.9&to=1.0.0",
    ):
        text_of(client, f"/crates/demo/{path}", 404)
    for query in ("path=none", "path=notes.txt&page=2", "path=logo.png&page=2", "after=zzz"):
        text_of(client, f"{WAY}?{query}", 404)
    text_of(client, f"{WAY}?path=notes.txt&page=0", 400)


@pytest.mark.usefixtures("demo")
def test_form_leads_to_the_comparison(client: Client) -> None:
    text = text_of(client, "/crates/demo/diff")
    assert "<option selected>1.1.0</option>" in text
    response = client.get("/crates/Demo/diff?from=1.1.0&to=+1.0.0", headers=HTML, follow=True)
    assert response.redirect_chain[-1] == ("/crates/demo/diff/1.1.0...1.0.0", 302)


def test_number_of_many_versions_is_typed(client: Client, alice: User, django_assert_max_num_queries: Any) -> None:
    crate_rows.create_crate_of(250, alice)
    with django_assert_max_num_queries(10):
        text = text_of(client, "/crates/demo/diff")
    assert 'name="to" list="numbers"' in text
    assert text.count("<option") == 100


@pytest.mark.usefixtures("demo")
def test_versions_and_source_lead_to_the_comparison(client: Client) -> None:
    expected = {
        "versions": f'href="{WAY}"',
        "source": f'href="{WAY}"',
        "source/notes.txt": f'href="{WAY}?path=notes.txt"',
    }
    assert [path for path, link in expected.items() if link not in text_of(client, f"/crates/demo/{path}")] == []
    assert "/diff/" not in text_of(client, "/crates/demo/1.0.0/source")


@pytest.mark.usefixtures("demo")
def test_yanked_version_says_so(client: Client) -> None:
    Version.objects.filter(number="1.0.0").update(yanked=True, yank_message="Too loud")
    assert "Too loud" in text_of(client, WAY)
    assert "Too loud" in text_of(client, "/crates/demo/diff/1.1.0...1.0.0")


@pytest.mark.usefixtures("demo")
def test_equal_file_says_so(client: Client) -> None:
    assert "It is the same in both versions." in text_of(client, f"{WAY}?path=src/lib.rs")


@pytest.mark.usefixtures("demo")
def test_old_path_shows_the_renaming(client: Client) -> None:
    assert "Its bytes are those of moved.txt before." in text_of(client, f"{WAY}?path=moved.txt")


def test_file_behind_the_limit_is_not_called_equal(
    client: Client, as_alice: CargoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(as_alice, "1.0.0", {"b.txt": "b", "c.txt": "c"})
    publish(as_alice, "1.1.0", {"a.txt": "a"})
    monkeypatch.setattr(inventory, "MAX_ENTRIES", 3)
    text_of(client, f"{WAY}?path=a.txt", 404)


def test_build_is_not_compared_without_a_manifest(
    client: Client, as_alice: CargoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(as_alice, "1.0.0", {})
    publish(as_alice, "1.1.0", {"build.rs": ""})
    monkeypatch.setitem(inventory.PARSED, "Cargo.toml", 10)
    text = text_of(client, WAY)
    assert text.count("could not be read") == 2
    assert "Procedural macro" not in text


@pytest.mark.usefixtures("demo")
def test_unchanged_page_is_not_sent_again(client: Client) -> None:
    response = client.get(WAY, headers=HTML)
    assert (response["Cache-Control"], response["ETag"][0]) == ("no-cache", '"')
    again = client.get(WAY, headers={**HTML, "If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_pages_of_files_have_each_line_once(client: Client, as_alice: CargoClient) -> None:
    texts = {f"{name}.txt": "\n".join(f"{name}{number}" for number in range(250)) for name in "abcdefgh"}
    publish(as_alice, "1.0.0", {})
    publish(as_alice, "1.1.0", dict(texts))
    titles: list[str] = []
    path: str | None = WAY
    while path:
        text = text_of(client, path)
        titles += re.findall(r"<h3[^>]*>(\S+) ", text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        path = unescape(following[1]) if following else None
    assert titles == ["Cargo.toml", *texts]
    assert f'<a href="{WAY}?path=a.txt">All of this file: 50 more lines</a>' in text_of(client, WAY)


def test_long_file_has_pages_of_its_own(client: Client, as_alice: CargoClient) -> None:
    lines = [f"number {number}" for number in range(1500)]
    publish(as_alice, "1.0.0", {})
    publish(as_alice, "1.1.0", {"a.txt": "\n".join(lines)})
    pages = [text_of(client, f"{WAY}?path=a.txt&page={page}") for page in (1, 2, 3)]
    assert re.findall("<ins>.(.*?)</ins>", "".join(pages)) == lines
    assert [f"page={page}" in pages[1] for page in (1, 3)] == [True, True]
    text_of(client, f"{WAY}?path=a.txt&page=4", 404)


def hostile_files(random: Random) -> Files:
    """Return files with long names and lines that nothing compresses."""
    signs = [chr(number) for number in range(33, 127) if chr(number) not in '\\<>:"|?*/']

    def noise(length: int) -> str:
        return "".join(random.choices(signs, k=length))

    long_lines = {f"{noise(200)}{number}": "\n".join(noise(3000) for _ in range(40)) for number in range(30)}
    code = {f"{noise(120)}{number}.rs": f"unsafe fn a() {{ }}\n{noise(3000)}" for number in range(30)}
    return {**long_lines, **code, "one.txt": noise(250_000), "build.rs": noise(9000)}


def test_hostile_crate_makes_small_pages(client: Client, as_alice: CargoClient) -> None:
    random = Random(18)
    for version in ("1.0.0", "1.1.0"):
        names = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=60)) for _ in range(300)]
        publish(as_alice, version, hostile_files(random), deps=[packing.dependency(name) for name in names])
    weights = {}
    for query in ("", "?path=build.rs", "?path=one.txt", "?after=Cargo.toml"):
        weights[query] = len(gzip.compress(text_of(client, WAY + query).encode()))
    assert {query: weight for query, weight in weights.items() if weight > 40_000} == {}


def test_archives_are_read_once_for_many_pages(
    client: Client, as_alice: CargoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(as_alice, "1.0.0", {"a.txt": "a"})
    publish(as_alice, "1.1.0", {"a.txt": "b"})
    opened: list[str] = []
    read = Blob.read

    def count(blob: Any, *arguments: Any) -> Any:
        opened.append(blob.sha256)
        return read(blob, *arguments)

    monkeypatch.setattr(Blob, "read", count)
    for _ in range(3):
        text_of(client, WAY)
    # Each for its inventory once, and for the texts of each page.
    assert {opened.count(sha256) for sha256 in opened} == {4}


@pytest.mark.usefixtures("demo")
def test_many_comparisons_at_once_are_refused(client: Client) -> None:
    taken = 0
    try:
        while comparison.slots.acquire(blocking=False):
            taken += 1
        response = client.get(WAY, headers=HTML)
    finally:
        comparison.slots.release(taken)
    assert (response.status_code, response["Retry-After"]) == (503, "2")
    assert 0 < taken < django_settings.THREADS
    text_of(client, WAY)


def test_mirrored_crate_is_compared(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish_upstream(upstream, {"1.0.0": {}, "1.1.0": {"deps": []}})
    for version in ("1.0.0", "1.1.0"):
        assert mirror.crate(version=version).status_code == 200
    text = mirror.page("demo/diff/1.0.0...1.1.0").content.decode()
    assert "<ins>+" in text
    assert 'href="/mirror/crates/demo/1.0.0/source"' in text


def test_missing_file_leaves_the_index_lines(mirror: MirrorClient, upstream: BadUpstream) -> None:
    needs = [packing.dependency("needed", req="^3")]
    publish_upstream(upstream, {"1.0.0": {}, "1.1.0": {"deps": needs}})
    assert mirror.crate(version="1.0.0").status_code == 200
    text = mirror.page("demo/diff/1.0.0...1.1.0").content.decode()
    assert "The mirror has not stored the file of 1.1.0 yet" in text
    assert ">needed</a> <span" in text
    assert mirror.page("demo/diff/1.0.0...1.1.0?path=Cargo.toml").status_code == 404
