"""crates.io's read API: each answer has the shape of the contract, with one version and with many."""

import json
from itertools import chain
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from crates.catalogue import VERSIONS_AT_ONCE
from crates.models import Crate, Version
from tests.support import packing
from tests.support.cast import CargoClient
from tests.support.crate_rows import create_crate_of
from tests.support.crates_io_shapes import VERSION_ROUTES, differences, offenders

BASE = "/api/v1"
TOML = """license = "MIT"
description = "A crate"
repository = "https://example.com/demo"
readme = "README.md"
keywords = ["Http", "web"]
categories = ["web-programming::http-client"]
[dependencies]
serde = { version = "1", optional = true, features = ["derive"] }
[features]
default = ["serde"]
"""


def publish(client: CargoClient, version: str = "1.0.0", extra: str = TOML, name: str = "demo") -> None:
    toml = packing.manifest(name, version, extra)
    files = {"README.md": "# Hello\n\n<script>alert(1)</script>"}
    body = packing.frame(packing.metadata(name, version), packing.crate(name, version, toml, files))
    assert client.publish(body).status_code == 200


def ask_for_json(client: Client) -> Any:
    return lambda path: client.get(path, headers={"Accept": "application/json"})


def yank(client: CargoClient, version: str, **fields: Any) -> Any:
    return client.patch(
        f"/api/v1/crates/demo/{version}", {"version": {"yanked": True, **fields}}, content_type="application/json"
    )


# --- Shapes -------------------------------------------------------------------------------------------------------


def test_published_crate_has_the_shapes(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice)
    assert offenders(ask_for_json(anonymous), BASE, VERSION_ROUTES, name="demo", number="1.0.0") == []


@pytest.mark.parametrize("count", [1, 101])  # more than one page
def test_many_versions_have_the_shapes(anonymous: CargoClient, alice: User, count: int) -> None:
    create_crate_of(count, alice)
    assert offenders(ask_for_json(anonymous), BASE, VERSION_ROUTES, name="demo", number="0.0.0") == []


def test_yanked_crate_has_the_shapes(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice)
    assert yank(as_alice, "1.0.0", yank_message="broken").status_code == 200
    assert offenders(ask_for_json(anonymous), BASE, VERSION_ROUTES, name="demo", number="1.0.0") == []
    crate = anonymous.get("/api/v1/crates/demo").json()["crate"]
    assert (crate["max_version"], crate["max_stable_version"], crate["yanked"]) == ("0.0.0", None, True)
    assert crate["default_version"] == "1.0.0"


def test_checker_sees_each_kind_of_fault() -> None:
    shape = {"id": "int", "name": "str?", "list": ["str"], "may?": "str", "at": "time"}
    good = {"id": 1, "name": None, "list": ["a"], "at": "2026-11-30T21:00:00Z"}
    faults = [
        {**good, "id": "1"},
        {**good, "id": None},
        {**good, "name": ""},
        {**good, "list": [1]},
        {**good, "list": None},
        {**good, "more": 1},
        {**good, "at": "yesterday"},
        {**good, "at": "2026-11-30T21:00:00"},
        {key: value for key, value in good.items() if key != "name"},
    ]
    assert list(differences(good, shape, BASE)) == []
    assert [fault for fault in faults if len(list(differences(fault, shape, BASE))) != 1] == []


# --- One crate ----------------------------------------------------------------------------------------------------


def test_crate_is_described_by_its_versions(as_alice: CargoClient, anonymous: CargoClient) -> None:
    for version in ("1.0.0", "2.0.0-rc.1", "0.9.0"):
        publish(as_alice, version)
    answer = anonymous.get("/api/v1/crates/DEMO").json()
    crate = answer["crate"]
    fields = ("id", "default_version", "max_version", "max_stable_version", "newest_version", "num_versions")
    assert [crate[field] for field in fields] == ["demo", "1.0.0", "2.0.0-rc.1", "1.0.0", "0.9.0", 3]
    assert (crate["keywords"], crate["categories"]) == (["http", "web"], ["web-programming::http-client"])
    assert (crate["description"], crate["repository"]) == ("A crate", "https://example.com/demo")
    assert [version["num"] for version in answer["versions"]] == ["0.9.0", "2.0.0-rc.1", "1.0.0"]
    assert crate["versions"] == [version["id"] for version in answer["versions"]]
    assert answer["categories"][0]["category"] == "Http client"


