"""Pages of crates, and the way to them from addresses of the index."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.credentials import cargo_tokens
from accounts.models import User
from crates import removal
from crates.mirror import index_cache
from crates.models import Crate, Version, VersionContents
from crates.names import index_path
from registry_site.download_counts import today
from tests.support import crate_rows, packing
from tests.support.bad_upstream import line
from tests.support.cast import PASSWORD, CargoClient

HTML = {"Accept": "text/html"}
MARKDOWN = {"Accept": "text/markdown"}
MANIFEST = """
description = "<b>bold</b>"
license = "MIT OR Apache-2.0"
license-file = "LICENSE"
rust-version = "1.70"
repository = "https://example.com/demo"
keywords = ["net"]
categories = ["network-programming"]

[features]
default = ["std"]
std = []
extra = ["std"]
"""


def publish(client: CargoClient, name: str = "My-Demo", version: str = "1.0.0", extra: str = MANIFEST) -> None:
    toml = packing.manifest(name, version, extra)
    files = {
        "README.md": "# Read me\n\n![a](https://example.com/a.png)\n\n    code",
        "LICENSE": "All <rights>",
        "src/main.rs": "",
    }
    body = packing.frame(packing.metadata(name, version), packing.crate(name, version, toml, files))
    assert client.publish(body).status_code == 200


@pytest.fixture
def demo(as_alice: CargoClient) -> None:
    publish(as_alice)


def text_of(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path, headers=HTML)
    assert response.status_code == status, path
    return str(response.content.decode())


@pytest.mark.usefixtures("demo")
def test_page_shows_facts_and_readme(client: Client) -> None:
    text = text_of(client, "/crates/My-Demo")
    parts = (
        '<h1 class="crate-name">My-Demo <span class="number">1.0.0</span>',
        "&lt;b&gt;bold&lt;/b&gt;",
        "cargo add --registry entrepot My-Demo",
        "My-Demo = { version = &quot;1.0.0&quot;, registry = &quot;entrepot&quot; }",
        "cargo install --registry entrepot My-Demo",
        "MIT OR Apache-2.0",
        "All &lt;rights&gt;",
        "1.70 or newer",
        '<a href="/people/alice">alice</a>',
        "with token default",
        'href="/keywords/net"',
        'href="/categories/network-programming"',
        'href="https://example.com/demo"',
        "Read me",
        '<pre tabindex="0"><code>code',
        'href="/crates/My-Demo/source"',
    )
    assert [part for part in parts if part not in text] == []


@pytest.mark.usefixtures("demo")
def test_ticked_features_change_the_lines(client: Client) -> None:
    query = "?features=extra&features=none&features=%3Cb%3E&no-default-features=on"
    text = text_of(client, f"/crates/My-Demo/1.0.0{query}")
    assert "cargo add --registry entrepot My-Demo@1.0.0 --no-default-features --features extra</code>" in text
    assert "default-features = false, features = [&quot;extra&quot;] }" in text
    assert 'value="extra" checked' in text


@pytest.mark.usefixtures("demo")
def test_other_spellings_lead_to_the_page(client: Client) -> None:
    paths = {
        "/crates/my_demo": "/crates/My-Demo",
        "/crates/MY-DEMO/versions?page=1": "/crates/My-Demo/versions?page=1",
        "/crates/my-demo/1.0.0+build/dependencies": "/crates/My-Demo/1.0.0/dependencies",
        "/crates/my-demo.md": "/crates/My-Demo.md",
    }
    assert {path: client.get(path, headers=HTML).headers.get("Location") for path in paths} == paths


@pytest.mark.usefixtures("demo")
def test_owners_alone_are_led_to_a_token(client: Client, alice: User, bob: User) -> None:
    way = 'href="/account/tokens/new?preset=ci&amp;crate=My-Demo"'
    client.login(username=bob.username, password=PASSWORD)
    assert way not in text_of(client, "/crates/My-Demo")
    client.login(username=alice.username, password=PASSWORD)
    assert way in text_of(client, "/crates/My-Demo")


def test_state_of_a_version_is_plain(client: Client, as_alice: CargoClient) -> None:
    for version in ("1.0.0", "1.1.0", "2.0.0-rc.1"):
        publish(as_alice, "demo", version)
    change = {"version": {"yanked": True, "yank_message": "Loses <data>."}}
    as_alice.patch("/api/v1/crates/demo/1.0.0", json.dumps(change), content_type="application/json")
    text = text_of(client, "/crates/demo/1.0.0")
    assert "Yanked on 20" in text
    assert "Loses &lt;data&gt;." in text
    assert 'A newer version exists: <a href="/crates/demo">1.1.0</a>.' in text
    assert "A pre-release: cargo takes it only where a requirement names it." in text_of(
        client, "/crates/demo/2.0.0-rc.1"
    )
    assert '<span class="number">1.1.0</span>' in text_of(client, "/crates/demo")
    rows = text_of(client, "/crates/demo/versions")
    assert (
        rows.index("2.0.0-rc.1</a>") < rows.index("1.1.0</a>") < rows.index("1.0.0</a>") < rows.index("Loses &lt;data")
    )


def test_removed_crate_is_gone_for_a_reason(client: Client, as_alice: CargoClient, root: User) -> None:
    publish(as_alice, "demo", "1.0.0")
    publish(as_alice, "demo", "1.1.0")
    removal.remove_version(Version.objects.get(number="1.0.0"), "It has <keys>.", actor=root)
    assert "demo 1.0.0 was removed: It has &lt;keys&gt;." in text_of(client, "/crates/demo/1.0.0", 410)
    removal.remove_version(Version.objects.get(number="1.1.0"), "This, too.", actor=root)
    assert "demo 1.1.0 was removed: This, too." in text_of(client, "/crates/demo", 410)
    removal.remove_crate_as_staff(Crate.objects.get(), "All of it.", actor=root)
    for path in (
        "/crates/demo",
        "/crates/DEMO/versions",
        "/crates/demo.md",
        "/crates/demo/feed.atom",
        "/badge/demo.svg",
    ):
        response = client.get(path, headers=HTML)
        assert (response.status_code, "demo was removed: All of it." in response.content.decode()) == (410, True), path


@pytest.mark.usefixtures("demo")
def test_unknown_crates_and_pages_are_missing(client: Client) -> None:
    crates = ("/crates/none", "/crates/My-Demo/9.0.0", "/crates/none/dependents", "/crates/none.md", "/badge/none.svg")
    paths = (*crates, "/badge/a b.svg", f"/badge/{'x' * 300}.svg", "/keywords/none", "/categories/none", "/people/none")
    assert {path: client.get(path, headers=HTML).status_code for path in paths} == dict.fromkeys(paths, 404)


def test_missing_crate_leads_to_the_mirror(
    client: Client, as_alice: CargoClient, settings: Any, django_assert_max_num_queries: Any
) -> None:
    publish(as_alice)
    for name in ("serde", "my-demo"):
        index_cache.store(index_path(name), "https://index.crates.io/", line(name, "1.0.0", b""))
    way = 'href="/mirror/crates/serde"'
    with django_assert_max_num_queries(10):
        assert way in text_of(client, "/crates/serde", 404)
    assert way in text_of(client, "/crates/serde/1.0.0/source", 404)
    assert "/mirror/" not in text_of(client, "/crates/none", 404)
    settings.PRIVATE_NAMES = ["ser*"]
    assert [path for path in ("serde", "My-Demo/9.9.9") if "/mirror/" in text_of(client, f"/crates/{path}", 404)] == []


@pytest.mark.usefixtures("demo")
def test_page_behind_the_last_is_missing(client: Client) -> None:
    paths = ("/crates/My-Demo/versions", "/crates/My-Demo/dependents", "/keywords", "/keywords/net", "/people/alice")
    assert {path: client.get(path, {"page": "2"}).status_code for path in paths} == dict.fromkeys(paths, 404)


@pytest.mark.usefixtures("demo")
def test_numbers_of_pages_are_checked(client: Client) -> None:
    for page in ("0", "-1", "x", "201", "\u0661", "9" * 400, f"000000001{'9' * 300}"):
        for path in ("/crates/My-Demo/versions", "/crates/My-Demo/dependents", "/keywords", "/keywords/net"):
            assert client.get(path, {"page": page}, headers=HTML).status_code == 400, (path, page)


@pytest.mark.usefixtures("demo")
def test_programs_get_markdown_and_json(client: Client) -> None:
    for path, headers in (
        ("/crates/My-Demo", MARKDOWN),
        ("/crates/My-Demo.md", HTML),
        ("/crates/My-Demo/1.0.0.md", {}),
    ):
        response = client.get(path, headers=headers)
        assert response["Content-Type"] == "text/markdown; charset=utf-8"
        text = response.content.decode()
        parts = (
            "# My-Demo 1.0.0",
            "<b>bold</b>",
            "cargo add --registry entrepot My-Demo",
            "- `extra`: std",
            "# Read me",
        )
        assert [part for part in parts if part not in text] == [], path
    json_headers = {"Accept": "application/json"}
    assert client.get("/crates/My-Demo", headers=json_headers).json()["crate"]["name"] == "My-Demo"
    assert client.get("/crates/My-Demo/1.0.0", headers=json_headers).json()["version"]["num"] == "1.0.0"
    response = client.get("/crates/My-Demo")  # as curl sends it
    assert (response["Content-Type"], "Accept" in response["Vary"]) == ("text/html; charset=utf-8", True)


@pytest.mark.usefixtures("demo")
def test_images_of_readmes_can_be_switched_off(client: Client, settings: Any) -> None:
    def policy(path: str) -> str:
        return next(part for part in client.get(path)["Content-Security-Policy"].split("; ") if "img-src" in part)

    assert policy("/crates/My-Demo") == "img-src 'self' data: https:"
    assert policy("/crates/My-Demo/versions") == "img-src 'self' data:"
    assert policy("/dl/My-Demo/1.0.0/readme") == "img-src https:"
    settings.README_IMAGES = "none"
    assert policy("/crates/My-Demo") == "img-src 'self' data:"
    assert policy("/dl/My-Demo/1.0.0/readme") == "img-src 'none'"


def test_private_registry_shows_pages_to_readers(
    client: Client, alice: User, as_alice: CargoClient, settings: Any
) -> None:
    publish(as_alice)
    settings.AUTH_REQUIRED = True
    pages = ("/crates/My-Demo", "/crates/My-Demo/versions", "/keywords", "/keywords/net", "/people/alice")
    files = ("/crates/My-Demo.md", "/crates/My-Demo/feed.atom", "/badge/My-Demo.svg")
    for path in (*pages, *files):
        assert client.get(path, headers=HTML)["Location"].startswith("/sign-in?next="), path
    token = {"Authorization": f"Bearer {as_alice.token}"}
    assert {client.get(path, headers=token).status_code for path in files} == {200}
    assert {client.get(path, headers={"Authorization": "entc_x"}).status_code for path in files} == {401}
    client.login(username=alice.username, password=PASSWORD)
    assert {client.get(path, headers=HTML).status_code for path in (*pages, *files)} == {200}


def test_pages_take_six_queries_at_any_size(client: Client, alice: User, django_assert_max_num_queries: Any) -> None:
    crate_rows.create_crate_of(1000, alice)
    crate_rows.create_crates(
        [crate_rows.Listing(f"needs-{number}", dependencies=("demo",), keywords=("net",)) for number in range(60)],
        alice,
    )
    paths = (
        "",
        "/versions",
        "/versions?sort=date&page=20",
        "/dependencies",
        "/dependents",
        "/9.99.0",
        "/feed.atom",
        ".md",
    )
    others = ("/keywords", "/keywords/net", "/categories", "/people/alice", "/badge/demo.svg")
    for path in (*(f"/crates/demo{path}" for path in paths), *others):
        with django_assert_max_num_queries(6):
            assert client.get(path).status_code == 200, path


def test_versions_come_thirty_at_a_time(client: Client, alice: User) -> None:
    crate_rows.create_crate_of(250, alice)
    pages = [text_of(client, f"/crates/demo/versions?page={page}") for page in (1, 2, 9)]
    assert [page.count('<th scope="row">') for page in pages] == [30, 30, 10]
    assert '<tr id="2.49.0">' in pages[0]
    assert '<tr id="0.0.0">' in pages[2]
    assert ['rel="next"' in page for page in pages] == [True, True, False]


def test_dependencies_lead_to_their_crates(client: Client, as_alice: CargoClient, alice: User) -> None:
    crate_rows.create_crates([crate_rows.Listing("helper")], alice)
    publish(
        as_alice,
        "demo",
        extra="""[dependencies.other]
