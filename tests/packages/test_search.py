"""Search, `GET /packages`: words in any script, ranking, public packages only, and few rows read."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
from django.db import connection
from django.db.models import OuterRef, Subquery
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Namespace
from packages import names, search
from packages.models import SEARCH_COLUMNS, Package, Release
from registry_site import counters
from registry_site.search.words import tokenize_query
from tests.support.admin import run_action
from tests.support.browser import Browser

PACKAGES = "/namespaces/alice/packages"
DEMO = f"{PACKAGES}/demo"


class Listing(NamedTuple):
    """A public package to create."""

    namespace: str
    name: str
    description: str = ""
    field: str = "npm"
    keywords: tuple[str, ...] = ()


def create_packages(publisher: User, listings: Iterable[Listing]) -> None:
    """Create packages of one version each, and their namespaces where they are missing."""
    listings = list(listings)
    namespaces = {namespace.name: namespace for namespace in Namespace.objects.all()}
    for name in {listing.namespace for listing in listings} - set(namespaces):
        namespaces[name] = membership.create_namespace(Principal(publisher), name)
    pairs = [build_rows(namespaces[listing.namespace], listing, publisher) for listing in listings]
    Package.objects.bulk_create(package for package, _ in pairs)
    Release.objects.bulk_create(release for _, release in pairs)
    counters.recount_all()
    Package.objects.update(newest=Subquery(Release.objects.filter(package=OuterRef("pk")).values("pk")))


def build_rows(namespace: Namespace, listing: Listing, publisher: User) -> tuple[Package, Release]:
    package = Package(namespace=namespace, **names.columns(listing.name), field=listing.field)
    content: dict[str, Any] = {"description": listing.description, "keywords": list(listing.keywords)}
    release = Release(package=package, version="1.0.0", canonical_version="1.0.0", publisher=publisher, **content)
    package.newest = release
    search.set_listing(package)
    package.newest = None  # the release has no primary key yet
    return package, release


def get_search(query: str, **parameters: Any) -> Any:
    client = Client(raise_request_exception=False)
    return client.get("/packages", {"query": query, **parameters})


def results(query: str, **parameters: Any) -> list[str]:
    response = get_search(query, **parameters)
    assert response.status_code == 200
    return [f"{package['namespace']}/{package['package_name']}" for package in response.json()]


# --- Words -----------------------------------------------------------------------------------------------------------

CATALOGUE = [
    Listing("alice", "json-parser", "Reads and writes fast", keywords=("serialization", "type safe")),
    Listing("alice", "HttpClient", "Sends requests; straße, İstanbul, naïve", keywords=("network",)),
    Listing("acme", "log4j2", "Logging in ｆｕｌｌ　ｗｉｄｔｈ, version 12 of 2024", "maven"),  # noqa: RUF001
    Listing("acme", "数据库", "高性能连接池，支持 MySQL 与 Redis", "php", ("缓存",)),  # noqa: RUF001
    Listing("acme", "かな", "日本語の形態素解析ライブラリ", "npm"),
    Listing("acme", "한글", "한국어 형태소 분석기", "npm"),
    Listing("acme", "vue中文组件", "𠮷野家", "npm"),
]
JSON, HTTP, LOG = "alice/json-parser", "alice/HttpClient", "acme/log4j2"
DATABASE, KANA, HANGUL, VUE = "acme/数据库", "acme/かな", "acme/한글", "acme/vue中文组件"

RESULTS = [
    ("json-parser", [JSON]),
    ("JSON-Parser", [JSON]),
    ("json_parser", [JSON]),
    ("json parser", [JSON]),
    ("  json  ", [JSON]),
    ("parser", [JSON]),
    ("par", [JSON]),
    ("p", [JSON, DATABASE]),
    ("arser", []),
    ("alice", [HTTP, JSON]),
    ("acme", [LOG, VUE, KANA, DATABASE, HANGUL]),
    ("ACME/log", [LOG]),
    ("writes", [JSON]),
    ("WRITES", [JSON]),
    ("php", [DATABASE]),
    ("serialization", [JSON]),
    ("serial", [JSON]),
    ("type safe", [JSON]),
    ("fast parser", [JSON]),
    ("pars fa writ", [JSON]),
    ("parser network", []),
    ("parser nothing", []),
    ("http", [HTTP]),
    ("client", [HTTP]),
    ("httpclient", [HTTP]),
    ("HTTPCLIENT", [HTTP]),
    ("httpCl", [HTTP]),
    ("Client http", [HTTP]),
    ("log4j2", [LOG]),
    ("log4", [LOG]),
    ("4j2", []),
    ("12", [LOG]),
    ("202", [LOG]),
    ("STRASSE", [HTTP]),
    ("straße", [HTTP]),
    ("İstanbul", [HTTP]),
    ("naïve", [HTTP]),
    ("full width", [LOG]),
    ("ｊｓｏｎ", [JSON]),  # noqa: RUF001
    ("ＪＳＯＮ－ＰＡＲＳＥＲ", [JSON]),  # noqa: RUF001
    ("数", [DATABASE]),
    ("据", [DATABASE]),
    ("数据", [DATABASE]),
    ("据库", [DATABASE]),
    ("数据库", [DATABASE]),
    ("数库", []),
    ("库高", []),
    ("连接池", [DATABASE]),
    ("高性能连", [DATABASE]),
    ("性能连接", [DATABASE]),
    ("池支", []),
    ("缓存", [DATABASE]),
    ("数据 缓存", [DATABASE]),
    ("数据库redis", [DATABASE]),
    ("mysql与", [DATABASE]),
    ("MySQL 连接池", [DATABASE]),
    ("MySQL 组件", []),
    ("vue中文", [VUE]),
    ("中文组件", [VUE]),
    ("vue", [VUE]),
    ("𠮷", [VUE]),
    ("𠮷野", [VUE]),
    ("かな", [KANA]),
    ("形態素", [KANA]),
    ("解析ライブラリ", [KANA]),
    ("ﾗｲﾌﾞﾗﾘ", [KANA]),
    ("한글", [HANGUL]),
    ("한국", [HANGUL]),
    ("국어", [HANGUL]),
    ("형태소 분석", [HANGUL]),
    ("분", [HANGUL]),
]


def test_query_words_select_packages(alice: User) -> None:
    create_packages(alice, CATALOGUE)
    offenders = [(query, results(query)) for query, expected in RESULTS if sorted(results(query)) != sorted(expected)]
    assert offenders == []


def test_result_has_the_documented_shape(alice: User) -> None:
    create_packages(alice, CATALOGUE)
    package = Package.objects.get(name="HttpClient")
    assert get_search("network").json() == [
        {
            "package_name": "HttpClient",
            "package_id": str(package.pk),
            "namespace_id": str(package.namespace_id),
            "namespace": "alice",
            "version": "1.0.0",
            "field": "npm",
            "publisher_id": str(alice.pk),
            "publisher": "alice",
            "description": "Sends requests; straße, İstanbul, naïve",
            "last_updated": f"{package.updated_at:%Y-%m-%d}",
        }
    ]


# --- The order -------------------------------------------------------------------------------------------------------

RANKED = [
    Listing("acme", "json"),
    Listing("zeta", "json"),
    Listing("acme", "json-lines"),
    Listing("acme", "jsonnet"),
    Listing("acme", "fast-json"),
    Listing("acme", "xjson-json"),
    Listing("json", "aaa"),
    Listing("acme", "aab", "speaks json"),
    Listing("acme", "aac", keywords=("json",)),
    Listing("acme", "aad", field="json"),
]


def test_best_match_comes_first(alice: User) -> None:
    create_packages(alice, reversed(RANKED))
    for query in ("json", "JSON", " json "):
        ranked = results(query)
        assert ranked[:4] == ["acme/json", "zeta/json", "acme/json-lines", "acme/jsonnet"]
        assert sorted(ranked[4:7]) == ["acme/fast-json", "acme/xjson-json", "json/aaa"]
        assert ranked[7:] == ["acme/aab", "acme/aac", "acme/aad"]


def test_qualified_name_comes_first(alice: User) -> None:
    create_packages(alice, [*RANKED, Listing("acme", "zeta-json"), Listing("zeta", "json-a")])
    assert [results(query)[0] for query in ("zeta/json", "Zeta/JSON")] == ["zeta/json"] * 2


def test_exact_chinese_name_comes_first(alice: User) -> None:
    others = [Listing("acme", "a", "中文"), Listing("acme", "中文组件"), Listing("acme", "新中文")]
    create_packages(alice, [*others, Listing("zeta", "中文")])
    assert results("中文") == ["zeta/中文", "acme/中文组件", "acme/新中文", "acme/a"]


def test_exact_name_comes_before_many_matches(alice: User) -> None:
    many = [Listing("acme", f"json-{number}", "json") for number in range(700)]
    create_packages(alice, [*many, Listing("zeta", "json"), Listing("acme", "json")])
    assert results("json")[:2] == ["acme/json", "zeta/json"]


def test_pages_continue_each_other(alice: User) -> None:
    create_packages(alice, (Listing("acme", f"json-{number:03}") for number in range(45)))
    pages = [results("json", page=page) for page in (1, 2, 3)]
    assert pages[0] + pages[1] + pages[2] == [f"acme/json-{number:03}" for number in range(45)]
    assert [get_search("json", page=page)["X-Total-Count"] for page in (0, 2, 99)] == ["45"] * 3


# --- Spelling --------------------------------------------------------------------------------------------------------


def test_misspelt_names_match_when_nothing_else_does(alice: User) -> None:
    create_packages(alice, [*CATALOGUE, Listing("zeta", "json-parsed"), Listing("acme", "zzz", "httpclent")])
    cases = {
        "jsno-parser": [JSON, "zeta/json-parsed"],
        "json-parsre": [JSON, "zeta/json-parsed"],
        "alice/JsonPasrer": [JSON, "zeta/json-parsed"],
        "htpclientt": [HTTP],
        "httpclent": ["acme/zzz"],
        "log4": [LOG],
        "vue中组件": [VUE],
        "parserjson": [],
    }
    assert {query: results(query) for query in cases} == cases


def test_private_names_are_not_similar_to_any(browser: Browser) -> None:
    assert results("deno") == ["alice/demo"]
    browser.send("PATCH", DEMO, type="PRIVATE")
    assert results("deno") == []


# --- The empty query -------------------------------------------------------------------------------------------------


def test_empty_query_lists_packages_by_name(alice: User) -> None:
    create_packages(alice, [Listing("zeta", "b"), Listing("acme", "C"), Listing("acme", "b"), Listing("acme", "a")])
    for query in ("", " ", "   "):
        listed = results(query)
        assert (listed[0], sorted(listed[1:3]), listed[3]) == ("acme/a", ["acme/b", "zeta/b"], "acme/C")


def test_empty_query_has_no_limit(alice: User) -> None:
    create_packages(alice, (Listing("acme", f"p{number:03}") for number in range(610)))
    response = get_search("", page=31)
    assert response["X-Total-Count"] == "610"
    assert response.json()[-1]["package_name"] == "p609"


@pytest.mark.django_db
def test_query_is_required() -> None:
    response = Client().get("/packages")
    message = "query: This field is required."
    assert (response.status_code, response.json()) == (400, {"error": "malformed", "message": message})


@pytest.mark.django_db
def test_no_match_is_an_empty_list() -> None:
    for query in ("", "json", "!"):
        response = get_search(query)
        assert (response.status_code, response.json(), response["X-Total-Count"]) == (200, [], "0")


# --- Visibility ------------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(alice: User) -> Browser:
    """A browser of alice, who has a package."""
    browser = Browser(alice)
    fields = {"package_name": "demo", "version": "1.0.0", "field": "npm", "description": "zebra"}
    assert browser.send("POST", PACKAGES, **fields).status_code == 200
    return browser


QUERIES = ["demo", "zebra", "alice", "alice/demo", "npm", ""]


def count_hits() -> int:
    """Count the queries that select alice's package."""
    return sum(results(query) == ["alice/demo"] for query in QUERIES)


