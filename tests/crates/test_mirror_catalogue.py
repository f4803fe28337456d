"""crates.io's API for mirrored crates: answers from what is stored, and refusals of changes."""

import gc
import json
import weakref
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from crates.catalogue import VERSIONS_AT_ONCE
from crates.mirror import download_counts, examination, index_cache, index_lines, overrides, stored_crates
from crates.mirror.models import CachedCrate, CachedIndexFile, Override
from crates.models import Crate
from crates.names import index_path
from crates.package.dependencies import CRATES_IO
from registry_site.download_counts import today
from tests.support import packing
from tests.support.bad_upstream import BadUpstream, file, line
from tests.support.cast import CargoClient
from tests.support.crates_io_shapes import CRATES as CRATES_SHAPE
from tests.support.crates_io_shapes import SORTS, VERSION_ROUTES, offenders
from tests.support.mirror_client import MirrorClient

BASE = "/mirror/api/v1"
CRATES = f"{BASE}/crates"
LISTS = {
    f"/crates{query}": CRATES_SHAPE
    for query in ("", "?q=demo", "?q=demo&sort=relevance&page=1&per_page=1", *(f"?sort={sort}" for sort in SORTS))
}
ROUTES = {**VERSION_ROUTES, **LISTS}
TOML = """license = "MIT"
description = "A crate of upstream"
repository = "https://github.com/up/demo"
readme = "README.md"
keywords = ["http"]
categories = ["web-programming::http-client"]
"""
CRATE = packing.crate(toml=packing.manifest(extra=TOML), files={"README.md": "# Hello", "src/lib.rs": "fn f() {}"})
DEPENDENCY = {
    "name": "alias",
    "package": "Serde",
    "req": "^1",
    "features": ["derive"],
    "optional": True,
    "default_features": False,
    "target": "cfg(unix)",
    "kind": "build",
}


def index_of(count: int, name: str = "demo") -> bytes:
    """Return an index file of versions from 0.0.0 on, each with features and dependencies."""
    fields: dict[str, Any] = {"features": {"default": ["std"]}, "features2": {"std": ["dep:alias"]}, "v": 2}
    versions = (f"{number // 100}.{number % 100}.0" for number in range(count))
    return b"".join(
        line(name, version, version.encode(), deps=[DEPENDENCY] * 2, rust_version="1.60", **fields) + b"\n"
        for version in versions
    )


def store(body: bytes, name: str = "demo") -> CachedIndexFile:
    return index_cache.store(index_path(name.lower()), "https://index.example.com/", body)


def store_facts(name: str, version: str, sha256: str, **columns: Any) -> CachedCrate:
    """Store a cached crate without bytes, and what was read from it."""
    crate = CachedCrate.objects.create(name=name, version=version, sha256=sha256, size=1)
    examination.store({crate.pk: {"examined": 1, **columns}})
    return crate


@pytest.fixture
def stored(mirror: MirrorClient, upstream: BadUpstream) -> Iterator[MirrorClient]:
    """A mirror with one crate whose file is stored; upstream must not be asked any more."""
    upstream.script_index("demo", file(line("demo", "1.0.0", CRATE, pubtime="2026-01-02T03:04:05Z") + b"\n"))
    upstream.script_crate("demo", "1.0.0", file(CRATE))
    assert mirror.crate().status_code == 200
    call_command("mirror", "examine", stdout=StringIO())
    upstream.requests.clear()
    yield mirror
    assert upstream.requests == []


def ask_for_json(client: CargoClient) -> Any:
    return lambda path: client.get(path, headers={"Accept": "application/json"})


def crate_of(client: CargoClient, name: str = "demo", include: str = "") -> dict[str, Any]:
    crate: dict[str, Any] = client.get(f"{CRATES}/{name}", {"include": include}).json()["crate"]
    return crate


def version_of(client: CargoClient, number: str = "1.0.0") -> dict[str, Any]:
    version: dict[str, Any] = client.get(f"{CRATES}/demo/{number}").json()["version"]
    return version


# --- Changes ------------------------------------------------------------------------------------------------------

REFUSAL = {
    "errors": [
        {
            "detail": "This is a mirror, which takes no crates and no changes. Use the registry itself, "
            "sparse+http://testserver/index/: `cargo publish --registry entrepot`."
        }
    ]
}


@pytest.mark.django_db
def test_config_names_the_api_of_the_mirror(anonymous: CargoClient) -> None:
    assert anonymous.get("/mirror/index/config.json").json() == {
        "dl": "http://testserver/ktra/api/v1/mirror",
        "api": "http://testserver/mirror",
    }


