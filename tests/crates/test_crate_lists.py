"""Lists of crates, their dependents, keywords and categories: filters, orders, pages, and what they read."""

from datetime import date, timedelta
from itertools import product
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from crates import download_counts, listing, summary
from crates.models import Category, Crate, CrateDownloads, Keyword, Ownership, Version
from registry_site import counters
from tests.support import packing
from tests.support.cast import CargoClient
from tests.support.crate_rows import Listing, create_crate_of, create_crates
from tests.support.database import plan_of
from tests.support.rows_read import rows_read

REGISTRY = 'registry-index = "sparse+http://testserver/index/"'
BASE = f'{{ version = "1", {REGISTRY} }}'
RENAMED = f'{{ package = "base", version = "1", optional = true, {REGISTRY} }}'
SORTS = ("alpha", "downloads", "recent-downloads", "recent-updates", "new")


def names(client: CargoClient, **query: Any) -> list[str]:
    answer = client.get("/api/v1/crates", query)
    assert answer.status_code == 200, answer.content
    return [crate["name"] for crate in answer.json()["crates"]]


@pytest.fixture
def crates(alice: User, bob: User) -> None:
    """Five crates, whose downloads and times are in orders of their own."""
    create_crates([Listing(name, f"about {name}") for name in ("alpha", "Beta", "gamma", "zeta", "be-two")], alice)
    now = timezone.now()
    rows = {crate.name: crate for crate in Crate.objects.all()}
    orders = {"alpha": (5, 1, 3), "Beta": (4, 2, 1), "gamma": (4, 5, 2), "zeta": (1, 9, 5), "be-two": (0, 0, 4)}
    for name, (total, recent, age) in orders.items():
        CrateDownloads.objects.filter(crate=rows[name]).update(total=total, recent=recent)
        times = {"created_at": now - timedelta(hours=age), "updated_at": now - timedelta(minutes=total * 7 % 5)}
        Crate.objects.filter(pk=rows[name].pk).update(**times)
    Ownership.objects.create(crate=rows["zeta"], user=bob)
    Ownership.objects.create(crate=rows["alpha"], user=alice)


# --- Orders and filters -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("crates")
def test_orders_are_those_of_their_columns(anonymous: CargoClient) -> None:
    assert {sort: names(anonymous, sort=sort) for sort in SORTS} == {
        "alpha": ["alpha", "be-two", "Beta", "gamma", "zeta"],
        "downloads": ["alpha", "Beta", "gamma", "zeta", "be-two"],
        "recent-downloads": ["zeta", "gamma", "Beta", "alpha", "be-two"],
        "recent-updates": ["be-two", "alpha", "zeta", "gamma", "Beta"],
        "new": ["Beta", "gamma", "alpha", "be-two", "zeta"],
    }
    assert names(anonymous) == names(anonymous, sort="") == names(anonymous, sort="alpha")


@pytest.mark.usefixtures("crates")
def test_filters_leave_the_crates_they_name(anonymous: CargoClient, alice: User, bob: User) -> None:
    rows = {crate.name: crate for crate in Crate.objects.all()}
    web, http = (Category.objects.create(slug=slug, name=slug, crate_count=1) for slug in ("web", "web::http"))
    rows["gamma"].categories.add(web, http)
    rows["zeta"].categories.add(http)
    rows["gamma"].keywords.add(Keyword.objects.create(word="rpc"), Keyword.objects.create(word="tls"))
    rows["alpha"].keywords.add(Keyword.objects.get(word="rpc"))
    expected: dict[tuple[tuple[str, Any], ...], list[str]] = {
        (("category", "web"),): ["gamma", "zeta"],
        (("category", "WEB::http"),): ["gamma", "zeta"],
        (("category", "we"),): [],
        (("keyword", "RPC"),): ["alpha", "gamma"],
        (("all_keywords", "rpc tls"),): ["gamma"],
        (("keyword", "nothing"),): [],
        (("letter", "B"),): ["be-two", "Beta"],
        (("letter", "z"),): ["zeta"],
        (("letter", "ä"),): [],
        (("letter", "_"),): [],
        (("user_id", bob.pk),): ["zeta"],
        (("user_id", 2**63 - 1),): [],
        (("team_id", 1),): [],
        (("ids[]", ("be_two", "GAMMA", "nothing")),): ["be-two", "gamma"],
        (("q", "about"), ("sort", "alpha"), ("keyword", "rpc")): ["alpha", "gamma"],
        (("q", "about"), ("letter", "z")): ["zeta"],
        (("user_id", alice.pk), ("keyword", "rpc")): ["alpha"],
    }
    assert {query: names(anonymous, **dict(query)) for query in expected} == expected