def test_public_package_is_indexed_at_once(browser: Browser) -> None:
    assert count_hits() == len(QUERIES)


def test_private_package_is_not_indexed(browser: Browser, alice: User, root: User) -> None:
    browser.send("PATCH", DEMO, type="PRIVATE")
    assert count_hits() == 0
    for query in QUERIES:
        for client in (browser, Browser(root)):
            response = client.get("/packages", {"query": query})
            assert (response.json(), response["X-Total-Count"]) == ([], "0")


def test_package_made_public_is_indexed(browser: Browser) -> None:
    browser.send("PATCH", DEMO, type="PRIVATE")
    browser.send("PUT", DEMO, version="2.0.0", type="PUBLIC")
    assert count_hits() == len(QUERIES)


def test_package_created_private_is_not_indexed(browser: Browser) -> None:
    fields = {"package_name": "secret", "version": "1.0.0", "field": "npm", "type": "PRIVATE"}
    browser.send("POST", PACKAGES, **fields)
    assert results("secret") == []


def test_trash_hides_package_until_restored(browser: Browser, as_root: Client) -> None:
    browser.delete(DEMO)
    assert count_hits() == 0
    run_action(as_root, "/admin/packages/package/", "restore", Package.objects.get())
    assert count_hits() == len(QUERIES)