def test_publish_to_the_mirror_names_the_registry(mirror: MirrorClient, upstream: BadUpstream, alice: User) -> None:
    response = CargoClient(alice).put("/mirror/api/v1/crates/new", packing.body(), "application/octet-stream")
    assert (response.status_code, response.json()) == (403, REFUSAL)
    assert upstream.requests == []


# --- Shapes -------------------------------------------------------------------------------------------------------


def test_stored_crate_has_the_shapes(stored: MirrorClient) -> None:
    assert offenders(ask_for_json(stored), BASE, ROUTES, name="demo", number="1.0.0") == []


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 101])  # more than one page
def test_index_file_alone_has_the_shapes(anonymous: CargoClient, count: int) -> None:
    store(index_of(count))
    assert offenders(ask_for_json(anonymous), BASE, ROUTES, name="demo", number="0.0.0") == []


@pytest.mark.django_db
def test_odd_lines_have_the_shapes(anonymous: CargoClient) -> None:
    odd = {"features": {"\ud800": ["\ud800", 7], "b": None}, "links": 7, "rust_version": [], "pubtime": "yesterday"}
    deps = [7, {}, {"name": "\ud800"}, {"name": "a", "kind": 7, "target": 7, "features": 7, "req": 7}]
    lines = [line("demo", "0.0.0", b"x", deps=deps, **odd), b"no json", line("demo", "1", b"y"), b"{}"]
    store(b"\n".join(lines))
    assert offenders(ask_for_json(anonymous), BASE, ROUTES, name="demo", number="0.0.0") == []
    assert crate_of(anonymous)["num_versions"] == 1


@pytest.mark.django_db
def test_crate_without_versions_has_the_shapes(anonymous: CargoClient) -> None:
    store(b"")
    routes = {path: shape for path, shape in ROUTES.items() if "{number}" not in path}
    assert offenders(ask_for_json(anonymous), BASE, routes, name="demo") == []


# --- Facts --------------------------------------------------------------------------------------------------------


def test_crate_is_described_by_its_stored_file(stored: MirrorClient) -> None:
    crate = crate_of(stored, include="keywords,categories")
    assert {key: crate[key] for key in ("description", "repository", "keywords", "categories", "created_at")} == {
        "description": "A crate of upstream",
        "repository": "https://github.com/up/demo",
        "keywords": ["http"],
        "categories": ["web-programming::http-client"],
        "created_at": "2026-01-02T03:04:05Z",
    }
    version = version_of(stored)
    fields = ("license", "edition", "has_lib", "bin_names", "crate_size")
    assert [version[field] for field in fields] == ["MIT", "2021", True, [], len(CRATE)]


@pytest.mark.django_db
def test_highest_stored_file_describes_other_versions(anonymous: CargoClient) -> None:
    index_file = store(index_of(3))
    for parsed in index_lines.parse(bytes(index_file.body))[:2]:
        store_facts("demo", parsed.version, parsed.checksum, description=f"of {parsed.version}")
    store_facts("demo", "0.2.0", "0" * 64, description="of nobody")  # of other bytes
    crate = crate_of(anonymous)
    assert (crate["description"], crate["default_version"]) == ("of 0.1.0", "0.2.0")


def test_readme_is_a_page(stored: MirrorClient) -> None:
    answer = stored.get(f"{CRATES}/demo/1.0.0/readme")
    assert (answer.status_code, answer["Location"]) == (302, "/mirror/crates/demo/1.0.0/readme")
    page = stored.get(answer["Location"])
    assert "<h1" in page.content.decode()
    assert "sandbox" in page["Content-Security-Policy"]


def test_download_leads_to_the_file(stored: MirrorClient) -> None:
    answer = stored.get(version_of(stored)["dl_path"])
    assert b"".join(stored.get(answer["Location"])) == CRATE


@pytest.mark.django_db
def test_version_without_file_has_no_readme(anonymous: CargoClient) -> None:
    store(index_of(1))
    assert anonymous.get("/mirror/crates/demo/0.0.0/readme").status_code == 404


@pytest.mark.django_db
def test_dependencies_are_those_of_the_line(anonymous: CargoClient) -> None:
    store(index_of(1))
    download_counts.store({("serde", "1.0.0", today()): 3})
    first, second = anonymous.get(f"{CRATES}/demo/0.0.0/dependencies").json()["dependencies"]
    assert first["id"] != second["id"]
    assert {key: first[key] for key in first if key not in ("id", "version_id")} == {
        "crate_id": "Serde",
        "req": "^1",
        "optional": True,
        "default_features": False,
        "features": ["derive"],
        "target": "cfg(unix)",
        "kind": "build",
        "downloads": 3,
    }


