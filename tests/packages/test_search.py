"""`GET /packages`: found by words in any script, the best first, only what is public, and by few rows."""

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
from packages.models import Package, Release
from tests.support.admin import run_action
from tests.support.browser import Browser

PACKAGES = "/namespaces/alice/packages"
DEMO = f"{PACKAGES}/demo"


class Given(NamedTuple):
    """A package that is there."""

    namespace: str
    name: str
    description: str = ""
    field: str = "java"
    keywords: tuple[str, ...] = ()


def fill(publisher: User, given: Iterable[Given]) -> None:
    """Public packages of one version each, in namespaces that are made where there are none."""
    rows = list(given)
    taken = {namespace.name: namespace for namespace in Namespace.objects.all()}
    for name in {row.namespace for row in rows} - set(taken):
        taken[name] = membership.create_namespace(Principal(publisher), name)
    pairs = [_rows(taken[row.namespace], row, publisher) for row in rows]
    Package.objects.bulk_create(package for package, _ in pairs)
    Release.objects.bulk_create(release for _, release in pairs)
    Package.objects.update(newest=Subquery(Release.objects.filter(package=OuterRef("pk")).values("pk")))


def _rows(namespace: Namespace, row: Given, publisher: User) -> tuple[Package, Release]:
    canonical = names.canonical(row.name)
    package = Package(namespace=namespace, name=row.name, canonical_name=canonical, field=row.field)
    content: dict[str, Any] = {"description": row.description, "keywords": list(row.keywords)}
    release = Release(package=package, version="1.0.0", precedence="1.0.0", publisher=publisher, **content)
    package.newest = release
    search.update_search_fields(package)
    package.newest = None  # until it has a key
    return package, release


def ask(query: str, **parameters: Any) -> Any:
    client = Client(raise_request_exception=False)
    return client.get("/packages", {"query": query, **parameters})


def found(query: str, **parameters: Any) -> list[str]:
    response = ask(query, **parameters)
    assert response.status_code == 200
    return [f"{package['namespace']}/{package['package_name']}" for package in response.json()]


# --- What a package is found by ----------------------------------------------------------------------------------

CATALOGUE = [
    Given("alice", "json-parser", "Reads and writes fast", keywords=("serialization", "type safe")),
    Given("alice", "HttpClient", "Sends requests; straße, İstanbul, naïve", keywords=("network",)),
    Given("acme", "log4j2", "Logging in ｆｕｌｌ　ｗｉｄｔｈ, version 12 of 2024", "maven"),  # noqa: RUF001
    Given("acme", "数据库", "高性能连接池，支持 MySQL 与 Redis", "php", ("缓存",)),  # noqa: RUF001
    Given("acme", "かな", "日本語の形態素解析ライブラリ", "npm"),
    Given("acme", "한글", "한국어 형태소 분석기", "npm"),
    Given("acme", "vue中文组件", "𠮷野家", "npm"),
]
JSON, HTTP, LOG = "alice/json-parser", "alice/HttpClient", "acme/log4j2"
DATABASE, KANA, HANGUL, VUE = "acme/数据库", "acme/かな", "acme/한글", "acme/vue中文组件"

