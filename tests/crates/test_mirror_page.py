"""The page and the JSON of a mirrored crate: its versions, and the reasons why some are held back."""

from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from crates.mirror import examination
from crates.mirror.models import CachedCrate, CachedIndexFile
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream, line
from tests.support.cast import PASSWORD, CargoClient
from tests.support.mirror_client import MirrorClient
from tests.support.mirror_policies import (
    BLOCKED,
    EXEMPT,
    add_advisory,
    add_override,
    ago,
    publish,
    set_all_policies,
)

HOSTILE = '<script>alert("1")</script>&amp;'
HTML = {"Accept": "text/html"}
URL = "/mirror/crates/demo"


def test_page_escapes_hostile_texts(mirror: MirrorClient, upstream: BadUpstream, settings: Any, tmp_path: Path) -> None:
    settings.MIRROR_LICENSES, settings.MIRROR_ADVISORIES = ["MIT"], [str(tmp_path)]
    add_advisory(tmp_path, patched='[">=1.1"]', title=HOSTILE)
    publish(upstream, {"1.0.0": {}, "1.1.0": {}, "1.2.0": {}, "1.3.0": f"license {HOSTILE}"})
    add_override(BLOCKED, "=1.2.0", f"reason {HOSTILE}")
    text = mirror.page("demo/versions").content.decode()
    for reason in (f"against it: {HOSTILE}", f"license is license {HOSTILE}", f"blocked: reason {HOSTILE}"):
        assert escape(reason).replace("&#x27;", "&#39;") in text
    assert HOSTILE not in text
    assert set(mirror.reasons()) == {"1.0.0", "1.2.0", "1.3.0"}