def test_include_chooses_parts(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice)
    publish(as_alice, "0.1.0")
    lengths = {}
    for include in ("", "versions", "keywords", "categories", "default_version", "downloads", "versions,keywords"):
        answer = anonymous.get("/api/v1/crates/demo", {"include": include}).json()
        lengths[include] = [answer[part] and len(answer[part]) for part in ("versions", "keywords", "categories")]
    assert lengths == {
        "": [None, None, None],
        "versions": [2, None, None],
        "keywords": [None, 2, None],
        "categories": [None, None, 1],
        "default_version": [1, None, None],
        "downloads": [None, None, None],
        "versions,keywords": [2, 2, None],
    }


def test_unknown_things_are_refused(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice)
    statuses = {
        path: anonymous.get(f"/api/v1/crates/{path}").status_code
        for path in (
            "nothing",
            "nothing/versions",
            "demo/9.9.9",
            "demo/9.9.9/dependencies",
            "demo/9.9.9/readme",
            "demo/9.9.9/download",
            "demo/9.9.9/authors",
            "demo/words",
            "demo/" + "9" * 5000,
            "d" * 5000,
            "d%C3%A9mo",
        )
    }
    assert {path: status for path, status in statuses.items() if status != 404} == {}


def test_hostile_parameters_are_refused(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice)
    queries = (
        "?include=everything",
        "?include=" + "a," * 200,
        "?include=%00",
        "/versions?sort=size",
        "/versions?include=all",
        "/versions?per_page=0",
        "/versions?per_page=-1",
        "/versions?per_page=1e3",
        f"/versions?per_page={10**30}",
        "/versions?per_page=1&seek=x",
        "/versions?per_page=1&seek=" + "W" * 600,
        "/versions?per_page=1&seek=WyJhIl0",  # ["a"]
        "/versions?per_page=1&seek=WzFlOTk5XQ",  # [1e999]
        "/versions?" + "&".join(["nums[]=1.0.0"] * 101),
        "/versions?" + "&".join(["nums[]=1.0.0"] * 9_999),
        "/versions?nums[]=" + "1" * 200,
    )
    answers = {query: anonymous.get(f"/api/v1/crates/demo{query}") for query in queries}
    assert {query: answer.status_code for query, answer in answers.items() if answer.status_code != 400} == {}
    assert [set(answer.json()) for answer in answers.values()] == [{"errors"}] * len(queries)


# --- Versions -----------------------------------------------------------------------------------------------------


def numbers(client: CargoClient, query: str = "") -> list[str]:
    return [version["num"] for version in client.get(f"/api/v1/crates/demo/versions{query}").json()["versions"]]


@pytest.fixture
def versions(as_alice: CargoClient) -> None:
    for version in ("0.2.0", "1.10.0", "1.9.0", "1.11.0-a", "0.3.1"):
        publish(as_alice, version)


@pytest.mark.usefixtures("versions")
def test_versions_are_sorted_by_semver_or_date(anonymous: CargoClient) -> None:
    assert numbers(anonymous) == ["1.11.0-a", "1.10.0", "1.9.0", "0.3.1", "0.2.0"]
    assert numbers(anonymous, "?sort=date") == ["0.3.1", "1.11.0-a", "1.9.0", "1.10.0", "0.2.0"]
    assert numbers(anonymous, "?nums[]=0.2.0&nums[]=1.9.0&nums[]=7.0.0") == ["1.9.0", "0.2.0"]


@pytest.mark.usefixtures("versions")
def test_pages_of_versions_follow_each_other(anonymous: CargoClient) -> None:
    for sort in ("semver", "date"):
        query, pages = f"?sort={sort}&per_page=2", []
        while query:
            answer = anonymous.get(f"/api/v1/crates/demo/versions{query}").json()
            pages.append([version["num"] for version in answer["versions"]])
            assert answer["meta"]["total"] == 5
            query = answer["meta"]["next_page"]
        assert [len(page) for page in pages] == [2, 2, 1]
        assert list(chain.from_iterable(pages)) == numbers(anonymous, f"?sort={sort}")