@pytest.fixture
def shared(alice: User) -> Browser:
    """A browser of alice, who has a package in the namespace `acme`."""
    browser = Browser(alice)
    browser.send("POST", "/namespace", namespace="acme")
    fields = {"package_name": "demo", "version": "1.0.0", "field": "npm", "description": "zebra"}
    assert browser.send("POST", "/namespaces/acme/packages", **fields).status_code == 200
    return browser


def test_trash_hides_packages_of_namespace(shared: Browser, as_root: Client) -> None:
    shared.delete("/namespace/acme")
    assert [results(query) for query in ("demo", "zebra", "")] == [[], [], []]
    run_action(as_root, "/admin/namespaces/namespace/", "restore", Namespace.objects.get(name="acme"))
    assert [results(query) for query in ("demo", "zebra", "")] == [["acme/demo"]] * 3


@pytest.mark.parametrize("is_package_first", [True, False])
def test_package_and_namespace_restore_in_any_order(shared: Browser, as_root: Client, is_package_first: bool) -> None:
    shared.delete("/namespaces/acme/packages/demo")
    shared.delete("/namespace/acme")
    steps: list[tuple[str, Any]] = [
        ("/admin/packages/package/", Package.objects.get()),
        ("/admin/namespaces/namespace/", Namespace.objects.get(name="acme")),
    ]
    for path, row in steps if is_package_first else reversed(steps):
        run_action(as_root, path, "restore", row)
    assert [results(query) for query in ("demo", "zebra", "acme")] == [["acme/demo"]] * 3