@pytest.mark.django_db
def test_versions_stand_out_as_at_crates_io(anonymous: CargoClient) -> None:
    numbers = {"1.0.0": False, "2.0.0": True, "3.0.0-rc.1": False, "0.9.0": False}
    store(b"\n".join(line("Demo", number, number.encode(), yanked=yanked) for number, yanked in numbers.items()))
    crate = crate_of(anonymous, include="versions")
    fields = ("id", "default_version", "max_version", "max_stable_version", "newest_version", "num_versions", "yanked")
    assert [crate[field] for field in fields] == ["Demo", "1.0.0", "3.0.0-rc.1", "1.0.0", "0.9.0", 4, False]
    by_number = anonymous.get(f"{CRATES}/demo/versions").json()["versions"]
    assert [version["num"] for version in by_number] == ["3.0.0-rc.1", "2.0.0", "1.0.0", "0.9.0"]
    full = anonymous.get(f"{CRATES}/demo").json()["versions"]
    assert [version["num"] for version in full] == ["0.9.0", "3.0.0-rc.1", "2.0.0", "1.0.0"]


@pytest.mark.django_db
def test_pages_have_each_version_once(anonymous: CargoClient) -> None:
    store(index_of(5))
    for sort in ("semver", "date"):
        query, numbers = f"?sort={sort}&per_page=2", []
        while query:
            answer = anonymous.get(f"{CRATES}/demo/versions{query}").json()
            numbers += [version["num"] for version in answer["versions"]]
            query = answer["meta"]["next_page"]
        assert numbers == ["0.4.0", "0.3.0", "0.2.0", "0.1.0", "0.0.0"]


@pytest.mark.django_db
def test_ids_are_stable_and_exact(anonymous: CargoClient) -> None:
    store(index_of(2))
    before = crate_of(anonymous, include="versions")["versions"]
    CachedIndexFile.objects.all().delete()
    store(index_of(3))
    after = crate_of(anonymous, include="versions")["versions"]
    assert after[1:] == before
    assert all(number < 2**53 for number in after)


# --- Downloads and dependents ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_downloads_of_high_versions_stand_alone(anonymous: CargoClient) -> None:
    store(index_of(7))
    download_counts.store({("demo", f"0.{number}.0", today()): number + 1 for number in range(7)})
    ids = {version["num"]: version["id"] for version in anonymous.get(f"{CRATES}/demo/versions").json()["versions"]}
    answer = anonymous.get(f"{CRATES}/demo/downloads").json()
    by_version = {day["version"]: day["downloads"] for day in answer["version_downloads"]}
    assert by_version == {ids[f"0.{number}.0"]: number + 1 for number in range(2, 7)}
    assert answer["meta"]["extra_downloads"] == [{"date": str(today()), "downloads": 3}]
    one = anonymous.get(f"{CRATES}/demo/0.6.0/downloads").json()["version_downloads"]
    assert one == [{"version": ids["0.6.0"], "date": str(today()), "downloads": 7}]
    assert (crate_of(anonymous)["downloads"], crate_of(anonymous)["recent_downloads"]) == (28, None)


def test_dependents_are_crates_of_the_registry(mirror: MirrorClient, as_alice: CargoClient) -> None:
    store(index_of(1))
    for name, dependency in {"ours": packing.dependency("demo", registry=CRATES_IO), "other": None}.items():
        extra = "[dependencies]\ndemo = '1'\n" if dependency else ""
        toml = packing.manifest(name, extra=extra)
        metadata = packing.metadata(name, deps=[dependency] if dependency else [])
        response = as_alice.publish(packing.frame(metadata, packing.crate(name, toml=toml)))
        assert response.status_code == 200, response.content
    answer = mirror.get(f"{CRATES}/demo/reverse_dependencies").json()
    assert [version["crate"] for version in answer["versions"]] == ["ours"]
    assert (answer["dependencies"][0]["crate_id"], answer["meta"]["total"]) == ("demo", 1)
    assert answer["versions"][0]["dl_path"] == "/api/v1/crates/ours/1.0.0/download"


# --- Policies -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_held_back_version_looks_yanked(anonymous: CargoClient) -> None:
    store(index_of(2))
    overrides.create_override(Override.Kind.BLOCKED, "demo", "=0.1.0", actor=None, reason="It is broken.")
    version = version_of(anonymous, "0.1.0")
    assert (version["yanked"], version["yank_message"]) == (True, "It is blocked: It is broken.")
    assert crate_of(anonymous)["max_version"] == "0.0.0"