def test_browsers_get_a_page_and_machines_json(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": {"pubtime": "2026-01-02T03:04:05Z"}, "2.0.0": {"yanked": True}})
    assert mirror.crate().status_code == 200
    second, first = mirror.versions("Demo")
    assert first == {
        "num": "1.0.0",
        "checksum": CachedCrate.objects.get().sha256,
        "yanked": False,
        "published_at": "2026-01-02T03:04:05Z",
        "license": "MIT",
        "held_back": "",
        "exempt": "",
    }
    assert (second["num"], second["yanked"], second["license"]) == ("2.0.0", True, None)
    response = mirror.page()
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert "Accept" in response["Vary"]
    assert "Yanked upstream." in mirror.page("demo/versions").content.decode()
    markdown = mirror.get(URL, headers={"Accept": "text/markdown"})
    assert (markdown["Content-Type"], "Accept" in markdown["Vary"]) == ("text/markdown; charset=utf-8", True)


def test_page_of_an_unknown_crate_is_missing(mirror: MirrorClient) -> None:
    for name in ("nowhere", "a b", "é", "..", "x" * 65):
        assert mirror.page(name).status_code == mirror.get(f"/mirror/crates/{name}").status_code == 404, name


def test_page_of_our_own_crate_is_missing(mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient) -> None:
    as_alice.publish(packing.body("my-lib"))
    upstream.requests.clear()
    publish(upstream, {"1.0.0": "MIT"}, "my_lib")
    assert mirror.page("my_lib").status_code == 404
    assert upstream.requests == []


def test_fault_of_upstream_is_shown_as_a_page(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.script_index("demo", bad_upstream.reset)
    response = mirror.page()
    assert (response.status_code, response["Content-Type"]) == (502, "text/html; charset=utf-8")


def test_private_registry_shows_reasons_after_authentication(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, alice: User, as_alice: CargoClient
) -> None:
    settings.AUTH_REQUIRED = True
    publish(upstream, {"1.0.0": "MIT"})
    browser = Client()
    assert (browser.get(URL, headers=HTML).status_code, mirror.get(URL).status_code) == (302, 401)
    assert browser.login(username=alice.username, password=PASSWORD)
    assert (browser.get(URL, headers=HTML).status_code, browser.get(URL).status_code) == (200, 401)
    assert (as_alice.get(URL, headers=HTML).status_code, as_alice.get(URL).status_code) == (302, 200)


def test_pages_show_thousands_of_versions(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    set_all_policies(settings, tmp_path)
    body = b"\n".join(line("demo", f"1.0.{patch}", b"x") for patch in range(2000))
    upstream.script_index("demo", bad_upstream.file(body))
    assert len(mirror.yanked()) == 2000
    for page in (1, 40):
        with CaptureQueriesContext(connection) as queries:
            text = mirror.page(f"demo/versions?page={page}").content.decode()
        assert text.count("<strong>Held back.</strong>") == 31  # and the notice above them
        assert len(queries) <= 10
    assert mirror.page("demo/versions?page=68").status_code == 404


def test_page_shows_the_file_of_a_version(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": "MIT", "1.1.0": "MIT"})
    readme = packing.manifest("demo", "1.0.0", 'license = "MIT"\ndescription = "A <demo>"')
    content = packing.crate("demo", "1.0.0", readme, {"README.md": "# Read <i>me</i>"})
    body = b"".join(line("demo", version, content) + b"\n" for version in ("1.0.0", "1.1.0"))
    upstream.script_index("demo", bad_upstream.file(body))
    upstream.script_crate("demo", "1.0.0", bad_upstream.file(content))
    assert mirror.crate().status_code == 200
    assert "The mirror reads this crate just now." in mirror.page("demo/1.0.0").content.decode()
    examination.examine(CachedCrate.objects.get())
    text = mirror.page("demo/1.0.0").content.decode()
    parts = (
        "A &lt;demo&gt;",
        "Read <i>me</i>",
        "cargo add demo@1.0.0",
        "demo = &quot;1.0.0&quot;",
        ">2021<",
        ">1.1.0</a>",
    )
    assert [part for part in parts if part not in text] == []
    newest = mirror.page().content.decode()
    assert "Read <i>me</i>" in newest
    assert "those of 1.0.0: the mirror has no file of 1.1.0 yet" in newest
    assert "# Read <i>me</i>" in mirror.get("/mirror/crates/demo/1.0.0.md").content.decode()


def test_young_version_says_when_it_is_offered(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 7
    now = timezone.now()
    publish(upstream, {"1.0.0": {"pubtime": ago(days=9)}, "1.1.0": {"pubtime": ago(days=3)}})
    until = f"{now + timedelta(days=4):%Y-%m-%d}"
    text = mirror.page("demo/1.1.0").content.decode()
    assert f"and is held back for 7 days. Old enough on {until}." in text
    assert "Held back" not in mirror.page().content.decode()
    add_override(EXEMPT, "=1.1.0", "We need <it>.")
    assert "exempt from the policies.</strong> We need &lt;it&gt;." in mirror.page().content.decode()


def test_other_spelling_leads_to_the_page(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": "MIT"}, "demo_two")
    assert mirror.page("demo_two").status_code == 200
    assert mirror.page("Demo-Two/versions?page=1")["Location"] == "/mirror/crates/demo_two/versions?page=1"


def test_stored_crate_is_shown_without_upstream(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": {"deps": [{"name": "serde", "req": "^1", "kind": "dev", "optional": False}]}})
    mirror.index_file()
    CachedIndexFile.objects.update(checked_at=timezone.now() - timedelta(days=9))
    upstream.requests.clear()
    paths = ("demo", "demo/versions", "demo/1.0.0/dependencies", "demo/dependents", "demo/feed.atom")
    pages = {path: mirror.page(path) for path in paths}
    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(paths, 200)
    assert 'href="https://crates.io/crates/serde"' in pages["demo/1.0.0/dependencies"].content.decode()
    assert upstream.requests == []


def test_pages_escape_hostile_lines(mirror: MirrorClient, upstream: BadUpstream) -> None:
    dependency = {"name": f"../{HOSTILE}", "req": HOSTILE, "target": HOSTILE, "features": [HOSTILE], "kind": "build"}
    fields = {"deps": [dependency], "features": {HOSTILE: [HOSTILE]}, "links": HOSTILE, "rust_version": HOSTILE}
    publish(upstream, {"1.0.0": fields})
    for path in ("demo", "demo/1.0.0", "demo/versions", "demo/dependencies", "demo/feed.atom"):
        response = mirror.page(path)
        assert (response.status_code, HOSTILE in response.content.decode()) == (200, False), path
    assert 'href="https://crates.io/crates/..%2F%3Cscript%3E' in mirror.page("demo/dependencies").content.decode()


def test_dependents_here_are_shown(mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient) -> None:
    publish(upstream, {"1.0.0": "MIT", "2.0.0": "MIT"})
    needing = packing.manifest("ours", "1.0.0", '[dependencies]\ndemo = "1"')
    as_alice.publish(packing.body("ours", toml=needing))
    text = mirror.page("demo/dependents").content.decode()
    assert '<a href="/crates/ours">ours</a>' in text
    assert "outdated" in text