package = "helper"
version = "0.9"
registry-index = "sparse+http://testserver/index/"
optional = true
[dependencies]
serde = { version = "1", default-features = false, features = ["derive"] }
[target.'cfg(windows)'.dev-dependencies]
tempfile = "3"
""",
    )
    text = text_of(client, "/crates/demo/dependencies")
    parts = (
        '<a href="/crates/helper">helper</a>',
        'class="badge warn">outdated',
        "as <code>other</code>",
        'class="badge">optional',
        '<a href="https://crates.io/crates/serde">serde</a>',
        "without default features",
        "<code>derive</code>",
        "on <code>cfg(windows)</code>",
        "For its tests and examples",
    )
    assert [part for part in parts if part not in text] == []


def test_dependents_tell_whether_they_are_outdated(client: Client, as_alice: CargoClient) -> None:
    publish(as_alice, "base", "2.0.0", "")
    for name, requirement in (("old", "1"), ("new", ">=1")):
        own = f'version = "{requirement}"\nregistry-index = "sparse+http://testserver/index/"'
        publish(as_alice, name, "1.0.0", f"[dependencies.base]\n{own}\n[dev-dependencies.base]\n{own}")
    text = text_of(client, "/crates/base/dependents")
    old, new = text.index(">old</a>"), text.index(">new</a>")
    row_of_old = text[old : new if new > old else None]
    assert "<code>^1</code>" in row_of_old
    assert "outdated" in row_of_old
    assert text.count("outdated") == 1
    assert "for tests" in text


def test_many_dependents_come_by_downloads(client: Client, alice: User) -> None:
    crate_rows.create_crates([crate_rows.Listing("base")], alice)
    crate_rows.create_crates(
        [crate_rows.Listing(f"needs-{number}", dependencies=("base",), downloads=number) for number in range(1100)],
        alice,
    )
    text = text_of(client, "/crates/base/dependents")
    assert "1000+" in text
    assert text.index(">needs-1099</a>") < text.index(">needs-1070</a>")
    assert ">needs-1069</a>" not in text
    assert ">needs-0</a>" in text_of(client, "/crates/base/dependents?page=37")


def test_feed_has_the_latest_versions(client: Client, as_alice: CargoClient) -> None:
    publish(as_alice, "demo", "1.1.0")
    publish(as_alice, "demo", "1.0.1")
    Version.objects.filter(number="1.1.0").update(
        published_at=timezone.now() - timedelta(days=1), yanked=True, yank_message="Bad \x01 <byte>."
    )
    response = client.get("/crates/demo/feed.atom")
    text = response.content.decode()
    assert response["Content-Type"] == "application/atom+xml; charset=utf-8"
    assert text.index("demo 1.0.1") < text.index("demo 1.1.0 (yanked)")
    assert "Bad \N{REPLACEMENT CHARACTER} &lt;byte&gt;." in text
    again = client.get("/crates/demo/feed.atom", headers={"If-None-Match": response["ETag"]})
    assert again.status_code == 304


@pytest.mark.usefixtures("demo")
def test_badge_shows_the_version(client: Client) -> None:
    response = client.get("/badge/my_demo.svg")
    assert (response["Content-Type"], response["X-Content-Type-Options"]) == ("image/svg+xml", "nosniff")
    assert "<title>entrepot: v1.0.0</title>" in response.content.decode()
    assert client.get("/badge/my_demo.svg", headers={"If-None-Match": response["ETag"]}).status_code == 304


def test_long_version_makes_no_wide_badge(client: Client, as_alice: CargoClient) -> None:
    publish(as_alice, "demo", f"1.0.0-{'x' * 100}")
    text = client.get("/badge/demo.svg").content.decode()
    width = int(text.partition('width="')[2].partition('"')[0])
    assert width < 400
    assert "…" in text


def test_chart_shows_the_days_of_three_months(client: Client, as_alice: CargoClient) -> None:
    publish(as_alice)
    version = Version.objects.get()
    for back, count in ((0, 1234), (89, 10), (90, 7777)):
        version.daily_downloads.create(day=today() - timedelta(days=back), count=count)
    text = text_of(client, "/crates/My-Demo")
    assert "1,244, at most 1,234 on a day</title>" in text
    assert '<path fill="currentColor" d="M0 56v-1h3v1zM356 56v-56h3v56z"/>' in text
    assert "7,777" not in text


def test_page_of_a_person_lists_crates(client: Client, as_alice: CargoClient, alice: User) -> None:
    publish(as_alice)
    text = text_of(client, "/people/alice")
    assert '<a href="/crates/My-Demo">My-Demo</a>' in text
    assert client.get("/people/ALICE")["Location"] == "/people/alice"


def test_keywords_and_categories_lead_to_crates(client: Client, alice: User) -> None:
    listings = [
        crate_rows.Listing("one", keywords=("net",), categories=("database",)),
        crate_rows.Listing("two", keywords=("net", "x/y"), categories=("database::drivers",)),
    ]
    crate_rows.create_crates(listings, alice)
    assert '<a href="/keywords/net">#net</a> <span class="muted">2</span>' in text_of(client, "/keywords")
    assert ">two</a>" in text_of(client, "/keywords/net?sort=alpha")
    assert ">two</a>" in text_of(client, "/keywords/x%2Fy")
    assert '<a href="/categories/database">Database</a>' in text_of(client, "/categories?sort=alpha")
    text = text_of(client, "/categories/database")
    assert '<a href="/categories/database::drivers">Drivers' in text
    assert ">one</a>" in text
    assert ">two</a>" in text


def test_keyword_with_a_last_slash_has_no_link(client: Client, as_alice: CargoClient) -> None:
    publish(as_alice, extra='keywords = ["net/", "/"]')
    for path in ("/crates/My-Demo", "/keywords"):
        text = text_of(client, path)
        assert ("<a>#net/</a>" in text, "<a>#/</a>" in text) == (True, True), path


def test_api_reaches_keywords_with_slashes(client: Client, as_alice: CargoClient) -> None:
    publish(as_alice, extra='keywords = ["tcp/ip", "net/"]')
    for path, word in (("tcp/ip", "tcp/ip"), ("tcp%2Fip", "tcp/ip"), ("net/", "net/")):
        assert client.get(f"/api/v1/keywords/{path}").json()["keyword"]["id"] == word, path
    assert client.get("/api/v1/keywords/tcp").status_code == 404


def test_publisher_is_shown_with_the_token(client: Client, alice: User) -> None:
    publish(CargoClient(token=cargo_tokens.create(alice, "pipeline <1>")))
    assert Version.objects.get().published_with == "token pipeline <1>"
    assert "with token pipeline &lt;1&gt;" in text_of(client, "/crates/My-Demo/versions")


def test_account_of_a_provider_published_by_sign_on(alice: User, as_alice: CargoClient) -> None:
    alice.set_unusable_password()
    alice.save()
    publish(as_alice)
    assert Version.objects.get().published_with == "sign-on"


def test_page_leaves_out_what_is_too_long(client: Client, as_alice: CargoClient) -> None:
    publish(as_alice)
    features = {f"feature-{number}": ["std"] * 3 for number in range(2000)}
    Version.objects.update(features=features)
    text = text_of(client, "/crates/My-Demo")
    assert text.count('name="features"') == 300
    assert "1,700 more are in the" in text
    VersionContents.objects.update(license_text="x" * 20_000)
    text = text_of(client, "/crates/My-Demo")
    assert "xxxx" not in text
    assert 'href="/crates/My-Demo/source/LICENSE">LICENSE</a>' in text


@pytest.mark.usefixtures("demo")
def test_browser_at_the_index_gets_the_page(client: Client) -> None:
    for path in ("/index/my-demo", "/index//my-demo", "/index/my/-d/my-demo"):
        response = client.get(path, headers=HTML)
        assert (response.status_code, response["Location"]) == (302, "/crates/my-demo"), path
        assert "Accept" in response["Vary"]
    assert client.get("/mirror/index/serde", headers=HTML)["Location"] == "/mirror/crates/serde"


def test_odd_paths_of_the_index_lead_nowhere(client: Client, db: None) -> None:
    paths = ("", "my/-d/", "config.json/", "..", "my-demo/.git", "é", "a b")
    assert {client.get(f"/index/{path}", headers=HTML).status_code for path in paths} == {404}


def test_config_of_the_index_is_for_browsers_too(client: Client, db: None) -> None:
    assert client.get("/index/config.json", headers=HTML).json()["dl"] == "http://testserver/dl"