@pytest.mark.usefixtures("versions")
def test_release_tracks_name_their_highest_versions(as_alice: CargoClient) -> None:
    yank(as_alice, "0.3.1")
    meta = as_alice.get("/api/v1/crates/demo/versions?include=release_tracks&per_page=1").json()["meta"]
    assert meta["release_tracks"] == {"1": {"highest": "1.10.0"}, "0.2": {"highest": "0.2.0"}}


def test_version_shows_facts_and_actions(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice)
    answer = yank(as_alice, "1.0.0", yank_message="broken").json()
    as_alice.put("/api/v1/crates/demo/1.0.0/unyank")
    version = anonymous.get("/api/v1/crates/demo/1.0.0").json()["version"]
    assert answer["version"]["yank_message"] == "broken"
    assert [action["action"] for action in version["audit_actions"]] == ["publish", "yank", "unyank"]
    assert version["updated_at"] == version["audit_actions"][-1]["time"] > version["created_at"]
    assert version["published_by"] == version["audit_actions"][0]["user"]
    assert version["published_by"]["login"].endswith("alice")
    expected = {"license": "MIT", "edition": "2021", "has_lib": True, "bin_names": [], "yank_message": None}
    assert {key: version[key] for key in expected} == expected
    assert version["features"] == {"default": ["serde"]}
    assert version["linecounts"]["languages"]["Rust"]["files"] == 1


def test_dependencies_are_those_of_the_version(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice)
    (dependency,) = anonymous.get("/api/v1/crates/demo/1.0.0/dependencies").json()["dependencies"]
    expected = {"crate_id": "serde", "req": "^1", "optional": True, "features": ["derive"], "kind": "normal"}
    assert {key: dependency[key] for key in expected} == expected
    assert dependency["version_id"] == Version.objects.get().pk


def test_no_email_address_is_shown(as_alice: CargoClient, anonymous: CargoClient, alice: User) -> None:
    alice.email = "alice@secret.example"
    alice.save()
    publish(as_alice)
    for route in VERSION_ROUTES:
        path = BASE + route.format(name="demo", number="1.0.0")
        for client in (anonymous, as_alice):
            assert b"secret.example" not in client.get(path, headers={"Accept": "application/json"}).content, path


# --- README and download ------------------------------------------------------------------------------------------


def test_readme_is_a_harmless_page(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice)
    answer = anonymous.get("/api/v1/crates/demo/1.0.0/readme", follow=True)
    assert answer.redirect_chain == [("/dl/demo/1.0.0/readme", 302)]
    assert b"Hello" in answer.content
    assert b"<script" not in answer.content
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_version_without_readme_has_no_page(as_alice: CargoClient, anonymous: CargoClient) -> None:
    as_alice.publish(packing.body())
    answer = anonymous.get("/dl/demo/1.0.0/readme")
    assert (answer.status_code, answer.json()) == (404, {"errors": [{"detail": "demo@1.0.0 has no README."}]})


def test_download_leads_to_the_bytes(as_alice: CargoClient, anonymous: CargoClient) -> None:
    publish(as_alice)
    answer = anonymous.get("/api/v1/crates/DEMO/1.0.0/download")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/dl/demo/1.0.0/download")
    assert "Accept" in answer.headers["Vary"]
    url = ask_for_json(anonymous)("/api/v1/crates/demo/1.0.0/download").json()["url"]
    assert anonymous.get(url).getvalue()[:2] == b"\x1f\x8b"


# --- Costs --------------------------------------------------------------------------------------------------------


def test_number_of_queries_is_constant(anonymous: CargoClient, alice: User) -> None:
    counts: dict[str, list[int]] = {}
    for name, count in (("one", 1), ("many", VERSIONS_AT_ONCE - 1)):
        create_crate_of(count, alice, name, dependencies=count)
        for route in VERSION_ROUTES:
            with CaptureQueriesContext(connection) as queries:
                anonymous.get(BASE + route.format(name=name, number="0.0.0"))
            counts.setdefault(route, []).append(len(queries))
    assert {route: pair for route, pair in counts.items() if pair[0] != pair[1]} == {}
    assert max(first for first, _ in counts.values()) <= 8


