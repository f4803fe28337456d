"""`/search`: results, filters, orders and pages; refusals that keep what was typed."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from crates.mirror import index_cache, overrides
from crates.mirror.models import Override
from crates.models import Crate, Ownership
from crates.names import index_path
from namespaces import membership
from packages import release_input, releasing
from tests.support.bad_upstream import line
from tests.support.crate_rows import Listing, create_crates

HEADING = '<h2><a href="'


def search(client: Client, /, **fields: str) -> str:
    response = client.get("/search", fields)
    assert response.status_code == 200, response.content
    return response.content.decode()


def titles(page: str) -> list[str]:
    return [part.partition('">')[2].partition("</a>")[0] for part in page.split(HEADING)[1:]]


@pytest.fixture
def crates(alice: User, bob: User) -> None:
    create_crates(
        [
            Listing("http-client", "Asks servers.", ("net",), downloads=5, categories=("web",)),
            Listing("client", "Asks anything over http.", ("net", "ask"), downloads=90),
            Listing("parser", "Reads texts.", downloads=7),
        ],
        alice,
    )
    Ownership.objects.create(crate=Crate.objects.get(name="parser"), user=bob, added_by=bob)


def mirror(name: str = "http-client") -> None:
    index_cache.store(index_path(name), "https://index.example.com/", line(name, "0.3.0", b"") + b"\n")
    Crate.objects.filter(name=name).update(upstream=Crate.Upstream.HAS)  # or the mirror would refuse the name


def create_package(user: User) -> None:
    principal = Principal(user)
    membership.create_namespace(principal, "acme")
    content = release_input.ReleaseInput(version="1.0.0", type="PUBLIC", description="A client in PHP")
    releasing.create_package(principal, "acme", "client", "php", content)


def test_exact_match_comes_first(client: Client, crates: None) -> None:
    page = search(client, q="client")
    assert titles(page) == ["client", "http-client"]
    assert page.count("exact match") == 1


def test_search_without_words_lists_all(client: Client, crates: None) -> None:
    assert set(titles(search(client))) == {"client", "http-client", "parser"}


def test_results_follow_the_chosen_order(client: Client, crates: None) -> None:
    assert titles(search(client, sort="downloads")) == ["client", "parser", "http-client"]
    assert titles(search(client, sort="alpha")) == ["client", "http-client", "parser"]


def test_filters_narrow_the_results(client: Client, crates: None) -> None:
    narrowed = {
        ("keyword", "net"): {"client", "http-client"},
        ("keyword", "nothing"): set(),
        ("category", "web"): {"http-client"},
        ("owner", "bob"): {"parser"},
        ("owner", "nobody"): set(),
    }
    for (name, value), expected in narrowed.items():
        page = search(client, **{name: value})
        assert set(titles(page)) == expected, (name, value)
        assert f"Remove the filter {name.capitalize()}: {value}" in page


def test_source_chooses_the_section(client: Client, crates: None, alice: User) -> None:
    mirror()
    create_package(alice)
    sources = {"mirror": "http-client", "packages": "acme/client", "namespaces": "acme"}
    for source, title in sources.items():
        text = "acme" if source == "namespaces" else "client"
        assert titles(search(client, q=text, source=source)) == [title], source


def test_other_sections_are_suggested_beside(client: Client, crates: None, alice: User) -> None:
    mirror()
    create_package(alice)
    page = search(client, q="client")
    assert '<a href="/mirror/crates/http-client">' in page
    assert '<a href="/namespaces/acme/packages/client">' in page


def test_search_takes_eight_queries(client: Client, crates: None, django_assert_max_num_queries: Any) -> None:
    for text in ("client", "http", "nothing"):
        with django_assert_max_num_queries(8):
            search(client, q=text)


def test_private_packages_are_never_results(client: Client, alice: User) -> None:
    content = release_input.ReleaseInput(version="1.0.0", type="PRIVATE", description="Hidden")
    membership.create_namespace(Principal(alice), "acme")
    releasing.create_package(Principal(alice), "acme", "hidden", "php", content)
    client.force_login(alice)
    for source in ("crates", "packages", "namespaces"):
        for text in ("hidden", "acme"):
            assert titles(search(client, q=text, source=source)) == [], (source, text)


def test_yanked_crate_says_so(client: Client, crates: None, bob: User) -> None:
    crate = Crate.objects.get(name="parser")
    crate.versions.update(yanked=True)
    Crate.objects.filter(pk=crate.pk).update(max_version=None)
    page = search(client, owner="bob")
    assert titles(page) == ["parser"]
    assert '<span class="badge bad">yanked</span>' in page


def test_held_back_crate_says_so(client: Client, root: User, settings: Any) -> None:
    for name in ("denied", "blocked", "offered", "young"):
        time = timezone.now() if name == "young" else datetime(2020, 1, 1, tzinfo=UTC)
        body = line(name, "0.3.0", b"", pubtime=time.isoformat(timespec="seconds").replace("+00:00", "Z"))
        index_cache.store(index_path(name), "https://index.example.com/", body + b"\n")
    overrides.create_override(Override.Kind.BLOCKED, "blocked", "*", actor=root, reason="Malware")
    settings.MIRROR_DENYLIST, settings.MIRROR_MIN_AGE_DAYS = ["den*"], 3
    pages = {name: search(client, source="mirror", q=name) for name in ("denied", "blocked", "offered", "young")}
    assert {name: titles(page) for name, page in pages.items()} == {name: [name] for name in pages}
    marked = [name for name, page in pages.items() if "yanked or held back" in page]
    assert marked == ["denied", "blocked", "young"]


def test_pages_lead_to_each_other(client: Client, alice: User) -> None:
    create_crates([Listing(f"part-{number:02}") for number in range(45)], alice)
    seen: list[str] = []
    address, pages = "/search?sort=alpha&q=", 0
    while address:
        page = client.get(address).content.decode()
        seen, pages = seen + titles(page), pages + 1
        address = page.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert (len(set(seen)), pages) == (45, 3)


def test_refusals_keep_the_words(client: Client, crates: None) -> None:
    refused = [
        {"q": "w" + " w" * 10},
        {"q": "x" * 201},
        {"q": "word", "page": "0"},
        {"q": "word", "page": "many"},
        {"q": "word", "page": "9" * 30},
        {"q": "word", "keyword": "k" * 81},
    ]
    for fields in refused:
        response = client.get("/search", fields)
        page = response.content.decode()
        assert (response.status_code, 'role="alert"' in page) == (400, True), fields
        assert f'value="{fields["q"]}"' in page, fields


def test_odd_values_are_no_errors(client: Client, crates: None) -> None:
    for fields in ({"source": "nowhere"}, {"sort": "sideways"}, {"q": "%_\\\"'<>"}, {"q": "", "source": "namespaces"}):
        search(client, **fields)


def test_words_are_shown_as_text(client: Client, crates: None) -> None:
    assert "<script>alert" not in search(client, q="<script>alert(1)</script>")


def test_search_takes_few_queries(client: Client, alice: User, django_assert_max_num_queries: Any) -> None:
    create_crates([Listing(f"crate-{number}", "One of many things.", ("net",)) for number in range(150)], alice)
    mirror()
    create_package(alice)
    for fields in (
        {},
        {"q": "crate"},
        {"q": "things"},
        {"q": "crtae"},
        {"q": "nothing-of-this"},
        {"q": "crate", "keyword": "net", "owner": "alice"},
        {"sort": "downloads", "category": "web"},
        {"q": "http", "source": "mirror"},
        {"q": "client", "source": "packages"},
        {"q": "ac", "source": "namespaces"},
    ):
        with django_assert_max_num_queries(10):
            search(client, **fields)


def test_strangers_are_led_to_the_sign_in(client: Client, crates: None, settings: Any) -> None:
    settings.AUTH_REQUIRED = True
    response = client.get("/search", {"q": "client"}, headers={"Accept": "text/html"})
    assert (response.status_code, response.headers["Location"]) == (302, "/sign-in?next=%2Fsearch%3Fq%3Dclient")