def test_trash_empties_the_index(shared: Browser, as_root: Client) -> None:
    shared.delete("/namespaces/acme/packages/demo")
    assert Package.objects.get().search_name == ""
    shared.delete("/namespace/acme")
    run_action(as_root, "/admin/packages/package/", "restore", Package.objects.get())
    assert Package.objects.get().search_name == ""


def test_removed_packages_do_not_use_up_limit(alice: User) -> None:
    create_packages(alice, (Listing("gone", f"zebra-{number}") for number in range(600)))
    create_packages(alice, [Listing("acme", "striped", "zebra"), Listing("acme", "zebra-one")])
    membership.remove_namespace(Principal(alice), "gone")
    assert results("zebra") == ["acme/zebra-one", "acme/striped"]


@pytest.mark.parametrize(("method", "fields"), [("PUT", {"version": "2.0.0"}), ("PATCH", {})])
def test_changed_description_is_indexed_at_once(browser: Browser, method: str, fields: dict[str, str]) -> None:
    browser.send(method, DEMO, description="长颈鹿", keywords=["tall"], **fields)
    assert [len(results(query)) for query in ("zebra", "长颈鹿", "tall", "demo")] == [0, 1, 1, 1]


def test_replaced_snapshot_is_indexed_at_once(browser: Browser) -> None:
    browser.send("PUT", DEMO, version="1.0.0", description="giraffe")
    assert [len(results(query)) for query in ("zebra", "giraffe")] == [0, 1]


