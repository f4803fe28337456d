"""The page and the JSON of a mirrored crate: its versions, and the reasons why some are held back."""

from html import escape
from pathlib import Path
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from crates.mirror.models import CachedCrate
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream, line
from tests.support.cast import PASSWORD, CargoClient
from tests.support.mirror_client import MirrorClient
from tests.support.mirror_policies import BLOCKED, add_advisory, add_override, publish, set_all_policies

HOSTILE = '<script>alert("1")</script>&amp;'
HTML = {"Accept": "text/html"}
URL = "/mirror/crates/demo"


def test_page_escapes_hostile_texts(mirror: MirrorClient, upstream: BadUpstream, settings: Any, tmp_path: Path) -> None:
    settings.MIRROR_LICENSES, settings.MIRROR_ADVISORIES = ["MIT"], [str(tmp_path)]
    add_advisory(tmp_path, patched='[">=1.1"]', title=HOSTILE)
    publish(upstream, {"1.0.0": {}, "1.1.0": {}, "1.2.0": {}, "1.3.0": f"license {HOSTILE}"})
    add_override(BLOCKED, "=1.2.0", f"reason {HOSTILE}")
    text = mirror.page().content.decode()
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
    assert "Yanked upstream." in response.content.decode()


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


def test_page_shows_thousands_of_versions(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    set_all_policies(settings, tmp_path)
    body = b"\n".join(line("demo", f"1.0.{patch}", b"x") for patch in range(2000))
    upstream.script_index("demo", bad_upstream.file(body))
    assert len(mirror.yanked()) == 2000
    with CaptureQueriesContext(connection) as queries:
        assert mirror.page().content.count(b"<strong>Held back.</strong>") == 2000
    assert len(queries) == 5