FOUND = [
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


@pytest.mark.parametrize(("query", "expected"), FOUND, ids=[query for query, _ in FOUND])
def test_package_is_found_by_its_words(alice: User, query: str, expected: list[str]) -> None:
    fill(alice, CATALOGUE)
    assert sorted(found(query)) == sorted(expected)


def test_answer_has_the_documented_shape(alice: User) -> None:
    fill(alice, CATALOGUE)
    package = Package.objects.get(name="HttpClient")
    assert ask("network").json() == [
        {
            "package_name": "HttpClient",
            "package_id": str(package.pk),
            "namespace_id": str(package.namespace_id),
            "namespace": "alice",
            "version": "1.0.0",
            "field": "java",
            "publisher_id": str(alice.pk),
            "publisher": "alice",
            "description": "Sends requests; straße, İstanbul, naïve",
            "last_updated": f"{package.updated_at:%Y-%m-%d}",
        }
    ]


# --- The order ---------------------------------------------------------------------------------------------------

RANKED = [
    Given("acme", "json"),
    Given("zeta", "json"),
    Given("acme", "json-lines"),
    Given("acme", "jsonnet"),
    Given("acme", "fast-json"),
    Given("acme", "xjson-json"),
    Given("json", "aaa"),
    Given("acme", "aab", "speaks json"),
    Given("acme", "aac", keywords=("json",)),
    Given("acme", "aad", field="json"),
]


@pytest.mark.parametrize("query", ["json", "JSON", " json "])
def test_best_comes_first(alice: User, query: str) -> None:
    fill(alice, reversed(RANKED))
    listed = found(query)
    assert listed[:4] == ["acme/json", "zeta/json", "acme/json-lines", "acme/jsonnet"]
    assert sorted(listed[4:7]) == ["acme/fast-json", "acme/xjson-json", "json/aaa"]
    assert listed[7:] == ["acme/aab", "acme/aac", "acme/aad"]


@pytest.mark.parametrize("query", ["zeta/json", "Zeta/JSON"])
def test_whole_name_with_its_namespace_comes_first(alice: User, query: str) -> None:
    fill(alice, [*RANKED, Given("acme", "zeta-json"), Given("zeta", "json-a")])
    assert found(query)[0] == "zeta/json"


def test_chinese_name_that_is_the_query_comes_first(alice: User) -> None:
    others = [Given("acme", "a", "中文"), Given("acme", "中文组件"), Given("acme", "新中文")]
    fill(alice, [*others, Given("zeta", "中文")])
    assert found("中文") == ["zeta/中文", "acme/中文组件", "acme/新中文", "acme/a"]


def test_name_that_is_the_query_comes_before_many(alice: User) -> None:
    many = [Given("acme", f"json-{number}", "json") for number in range(700)]
    fill(alice, [*many, Given("zeta", "json"), Given("acme", "json")])
    assert found("json")[:2] == ["acme/json", "zeta/json"]


def test_pages_follow_each_other(alice: User) -> None:
    fill(alice, (Given("acme", f"json-{number:03}") for number in range(45)))
    pages = [found("json", page=page) for page in (1, 2, 3)]
    assert pages[0] + pages[1] + pages[2] == [f"acme/json-{number:03}" for number in range(45)]
    assert [ask("json", page=page)["X-Total-Count"] for page in (0, 2, 99)] == ["45"] * 3


# --- The empty query ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", " ", "   "])
def test_empty_query_lists_all_by_name(alice: User, query: str) -> None:
    fill(alice, [Given("zeta", "b"), Given("acme", "C"), Given("acme", "b"), Given("acme", "a")])
    listed = found(query)
    assert (listed[0], sorted(listed[1:3]), listed[3]) == ("acme/a", ["acme/b", "zeta/b"], "acme/C")


def test_empty_query_lists_really_all(alice: User) -> None:
    fill(alice, (Given("acme", f"p{number:03}") for number in range(610)))
    response = ask("", page=31)
    assert response["X-Total-Count"] == "610"
    assert response.json()[-1]["package_name"] == "p609"


@pytest.mark.django_db
def test_query_is_needed() -> None:
    response = Client().get("/packages")
    message = "query: This field is required."
    assert (response.status_code, response.json()) == (400, {"error": "malformed", "message": message})


@pytest.mark.parametrize("query", ["", "json", "!"])
@pytest.mark.django_db
def test_nothing_found_is_an_empty_list(query: str) -> None:
    response = ask(query)
    assert (response.status_code, response.json(), response["X-Total-Count"]) == (200, [], "0")


# --- What is not found, and is found again -----------------------------------------------------------------------


@pytest.fixture
def browser(alice: User) -> Browser:
    """Alice's; she has a package."""
    browser = Browser(alice)
    fields = {"package_name": "demo", "version": "1.0.0", "field": "java", "description": "zebra"}
    assert browser.send("POST", PACKAGES, **fields).status_code == 200
    return browser


QUERIES = ["demo", "zebra", "alice", "alice/demo", "java", ""]


def hits() -> int:
    """How many of the queries find it."""
    return sum(found(query) == ["alice/demo"] for query in QUERIES)


def test_public_package_is_found_at_once(browser: Browser) -> None:
    assert hits() == len(QUERIES)


def test_private_package_is_never_found(browser: Browser, alice: User, root: User) -> None:
    browser.send("PATCH", DEMO, type="PRIVATE")
    assert hits() == 0
    for query in QUERIES:
        for client in (browser, Browser(root)):
            response = client.get("/packages", {"query": query})
            assert (response.json(), response["X-Total-Count"]) == ([], "0")


def test_package_that_was_private_is_found(browser: Browser) -> None:
    browser.send("PATCH", DEMO, type="PRIVATE")
    browser.send("PUT", DEMO, version="2.0.0", type="PUBLIC")
    assert hits() == len(QUERIES)


def test_package_that_comes_private_is_never_found(browser: Browser) -> None:
    fields = {"package_name": "secret", "version": "1.0.0", "field": "java", "type": "PRIVATE"}
    browser.send("POST", PACKAGES, **fields)
    assert found("secret") == []


def test_removed_package_is_not_found_and_restored_is(browser: Browser, as_root: Client) -> None:
    browser.delete(DEMO)
    assert hits() == 0
    run_action(as_root, "/admin/packages/package/", "restore", Package.objects.get())
    assert hits() == len(QUERIES)


@pytest.fixture
def shared(alice: User) -> Browser:
    """Alice's; she has a package in the namespace `acme`."""
    browser = Browser(alice)
    browser.send("POST", "/namespace", namespace="acme")
    fields = {"package_name": "demo", "version": "1.0.0", "field": "java", "description": "zebra"}
    assert browser.send("POST", "/namespaces/acme/packages", **fields).status_code == 200
    return browser


def test_packages_go_and_come_with_their_namespace(shared: Browser, as_root: Client) -> None:
    shared.delete("/namespace/acme")
    assert [found(query) for query in ("demo", "zebra", "")] == [[], [], []]
    run_action(as_root, "/admin/namespaces/namespace/", "restore", Namespace.objects.get(name="acme"))
    assert [found(query) for query in ("demo", "zebra", "")] == [["acme/demo"]] * 3


@pytest.mark.parametrize("is_package_first", [True, False])
def test_package_and_namespace_are_restored_in_any_order(
    shared: Browser, as_root: Client, is_package_first: bool
) -> None:
    shared.delete("/namespaces/acme/packages/demo")
    shared.delete("/namespace/acme")
    steps: list[tuple[str, Any]] = [
        ("/admin/packages/package/", Package.objects.get()),
        ("/admin/namespaces/namespace/", Namespace.objects.get(name="acme")),
    ]
    for path, row in steps if is_package_first else reversed(steps):
        run_action(as_root, path, "restore", row)
    assert [found(query) for query in ("demo", "zebra", "acme")] == [["acme/demo"]] * 3


def test_many_in_the_trash_hide_nobody(alice: User) -> None:
    fill(alice, (Given("gone", f"zebra-{number}") for number in range(600)))
    fill(alice, [Given("acme", "striped", "zebra"), Given("acme", "zebra-one")])
    membership.remove_namespace(Principal(alice), "gone")
    assert found("zebra") == ["acme/zebra-one", "acme/striped"]


@pytest.mark.parametrize("is_published", [True, False])
def test_changed_description_counts_at_once(browser: Browser, is_published: bool) -> None:
    change = {"description": "长颈鹿", "keywords": ["tall"]}
    if is_published:
        browser.send("PUT", DEMO, version="2.0.0", **change)
    else:
        browser.send("PATCH", DEMO, **change)
    assert [len(found(query)) for query in ("zebra", "长颈鹿", "tall", "demo")] == [0, 1, 1, 1]


def test_older_version_says_nothing(browser: Browser) -> None:
    browser.send("PUT", DEMO, version="0.9.0", description="giraffe")
    assert [len(found(query)) for query in ("zebra", "giraffe")] == [1, 0]


# --- Hostile queries ---------------------------------------------------------------------------------------------

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
    ("d_mo", False),
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


@pytest.mark.parametrize(("query", "is_found"), HOSTILE, ids=[ascii(query)[:40] for query, _ in HOSTILE])
def test_signs_in_a_query_are_only_signs(alice: User, query: str, is_found: bool) -> None:
    fill(alice, [Given("alice", "demo", "zebra")])
    assert found(query) == (["alice/demo"] if is_found else [])


@pytest.mark.parametrize("query", ["%ff%fe", "%ED%A0%80", "%", "%%%", "+", "%zz", "demo;page=9", "[]=1"])
def test_coding_of_a_query_is_no_failure(browser: Browser, query: str) -> None:
    assert Client(raise_request_exception=False).get(f"/packages?query={query}").status_code == 200


@pytest.mark.parametrize(
    "text", ['it\'s a "zebra"', "a\\b 'c' :* & | !", "𠮷 \U00030000 \u9fff", "²½ Ⅳ ﬃ İ ŉ", "x" * 1000, "中" * 1000]
)
def test_any_description_is_kept_and_leaves_its_package_to_be_found(browser: Browser, text: str) -> None:
    assert browser.send("PATCH", DEMO, description=text).status_code == 200
    words = search.tokenize_query(text)
    assert [query for query in [*words[:8], text[:200]] if found(query) != ["alice/demo"]] == []


@pytest.mark.parametrize("query", ["a" * 201, "中" * 201, " " * 201])
@pytest.mark.django_db
def test_long_query_is_refused(query: str) -> None:
    response = ask(query)
    message = "A query has at most 200 characters."
    assert (response.status_code, response.json()) == (400, {"error": "query_too_long", "message": message})


@pytest.mark.parametrize("query", ["\0", "demo\0", "%00"])
@pytest.mark.django_db
def test_nul_is_no_failure(query: str) -> None:
    response = ask(query)
    assert response.status_code == (200 if query == "%00" else 400)


# --- The index ---------------------------------------------------------------------------------------------------


def _column(sql: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {row[0] for row in cursor.fetchall()}


@pytest.mark.django_db
def test_database_keeps_the_index() -> None:
    if connection.vendor == "postgresql":
        indexes = _column("SELECT indexname FROM pg_indexes WHERE tablename = 'packages_package' AND indexdef ~ 'gin'")
        assert indexes == {"packages_by_words", "packages_by_words_of_name"}
    else:
        triggers = _column("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'packages_package'")
        assert triggers == {f"packages_words_{event}" for event in ("insert", "update", "delete")}


def test_index_follows_whatever_changes_the_rows(alice: User) -> None:
    fill(alice, CATALOGUE)
    Package.objects.filter(name="json-parser").update(search_text="giraffe", search_name="giraffe")
    Package.objects.filter(name="HttpClient").delete()
    assert [found(query) for query in ("giraffe", "parser", "network")] == [["alice/json-parser"], [], []]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:  # raises when the index and the table differ
            cursor.execute("INSERT INTO packages_words (packages_words, rank) VALUES ('integrity-check', 1)")


# --- Rows that are read ------------------------------------------------------------------------------------------

COUNT = 3000
SHAPES = ["name", "rare", "word12", "word12 thing", "稀有", "p2999", "acme7/p1207", "nothing", "thing-that-is-not"]


@pytest.fixture
def thousands(alice: User) -> None:
    """Packages of 30 namespaces; one of them is rare."""
    fill(alice, (_one_of_many(number) for number in range(COUNT)))
    if connection.vendor == "postgresql":  # as it does of its own after a while
        with connection.cursor() as cursor:
            for index in ("packages_by_words", "packages_by_words_of_name"):
                cursor.execute("SELECT gin_clean_pending_list(%s)", [index])
            cursor.execute("ANALYZE packages_package, packages_release, namespaces_namespace, accounts_namereservation")


def _one_of_many(number: int) -> Given:
    rare = " rare 稀有" if number == 77 else ""
    words = f"thing of word{number % 500} and other{number % 700}, 这是第{number}个包{rare}"
    return Given(f"acme{number % 30}", f"p{number}", f"{words} {'filler ' * 20}", keywords=(f"key{number % 300}",))


def _statements(query: str) -> list[str]:
    """What the database is asked about packages for the first page."""
    with CaptureQueriesContext(connection) as captured:
        assert ask(query).status_code == 200
    return [asked["sql"] for asked in captured if "packages_package" in asked["sql"]]


def _explained(sql: str) -> Any:
    prefix = "EXPLAIN (ANALYZE, FORMAT JSON)" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{prefix} {sql}")
        return cursor.fetchall()


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a plan of PostgreSQL that read packages."""
    below = [node for part in plan.get("Plans", ()) for node in _nodes(part)]
    return [plan, *below] if plan.get("Relation Name") == "packages_package" else below


def assert_few_rows_are_read(sql: str, most: int) -> None:
    rows = _explained(sql)
    if connection.vendor == "sqlite":
        steps = [str(row[3]) for row in rows]
        assert not [step for step in steps if step.startswith("SCAN packages_package")], (sql, steps)
        return
    said = rows[0][0]
    plan = (json.loads(said) if isinstance(said, str) else said)[0]["Plan"]
    for node in _nodes(plan):
        assert node["Node Type"] != "Seq Scan", (sql, node)
        read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        assert read <= most, (sql, node)


@pytest.mark.usefixtures("thousands")
def test_search_reads_few_of_many_rows() -> None:
    for query in SHAPES:
        statements = _statements(query)
        assert statements
        for sql in statements:
            assert_few_rows_are_read(sql, most=200)


@pytest.mark.parametrize("count", [1, 100])
def test_search_takes_the_same_queries_for_few_and_for_many(
    alice: User, django_assert_max_num_queries: Any, count: int
) -> None:
    fill(alice, (Given("acme", f"json-{number}") for number in range(count)))
    with django_assert_max_num_queries(4):
        assert len(found("json")) == min(count, 20)