def test_older_version_is_not_indexed(browser: Browser) -> None:
    browser.send("PUT", DEMO, version="0.9.0", description="giraffe")
    assert [len(results(query)) for query in ("zebra", "giraffe")] == [1, 0]


# --- Hostile queries -------------------------------------------------------------------------------------------------

HOSTILE = [
    ("demo", True),
    ('"demo"', True),
    ("'demo'", True),
    ('demo"', True),
    ("demo'", True),
    ("demo''", True),
    ("demo*", True),
    ("demo:*", True),
    ("demo:", True),
    (":demo", True),
    ("(demo", True),
    ("demo)", True),
    ("^demo", True),
    ("-demo", True),
    ("+demo", True),
    ("!demo", True),
    ("demo\\", True),
    ("\\demo", True),
    ("demo & zebra", True),
    ("demo | zebra", True),
    ("demo <-> zebra", True),
    ("demo\x01zebra\x1f", True),
    ("demo\nzebra\t", True),
    ("demo\u202ezebra", True),
    ("demo 🙂", True),
    ("demo OR zebra", False),
    ("demo AND zebra", False),
    ("demo NOT nothing", False),
    ("NEAR(demo zebra)", False),
    ("search_name:demo", False),
    ("{search_text}: demo", False),
    ("demo'; DROP TABLE packages_package; --", False),
    ("d%o", False),
    ("d_m_x", False),
    ("%", False),
    ("%%", False),
    ("_", False),
    ("*", False),
    ('"', False),
    ("'", False),
    ('""', False),
    ("\\", False),
    ("()", False),
    (":", False),
    ("AND", False),
    ("OR OR OR", False),
    ("NOT", False),
    ("NEAR", False),
    ("🙂🙃👩\u200d💻", False),
    ("\x01\x02\x1f\x7f", False),
    ("\u200b\u202e", False),
    ("\u0301\u0301", False),
    ("²½Ⅳ①", False),
    ("\U00030000\U000323af\u9fff", False),
    ("ﬃ", False),
    ("a" * 200, False),
    ("中" * 200, False),
    ("a " * 100, True),
    ("\U0010ffff", False),
]


def test_query_operators_are_plain_text(alice: User) -> None:
    create_packages(alice, [Listing("alice", "demo", "zebra")])
    offenders = [query for query, is_match in HOSTILE if results(query) != (["alice/demo"] if is_match else [])]
    assert offenders == []


def test_bad_percent_encoding_is_no_failure(browser: Browser) -> None:
    client = Client(raise_request_exception=False)
    queries = ["%ff%fe", "%ED%A0%80", "%", "%%%", "+", "%zz", "demo;page=9", "[]=1"]
    assert [query for query in queries if client.get(f"/packages?query={query}").status_code != 200] == []


def test_any_description_can_be_searched(browser: Browser) -> None:
    texts = ['it\'s a "zebra"', "a\\b 'c' :* & | !", "𠮷 \U00030000 \u9fff", "²½ Ⅳ ﬃ İ ŉ", "x" * 1000, "中" * 1000]
    for text in texts:
        assert browser.send("PATCH", DEMO, description=text).status_code == 200
        queries = [*tokenize_query(text)[:8], text[:200]]
        assert [query for query in queries if results(query) != ["alice/demo"]] == []


@pytest.mark.django_db
def test_long_query_is_refused() -> None:
    refusal = {"error": "query_too_long", "message": "A query has at most 300 characters."}
    for query in ("a" * 301, "中" * 301, " " * 301):
        response = get_search(query)
        assert (response.status_code, response.json()) == (400, refusal)


def test_twelve_words_of_query_count(browser: Browser) -> None:
    words = [f"word{number}" for number in range(12)]
    browser.send("PATCH", DEMO, description=" ".join(words))
    assert results(" ".join([*words, "nothing"])) == ["alice/demo"]
    assert results(" ".join([*words[:11], "nothing"])) == []


@pytest.mark.django_db
def test_nul_in_query_is_refused() -> None:
    assert [get_search(query).status_code for query in ("\0", "demo\0", "%00")] == [400, 400, 200]


# --- The index -------------------------------------------------------------------------------------------------------