def test_large_columns_stay_in_the_database(anonymous: CargoClient, alice: User) -> None:
    create_crate_of(3, alice)
    for route in VERSION_ROUTES:
        with CaptureQueriesContext(connection) as queries:
            anonymous.get(BASE + route.format(name="demo", number="0.0.0"))
        selected = " ".join(query["sql"].split(" FROM ")[0] for query in queries)
        assert "crates_indexline" not in selected, route
        assert '"crates_version"."dependencies"' not in selected, route
        if "include=" in route and "version" not in route and "full" not in route:
            assert '"features"' not in selected, route


def test_page_of_versions_reads_no_other(anonymous: CargoClient, alice: User) -> None:
    create_crate_of(50, alice)
    with CaptureQueriesContext(connection) as queries:
        answer = anonymous.get("/api/v1/crates/demo/versions?per_page=2")
    assert len(answer.json()["versions"]) == 2
    (full,) = [query["sql"] for query in queries if '"crates_version"."features"' in query["sql"]]
    keys = Crate.objects.get().versions.order_by("-pk").values_list("pk", flat=True)[:2]
    assert all(str(key) in full for key in keys)


# --- Long answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [VERSIONS_AT_ONCE + more for more in (-1, 0, 1)] + [3 * VERSIONS_AT_ONCE + 7])
def test_long_answers_have_each_version_once(anonymous: CargoClient, alice: User, count: int) -> None:
    crate = create_crate_of(count, alice)
    keys = list(crate.versions.order_by("-pk").values_list("pk", flat=True))
    whole = json.loads(anonymous.get("/api/v1/crates/demo").getvalue())
    versions = json.loads(anonymous.get("/api/v1/crates/demo/versions").getvalue())
    assert whole["crate"]["versions"] == [version["id"] for version in whole["versions"]] == keys
    assert versions["versions"] == whole["versions"]
    assert versions["meta"] == {"total": count, "next_page": None}


def features_queries(queries: CaptureQueriesContext) -> int:
    return sum('"crates_version"."features"' in query["sql"] for query in queries)


@pytest.mark.parametrize("path", ["", "/versions", "/versions?per_page=100"])
def test_versions_are_read_as_they_are_sent(anonymous: CargoClient, alice: User, path: str) -> None:
    create_crate_of(5 * VERSIONS_AT_ONCE, alice)
    with CaptureQueriesContext(connection) as queries:
        counts = [features_queries(queries) for _ in anonymous.get(f"/api/v1/crates/demo{path}")]
        assert counts == [1, 2, 3, 4, 5, 5]
        assert len(queries) <= 8 + 4 * 3


def test_head_reads_the_first_versions_alone(anonymous: CargoClient, alice: User) -> None:
    create_crate_of(3 * VERSIONS_AT_ONCE, alice)
    with CaptureQueriesContext(connection) as queries:
        response = anonymous.head("/api/v1/crates/demo")
    assert (response.status_code, response.getvalue()) == (200, b"")
    assert "Content-Length" not in response.headers
    assert features_queries(queries) == 1


def test_failure_before_the_first_version_has_a_status(anonymous: CargoClient, alice: User) -> None:
    create_crate_of(3 * VERSIONS_AT_ONCE, alice)

    def fail(execute: Any, sql: str, *arguments: Any) -> Any:
        if '"crates_version"."features"' in sql:
            raise OperationalError("no answer")
        return execute(sql, *arguments)

    with connection.execute_wrapper(fail):
        answer = anonymous.get("/api/v1/crates/demo")
    assert (answer.status_code, list(answer.json())) == (503, ["errors"])


def test_version_removed_meanwhile_is_left_out(anonymous: CargoClient, alice: User) -> None:
    crate = create_crate_of(2 * VERSIONS_AT_ONCE, alice)
    pieces = iter(anonymous.get("/api/v1/crates/demo/versions"))
    beginning = next(pieces)
    crate.versions.filter(number="0.0.0").delete()
    answer = json.loads(b"".join([beginning, *pieces]))
    assert len(answer["versions"]) == 2 * VERSIONS_AT_ONCE - 1