@pytest.mark.usefixtures("crates")
def test_many_crates_are_filtered_by_the_index(anonymous: CargoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answers when a filter leaves too many crates for a list of their keys."""
    word = Keyword.objects.create(word="many", crate_count=4)
    for crate in Crate.objects.exclude(name="gamma"):
        crate.keywords.add(word)
    few = {sort: names(anonymous, sort=sort, keyword="many", per_page=3) for sort in SORTS}
    monkeypatch.setattr(listing, "FEW", 1)
    assert {sort: names(anonymous, sort=sort, keyword="many", per_page=3) for sort in SORTS} == few
    assert anonymous.get("/api/v1/crates?keyword=many").json()["meta"]["total"] == 4


@pytest.mark.usefixtures("crates")
def test_yanked_crates_are_in_lists_of_named_ones(anonymous: CargoClient, bob: User) -> None:
    Version.objects.filter(crate__name="zeta").update(yanked=True)
    Crate.objects.filter(name="zeta").update(max_version=None)
    assert "zeta" not in names(anonymous)
    assert names(anonymous, user_id=bob.pk) == names(anonymous, **{"ids[]": "zeta"}) == ["zeta"]


@pytest.mark.usefixtures("crates")
def test_hostile_parameters_are_refused(anonymous: CargoClient) -> None:
    queries = (
        "sort=size",
        "page=0",
        "page=201",
        f"page={10**30}",
        "per_page=0",
        "per_page=x",
        f"user_id={10**30}",
        "user_id=-1",
        "user_id=alice",
        "team_id=x",
        "q=" + "a" * 201,
        "q=%00",
        "keyword=" + "a" * 600,
        "&".join(["ids[]=a"] * 101),
        "&".join(["ids[]=a"] * 9_999),
        "ids[]=" + "a" * 65,
        "seek=x",
        "q=about&seek=WyJhbHBoYSIsImEiLDFd",
        "sort=new&seek=WyJhbHBoYSIsImEiLDFd",  # of another order
        "seek=WyJhbHBoYSIsIlx1MDAwMCIsMV0",  # a NUL in the value
        "seek=WyJhbHBoYSIsIlx1ZDgwMCIsMV0",  # a surrogate
        "sort=new&seek=WyJuZXciLCIxIiwxXQ",  # no time
    )
    answers = {query: anonymous.get(f"/api/v1/crates?{query}") for query in queries}
    assert {query: answer.status_code for query, answer in answers.items() if answer.status_code != 400} == {}
    assert [set(answer.json()) for answer in answers.values()] == [{"errors"}] * len(queries)
    for path in (
        "keywords?page=0",
        "keywords?sort=x",
        "categories?page=201",
        "crates/zeta/reverse_dependencies?page=0",
    ):
        assert anonymous.get(f"/api/v1/{path}").status_code == 400, path


# --- Pages --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("crates")
def test_seeking_visits_each_crate_once(anonymous: CargoClient) -> None:
    Crate.objects.filter(name__in=("alpha", "zeta", "gamma")).update(created_at=timezone.now())
    Keyword.objects.create(word="all", crate_count=5).crates.add(*Crate.objects.all())
    for sort, few in product(SORTS, ("", "&keyword=all")):  # along an index, and out of few
        query, visited = f"?sort={sort}&per_page=2{few}", []
        for _ in range(3):
            answer = anonymous.get(f"/api/v1/crates{query}").json()
            visited += [crate["name"] for crate in answer["crates"]]
            assert answer["meta"]["total"] == 5
            query = answer["meta"]["next_page"]
        assert query is None
        assert visited == names(anonymous, sort=sort, per_page=100), sort


@pytest.mark.usefixtures("crates")
def test_pages_lead_to_each_other(anonymous: CargoClient) -> None:
    for query in ("?sort=new&per_page=2", "?q=about&per_page=2"):
        answer = anonymous.get(f"/api/v1/crates{query}&page=2").json()
        assert answer["meta"]["next_page"].endswith("page=3")
        assert answer["meta"]["prev_page"].endswith("page=1")
        last = anonymous.get(f"/api/v1/crates{answer['meta']['next_page']}").json()
        first = anonymous.get(f"/api/v1/crates{answer['meta']['prev_page']}").json()
        assert [len(page["crates"]) for page in (first, answer, last)] == [2, 2, 1]
        assert (first["meta"]["prev_page"], last["meta"]["next_page"]) == (None, None)


# --- Dependents, keywords, categories, downloads ------------------------------------------------------------------


def publish(client: CargoClient, name: str, version: str = "1.0.0", extra: str = "") -> None:
    assert client.publish(packing.body(name, version, packing.manifest(name, version, extra))).status_code == 200


def test_dependents_need_the_crate_at_present(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice, "base")
    publish(as_alice, "one", extra=f"[dependencies]\nbase = {BASE}\n[dev-dependencies]\nbase = {BASE}")
    publish(as_alice, "two", extra=f"[build-dependencies]\nb = {RENAMED}")
    publish(as_alice, "former", extra=f"[dependencies]\nbase = {BASE}")
    publish(as_alice, "former", "2.0.0")
    publish(as_alice, "yanked", extra=f"[dependencies]\nbase = {BASE}")
    publish(as_alice, "foreign", extra='[dependencies]\nbase = "1"')  # the one of crates.io
    as_alice.delete("/api/v1/crates/yanked/1.0.0/yank")
    download_counts.store({(Version.objects.get(crate__name="two").pk, date.today()): 7})
    answer = anonymous.get("/api/v1/crates/base/reverse_dependencies").json()
    assert [version["crate"] for version in answer["versions"]] == ["two", "one"]
    kinds = [(row["crate_id"], row["kind"], row["downloads"]) for row in answer["dependencies"]]
    assert kinds == [("base", "build", 7), ("base", "normal", 0)]
    assert [row["version_id"] for row in answer["dependencies"]] == [version["id"] for version in answer["versions"]]
    assert answer["meta"] == {"total": 2}
    second = anonymous.get("/api/v1/crates/base/reverse_dependencies?page=2&per_page=1").json()
    assert [version["crate"] for version in second["versions"]] == ["one"]


def test_most_downloaded_dependents_come_first(
    anonymous: CargoClient, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = {"one": 1, "two": 9, "three": 5, "four": 0}
    needing = [Listing(name, downloads=count, dependencies=("base",) * 2) for name, count in downloads.items()]
    create_crates([Listing("base", downloads=99), *needing, Listing("other", downloads=3)], alice)
    for few in (1000, 1):
        monkeypatch.setattr(listing, "FEW", few)
        paths = [f"/api/v1/crates/base/reverse_dependencies?per_page=3&page={page}" for page in (1, 2)]
        answers = [anonymous.get(path).json() for path in paths]
        assert [version["crate"] for answer in answers for version in answer["versions"]] == [
            "two",
            "three",
            "one",
            "four",
        ]
        assert [row["downloads"] for answer in answers for row in answer["dependencies"]] == [9, 5, 1, 0]
        assert {answer["meta"]["total"] for answer in answers} == {4}


def test_keywords_and_categories_count_crates(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice, "one", extra='keywords = ["web", "tls"]\ncategories = ["web", "web::http::client"]')
    publish(as_alice, "two", extra='keywords = ["web"]\ncategories = ["web::http"]')
    words = anonymous.get("/api/v1/keywords?sort=crates").json()
    assert [(word["id"], word["crates_cnt"]) for word in words["keywords"]] == [("web", 2), ("tls", 1)]
    assert words["meta"] == {"total": 2}
    assert anonymous.get("/api/v1/keywords?per_page=1&page=2").json()["keywords"][0]["keyword"] == "web"
    assert anonymous.get("/api/v1/keywords/WEB").json()["keyword"]["crates_cnt"] == 2
    category = anonymous.get("/api/v1/categories/web::http").json()["category"]
    assert (category["id"], category["category"]) == ("web::http", "Http")
    assert [row["slug"] for row in category["subcategories"]] == ["web::http::client"]
    assert [row["slug"] for row in category["parent_categories"]] == ["web"]
    slugs = anonymous.get("/api/v1/category_slugs").json()["category_slugs"]
    assert [row["slug"] for row in slugs] == ["web", "web::http", "web::http::client"]


def test_downloads_are_shown_by_day(as_alice: CargoClient, anonymous: CargoClient) -> None:
    for number in range(7):
        publish(as_alice, "one", f"1.{number}.0")
    today, versions = date.today(), dict(Version.objects.values_list("number", "pk"))
    download_counts.store({(versions["1.6.0"], today): 3, (versions["1.0.0"], today): 2, (versions["1.1.0"], today): 1})
    day = today.isoformat()
    newest = {"version": versions["1.6.0"], "downloads": 3, "date": day}
    assert anonymous.get("/api/v1/crates/one/downloads").json() == {
        "version_downloads": [newest],
        "meta": {"extra_downloads": [{"downloads": 3, "date": day}]},
    }
    assert anonymous.get("/api/v1/crates/one/1.6.0/downloads").json() == {"version_downloads": [newest]}
    assert anonymous.get("/api/v1/crates/one?include=downloads").json()["crate"]["recent_downloads"] == 6
    assert anonymous.get("/api/v1/crates/one/1.0.0").json()["version"]["downloads"] == 2


@pytest.mark.usefixtures("crates")
def test_total_leaves_out_yanked_crates(anonymous: CargoClient, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    word = Keyword.objects.create(word="many", crate_count=5)
    web = [Category.objects.create(slug=slug, name=slug, crate_count=5) for slug in ("web", "web::http")]
    for crate in Crate.objects.all():
        crate.keywords.add(word)
        crate.categories.add(*web)
        Ownership.objects.get_or_create(crate=crate, user=bob)
    Crate.objects.filter(name="zeta").update(max_version=None)
    counters.recount_all()
    queries = {"": 4, "?keyword=many": 4, f"?user_id={bob.pk}": 5, "?letter=b": 2, f"?keyword=many&user_id={bob.pk}": 5}
    queries |= {"?category=web": 4, "?category=web::http": 4}
    for few in (1000, 1):
        monkeypatch.setattr(listing, "FEW", few)
        totals = {query: anonymous.get(f"/api/v1/crates{query}").json()["meta"]["total"] for query in queries}
        assert totals == queries, few


# --- Costs --------------------------------------------------------------------------------------------------------


def test_number_of_queries_is_constant(anonymous: CargoClient, alice: User) -> None:
    paths = [f"crates?sort={sort}&per_page=100" for sort in SORTS]
    paths += ["crates/other/reverse_dependencies", "crates/crate0/downloads", "keywords", "categories/web"]
    create_crate_of(1, alice, "other")
    web = Category.objects.create(slug="web", name="Web", crate_count=1)
    counts: dict[str, list[int]] = {path: [] for path in paths}
    for first, last in ((0, 1), (1, 20)):
        for number in range(first, last):
            create_crate_of(last, alice, f"crate{number}").categories.add(web)
            Category.objects.create(slug=f"web::{number}", name="Web", crate_count=1)
        for path in paths:
            with CaptureQueriesContext(connection) as queries:
                assert anonymous.get(f"/api/v1/{path}").status_code == 200
            counts[path].append(len(queries))
    assert {path: pair for path, pair in counts.items() if len(set(pair)) != 1} == {}
    assert max(pair[0] for pair in counts.values()) <= 8


@pytest.mark.only_sqlite  # PostgreSQL reads so small tables whole
def test_totals_need_no_rows_of_crates(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "MAX_CHANGES", 20)
    listings = (Listing(f"crate-{number}", downloads=number, recent_downloads=999 - number) for number in range(400))
    create_crates(listings, alice)
    tables = ("crates_crate", "crates_cratedownloads", "crates_version")
    paths = ("summary", *(f"crates?sort={sort}" for sort in SORTS))
    rows = {path: sum(rows_read(f"/api/v1/{path}", table)[0] for table in tables) for path in paths}
    assert {path: count for path, count in rows.items() if not 20 < count < 200} == {}


@pytest.mark.only_sqlite  # PostgreSQL reads so small tables whole
def test_dependents_beyond_the_page_are_not_read(alice: User) -> None:
    create_crates([Listing("base"), *(Listing(f"on-{n}", dependencies=("base",)) for n in range(60))], alice)
    rows, _ = rows_read("/api/v1/crates/base/reverse_dependencies?per_page=5", "crates_version")
    assert 5 <= rows <= 30


@pytest.mark.usefixtures("crates")
def test_pages_come_from_indexes(anonymous: CargoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page sorts what it does not show: the database follows an index instead."""
    monkeypatch.setattr(listing, "FEW", 0)
    word = Keyword.objects.create(word="many", crate_count=1)
    for crate in Crate.objects.all():
        crate.keywords.add(word)
    paths = [f"crates?sort={sort}" for sort in SORTS]
    paths += [f"crates?keyword=many&sort={sort}" for sort in SORTS]
    paths += [anonymous.get(f"/api/v1/crates?per_page=1&sort={sort}").json()["meta"]["next_page"] for sort in SORTS]
    paths += ["keywords", "keywords?sort=crates", "categories?sort=crates", "crates/zeta/reverse_dependencies"]
    offenders = {}
    for path in paths:
        with CaptureQueriesContext(connection) as queries:
            assert anonymous.get(f"/api/v1/{'crates' * path.startswith('?')}{path}").status_code == 200
        limited = [query["sql"] for query in queries if " LIMIT " in query["sql"] and "auditevent" not in query["sql"]]
        assert limited, path
        plans = " ".join(plan_of(sql) for sql in limited)
        if "TEMP B-TREE" in plans or "Sort" in plans:
            offenders[path] = plans
    assert offenders == {}