def select_names(sql: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {row[0] for row in cursor.fetchall()}


@pytest.mark.django_db
def test_database_maintains_the_index() -> None:
    if connection.vendor == "postgresql":
        indexes = select_names(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'packages_package' AND indexdef ~ 'gin'"
        )
        assert indexes == {f"packages_package_{column}_words" for column in SEARCH_COLUMNS}
    else:
        triggers = select_names(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'packages_package'"
        )
        assert triggers == {
            f"packages_package_{column}_words_{event}"
            for column in SEARCH_COLUMNS
            for event in ("insert", "update", "delete")
        }


def test_index_follows_every_change_of_rows(alice: User) -> None:
    create_packages(alice, CATALOGUE)
    Package.objects.filter(name="json-parser").update(search_text="giraffe", search_name="giraffe")
    Package.objects.filter(name="HttpClient").delete()
    assert [results(query) for query in ("giraffe", "parser", "network")] == [["alice/json-parser"], [], []]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:  # fails if the index and the table differ
            for column in SEARCH_COLUMNS:
                index = f"packages_package_{column}_words"
                cursor.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")


# --- Query plans -----------------------------------------------------------------------------------------------------

COUNT = 3000
QUERIES_OF_ALL_KINDS = [
    "name",
    "rare",
    "word12",
    "word12 thing",
    "稀有",
    "p2999",
    "acme7/p1207",
    "nothing",
    "thing-that-is-not",
]


@pytest.fixture
def thousands(alice: User) -> None:
    """Create packages in 30 namespaces; one package has rare words."""
    create_packages(alice, (numbered_listing(number) for number in range(COUNT)))
    if connection.vendor == "postgresql":  # autovacuum does the same after a while
        with connection.cursor() as cursor:
            for column in SEARCH_COLUMNS:
                cursor.execute("SELECT gin_clean_pending_list(%s)", [f"packages_package_{column}_words"])
            cursor.execute("ANALYZE packages_package, packages_release, namespaces_namespace, accounts_namereservation")


def numbered_listing(number: int) -> Listing:
    rare = " rare 稀有" if number == 77 else ""
    words = f"thing of word{number % 500} and other{number % 700}, 这是第{number}个包{rare}"
    return Listing(f"acme{number % 30}", f"p{number}", f"{words} {'filler ' * 20}", keywords=(f"key{number % 300}",))


def capture_statements(query: str) -> list[str]:
    """Return the SQL about packages that one search runs."""
    with CaptureQueriesContext(connection) as captured:
        assert get_search(query).status_code == 200
    return [query["sql"] for query in captured if "packages_package" in query["sql"]]


def explain(sql: str) -> Any:
    prefix = "EXPLAIN (ANALYZE, FORMAT JSON)" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{prefix} {sql}")
        return cursor.fetchall()


def package_nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of a plan of PostgreSQL that read packages."""
    nodes = [node for part in plan.get("Plans", ()) for node in package_nodes(part)]
    return [plan, *nodes] if plan.get("Relation Name") == "packages_package" else nodes


def assert_few_rows_are_read(sql: str, most: int) -> None:
    rows = explain(sql)
    if connection.vendor == "sqlite":
        steps = [str(row[3]) for row in rows]
        assert not [step for step in steps if step.split()[:2] == ["SCAN", "packages_package"]], (sql, steps)
        return
    output = rows[0][0]
    plan = (json.loads(output) if isinstance(output, str) else output)[0]["Plan"]
    for node in package_nodes(plan):
        assert node["Node Type"] != "Seq Scan", (sql, node)
        read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        assert read <= most, (sql, node)


@pytest.mark.usefixtures("thousands")
def test_search_reads_few_rows() -> None:
    for query in QUERIES_OF_ALL_KINDS:
        statements = capture_statements(query)
        assert statements
        for sql in statements:
            assert_few_rows_are_read(sql, most=200)


def test_number_of_queries_does_not_grow(alice: User, django_assert_max_num_queries: Any) -> None:
    for first, last in ((0, 1), (1, 100)):
        create_packages(alice, (Listing("acme", f"json-{number}") for number in range(first, last)))
        with django_assert_max_num_queries(4):
            assert len(results("json")) == min(last, 20)