def test_unknown_license_is_not_fetched(stored: MirrorClient, settings: Any) -> None:
    settings.MIRROR_LICENSES = ["Zlib"]
    assert version_of(stored)["yank_message"] == "Its license is MIT, which is not allowed here."
    CachedCrate.objects.all().delete()
    assert "not known yet" in version_of(stored)["yank_message"]


# --- What is not served ---------------------------------------------------------------------------------------------


def test_unknown_crates_are_not_looked_up(stored: MirrorClient, alice: User, settings: Any) -> None:
    settings.PRIVATE_NAMES = ["private-*"]
    Crate.objects.create(name="ours", canonical_name="ours", index_path="ou/rs/ours", upstream=Crate.Upstream.LACKS)
    Crate.objects.create(name="new", canonical_name="new", index_path="3/n/new", upstream=Crate.Upstream.UNKNOWN)
    paths = [*VERSION_ROUTES, "/crates/{name}/owners", "/crates/{name}/owner_user", "/crates/{name}/owner_team"]
    statuses = {
        path: stored.get(BASE + path.format(name=name, number="1.0.0")).status_code
        for path in paths
        for name in ("nothing", "ours", "new", "private-name", "b" * 65, "no name")
    }
    assert set(statuses.values()) == {404}
    detail = stored.get(f"{CRATES}/nothing").json()["errors"][0]["detail"]
    assert "the mirror has not stored it yet" in detail


def test_stale_index_file_is_not_renewed(stored: MirrorClient) -> None:
    CachedIndexFile.objects.update(checked_at=index_cache.EPOCH)
    assert crate_of(stored)["name"] == "demo"


@pytest.mark.django_db
def test_removed_crate_is_gone(anonymous: CargoClient) -> None:
    store(index_of(1))
    CachedIndexFile.objects.update(status=410, body=b"")
    assert anonymous.get(f"{CRATES}/demo").status_code == 410


@pytest.mark.django_db
def test_name_is_taken_in_any_spelling(anonymous: CargoClient) -> None:
    store(index_of(1, "Two-Words"), "Two-Words")
    assert crate_of(anonymous, "two_WORDS")["name"] == "Two-Words"


# --- Bounds -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_queries_are_constant_in_versions(anonymous: CargoClient) -> None:
    def queries() -> list[int]:
        numbers = []
        for path in ROUTES:
            with CaptureQueriesContext(connection) as captured:
                anonymous.get(BASE + path.format(name="demo", number="0.0.0"))
            numbers.append(len(captured))
        return numbers

    store(index_of(1))
    before = queries()
    store(index_of(VERSIONS_AT_ONCE - 1))
    assert queries() == before


@pytest.mark.django_db
def test_long_answers_have_each_version_once(anonymous: CargoClient) -> None:
    count = 3 * VERSIONS_AT_ONCE + 7
    store(index_of(count))
    whole = json.loads(anonymous.get(f"{CRATES}/demo").getvalue())
    versions = json.loads(anonymous.get(f"{CRATES}/demo/versions").getvalue())
    assert whole["crate"]["versions"] == [version["id"] for version in whole["versions"]]
    assert versions["versions"] == whole["versions"]
    assert len({version["num"] for version in whole["versions"]}) == count


@pytest.mark.django_db
def test_lines_are_parsed_once(anonymous: CargoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    store(index_of(100))
    parsed: list[Any] = []
    load = json.loads

    def count_and_load(text: Any, **options: Any) -> Any:
        parsed.append(text)
        return load(text, **options)

    monkeypatch.setattr(json, "loads", count_and_load)
    counts = {}
    for path in ("", "/0.0.0", "/0.0.0/dependencies", "/versions?per_page=2"):
        parsed.clear()
        anonymous.get(f"{CRATES}/demo{path}", {"include": ""} if not path else {})
        counts[path] = sum(b'"cksum"' in text for text in parsed if isinstance(text, bytes))
    assert counts == {"": 100, "/0.0.0": 101, "/0.0.0/dependencies": 101, "/versions?per_page=2": 102}


@pytest.mark.django_db
def test_index_file_is_freed_after_its_answer() -> None:
    store(index_of(1))
    gc.disable()  # memory of a cycle would wait for it
    try:
        index_file = weakref.ref(stored_crates.get_crate("demo").index_file)
        assert index_file() is None
    finally:
        gc.enable()
