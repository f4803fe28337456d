"""Lists of mirrored crates: filters, orders, what describes a crate, and what policies leave of it."""

import hashlib
import re
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from crates.listing import FEW
from crates.mirror import download_counts, examination, index_cache, listing, maintenance, overrides
from crates.mirror.models import CachedCrate, CachedIndexFile, Override, Topic
from crates.models import Crate
from crates.names import index_path
from registry_site.download_counts import today
from tests.support.bad_upstream import BadUpstream, file, line, refusal
from tests.support.cast import CargoClient
from tests.support.crates_io_shapes import SORTS
from tests.support.mirror_client import MirrorClient

CRATES = "/mirror/api/v1/crates"
SHOWN = (
    *("created_at", "updated_at", "description", "homepage", "repository", "num_versions", "yanked"),
    *("default_version", "max_version", "newest_version", "max_stable_version"),
)


def store(name: str, *lines: bytes) -> CachedIndexFile:
    return index_cache.store(index_path(name.lower()), "https://index.example.com/", b"\n".join(lines))


def store_facts(name: str, version: str, license_: str = "", **columns: Any) -> CachedCrate:
    """Store a cached crate, whose bytes are its version, and what was read from it."""
    sha256 = hashlib.sha256(version.encode()).hexdigest()
    crate = CachedCrate.objects.create(name=name, version=version, sha256=sha256, size=1, license=license_)
    examination.store({crate.pk: {"examined": 1, **columns}})
    return crate


def release(name: str, version: str, **fields: Any) -> bytes:
    return line(name, version, version.encode(), **fields)


def names_in(client: CargoClient, query: str = "") -> list[str]:
    response = client.get(f"{CRATES}{query}")
    assert response.status_code == 200, response.content
    return [crate["name"] for crate in response.json()["crates"]]


def total_of(client: CargoClient, query: str = "") -> int:
    total: int = client.get(f"{CRATES}{query}").json()["meta"]["total"]
    return total


def block(name: str, requirement: str = "*") -> Override:
    return overrides.create_override(Override.Kind.BLOCKED, name, requirement, actor=None, reason="It is broken.")


@pytest.fixture
def some(db: None) -> None:
    """Three crates, the last published first in the alphabet, with the topics of two."""
    for month, name in enumerate(["serde_json", "serde", "Json-rpc"], start=1):
        store(name, release(name, "1.0.0", pubtime=f"2026-0{month}-01T00:00:00Z"))
    download_counts.store({("serde", "1.0.0", today()): 1, ("json-rpc", "1.0.0", today()): 2})
    store_facts("serde", "1.0.0", keywords=["no_std", "serde"], categories=["encoding", "development-tools::testing"])
    store_facts("json-rpc", "1.0.0", keywords=["serde"], categories=["encoding"])


# --- Orders -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("some")
def test_crates_are_listed_in_each_order(anonymous: CargoClient) -> None:
    orders = {
        "": ["Json-rpc", "serde", "serde_json"],
        "alpha": ["Json-rpc", "serde", "serde_json"],
        "new": ["Json-rpc", "serde", "serde_json"],
        "recent-updates": ["Json-rpc", "serde", "serde_json"],
        "downloads": ["Json-rpc", "serde", "serde_json"],
        "recent-downloads": ["Json-rpc", "serde", "serde_json"],
    }
    assert {sort: names_in(anonymous, f"?sort={sort}") for sort in orders} == orders
    store("serde", release("serde", "1.0.0", pubtime="2026-09-01T00:00:00Z"))
    assert names_in(anonymous, "?sort=new")[0] == "serde"


@pytest.mark.usefixtures("some")
def test_search_finds_words_of_names(anonymous: CargoClient) -> None:
    searches = {
        "serde": ["serde", "serde_json"],
        "json": ["Json-rpc", "serde_json"],
        "SERDE-json": ["serde_json"],
        "rp js": ["Json-rpc"],
        "absent": [],
        "§": [],
    }
    assert {text: names_in(anonymous, f"?q={text}") for text in searches} == searches
    assert names_in(anonymous, "?q=serde&sort=new") == ["serde", "serde_json"]


@pytest.mark.usefixtures("some")
def test_list_has_pages(anonymous: CargoClient) -> None:
    answer = anonymous.get(f"{CRATES}?per_page=2").json()
    assert answer["meta"] == {"total": 3, "next_page": "?per_page=2&page=2", "prev_page": None}
    assert names_in(anonymous, "?per_page=2&page=2") == ["serde_json"]
    assert names_in(anonymous, "?per_page=2&page=2&sort=downloads") == ["serde_json"]


@pytest.mark.usefixtures("some")
def test_search_page_filters_mirrored_crates(client: Client) -> None:
    def listed(query: str) -> list[str]:
        page = client.get(f"/search?source=mirror&sort=alpha&{query}").content.decode()
        return re.findall(r'<h2><a href="/mirror/crates/([^"]+)"', page)

    searches = {
        "keyword=SERDE": ["Json-rpc", "serde"],
        "keyword=no_std": ["serde"],
        "keyword=none": [],
        "category=development-tools": ["serde"],
        "keyword=serde&q=json": ["Json-rpc"],
        "keyword=no_std&q=Json-rpc": [],
        "keyword=serde&page=2": [],
    }
    assert {query: listed(query) for query in searches} == searches
    page = client.get("/search?source=mirror&keyword=serde").content.decode()
    assert ('name="keyword"' in page, 'name="owner"' in page) == (True, False)
    assert (
        'href="/search?source=mirror&amp;keyword=no_std"'
        in client.get("/mirror/crates/serde/versions").content.decode()
    )


# --- Filters ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("some")
def test_filters_leave_the_right_crates(anonymous: CargoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    filters = {
        "keyword=serde": ["Json-rpc", "serde"],
        "keyword=NO_STD": ["serde"],
        "keyword=none": [],
        "all_keywords=serde no_std": ["serde"],
        "category=encoding": ["Json-rpc", "serde"],
        "category=development-tools": ["serde"],
        "category=Development-Tools::Testing": ["serde"],
        "category=development": [],
        "letter=s": ["serde", "serde_json"],
        "letter=J": ["Json-rpc"],
        "letter=_": [],
        "letter=s&category=encoding&keyword=serde": ["serde"],
        "q=json&keyword=serde": ["Json-rpc"],
        "ids[]=Serde-JSON&ids[]=none": ["serde_json"],
        "user_id=1": [],
        "team_id=1": [],
    }
    for few in (FEW, 0):  # crates whose keys are read; beyond, the index of the order is followed
        monkeypatch.setattr(listing, "FEW", few)
        for sort, (query, names) in product(SORTS, filters.items()):
            assert (sort, query, names_in(anonymous, f"?sort={sort}&{query}")) == (sort, query, names)
            assert (query, total_of(anonymous, f"?sort={sort}&{query}")) == (query, len(names))


@pytest.mark.usefixtures("some")
def test_keywords_and_categories_count_stored_crates(anonymous: CargoClient) -> None:
    crate = anonymous.get(f"{CRATES}/serde").json()
    assert {word["id"]: word["crates_cnt"] for word in crate["keywords"]} == {"no_std": 1, "serde": 2}
    counts = {category["id"]: category["crates_cnt"] for category in crate["categories"]}
    assert counts == {"encoding": 2, "development-tools::testing": 1}
    store_facts("serde_json", "1.0.0", categories=["development-tools"])
    (category,) = anonymous.get(f"{CRATES}/serde_json").json()["categories"]
    assert category["crates_cnt"] == 1


# --- Descriptions -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_description_follows_the_index_and_the_files(anonymous: CargoClient) -> None:
    def described() -> tuple[str | None, list[str]]:
        detail = anonymous.get(f"{CRATES}/demo").json()
        (crate,) = anonymous.get(CRATES).json()["crates"]
        assert crate["description"] == detail["crate"]["description"]
        keywords = [word["id"] for word in detail["keywords"]]
        assert keywords == [word for word in ("one", "two") if names_in(anonymous, f"?keyword={word}")]
        return crate["description"], keywords

    store("demo", release("demo", "1.0.0"), release("demo", "2.0.0"), release("demo", "3.0.0"))
    assert described() == (None, [])
    first = store_facts("demo", "1.0.0", description="first", keywords=["one"])
    assert described() == ("first", ["one"])
    second = store_facts("demo", "2.0.0", description="second", keywords=["two"])
    assert described() == ("second", ["two"])
    store(
        "demo", release("demo", "1.0.0"), release("demo", "2.0.0", yanked=True), release("demo", "3.0.0", yanked=True)
    )
    assert described() == ("first", ["one"])
    examination.store({first.pk: {"examined": 1, "description": "anew", "keywords": ["one", "two"]}})
    assert described() == ("anew", ["one", "two"])
    first.delete()
    assert anonymous.get(CRATES).json()["crates"][0]["description"] is None
    store("demo", release("demo", "2.0.0"))
    assert described() == ("second", ["two"])
    second.delete()


def test_deleted_file_describes_nothing(mirror: MirrorClient) -> None:
    store("demo", release("demo", "1.0.0"), release("demo", "2.0.0"))
    store_facts("demo", "1.0.0", description="first", keywords=["one"])
    second = store_facts("demo", "2.0.0", description="second", keywords=["two"])
    maintenance.delete_crate(second, actor=None)
    assert [crate["description"] for crate in mirror.get(CRATES).json()["crates"]] == ["first"]
    assert list(Topic.objects.values_list("word", flat=True)) == ["one"]


def test_crate_that_upstream_removed_is_not_listed(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.script_index("demo", file(line("demo", "1.0.0", b"x") + b"\n"))
    mirror.index_file()
    assert names_in(mirror) == ["demo"]
    CachedIndexFile.objects.update(checked_at=index_cache.EPOCH)
    upstream.script_index("demo", refusal(410))
    assert index_cache.refresh_if_stale(index_path("demo")).status == 410
    assert (names_in(mirror), total_of(mirror, "?sort=downloads")) == ([], 0)


# --- Policies -----------------------------------------------------------------------------------------------------

ADVISORY = '```toml\n[advisory]\nid = "RUSTSEC-1"\n[versions]\npatched = ["<1.1"]\n```\n'


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A database of advisories, with one against all versions of `demo` from 1.1 on."""
    path = tmp_path / "crates" / "demo" / "RUSTSEC-1.md"
    path.parent.mkdir(parents=True)
    path.write_text(ADVISORY)
    return str(tmp_path)


@pytest.fixture
def demo(db: None) -> None:
    """A crate with old and young versions, some of which have files, and lines of none."""
    young = (timezone.now() - timedelta(days=7)).isoformat()
    store(
        "demo",
        release("Demo", "1.0.0", pubtime="2026-01-01T00:00:00Z"),
        release("Demo", "1.1.0", pubtime="2026-02-01T00:00:00Z"),
        release("Demo", "2.0.0", pubtime=young),
        release("Demo", "2.1.0-rc.1", pubtime=young),
        b"no line",
        release("Demo", "1", pubtime=young),
    )
    store_facts("demo", "1.1.0", "GPL-3.0", description="of 1.1.0")
    store_facts("demo", "1.0.0", "MIT", description="of 1.0.0")
    store("other", release("other", "1.0.0", pubtime="2026-01-01T00:00:00Z"))


@pytest.mark.usefixtures("demo")
def test_lists_show_what_policies_leave(anonymous: CargoClient, database: str) -> None:
    policies: dict[str, dict[str, Any]] = {
        "none": {},
        "blocked": {},
        "age": {"MIRROR_MIN_AGE_DAYS": 30},
        "deny list": {"MIRROR_DENYLIST": ["de*@=1.0.0", "demo@>=2"]},
        "license": {"MIRROR_LICENSES": ["MIT"]},
        "advisory": {"MIRROR_ADVISORIES": [database]},
        "offline": {"MIRROR_OFFLINE": True},
    }
    shown, differences = {}, []
    for policy, values in policies.items():
        override = block("DEMO", ">=1.1") if policy == "blocked" else None
        with override_settings(**values):
            crates = {crate["name"]: crate for crate in anonymous.get(f"{CRATES}?ids[]=demo").json()["crates"]}
            detail = anonymous.get(f"{CRATES}/demo?include=").json()["crate"]
        differences += [(policy, key) for key in SHOWN if crates["Demo"][key] != detail[key]]
        shown[policy] = tuple(crates["Demo"][key] for key in ("max_version", "default_version", "num_versions"))
        if override:
            overrides.end_override(override, actor=None)
    assert differences == []
    assert shown == {
        "none": ("2.1.0-rc.1", "2.0.0", 4),
        "blocked": ("1.0.0", "1.0.0", 4),
        "age": ("1.1.0", "1.1.0", 4),
        "deny list": ("1.1.0", "1.1.0", 4),
        "license": ("1.0.0", "1.0.0", 4),
        "advisory": ("1.0.0", "1.0.0", 4),
        "offline": ("1.1.0", "1.1.0", 2),
    }


@pytest.mark.django_db
def test_crates_without_usable_versions_are_not_listed(anonymous: CargoClient, settings: Any) -> None:
    young = (timezone.now() - timedelta(days=7)).isoformat()
    times = {"usable": "2026-01-01T00:00:00Z", "undated": "", "young": young, "trusted": young}
    for name in ("usable", "undated", "young", "trusted", "yanked", "evil-twin", "bad_one", "secret", "ours"):
        time = times.get(name, "2026-01-01T00:00:00Z")
        store(name, release(name, "1.0.0", yanked=name == "yanked", **({"pubtime": time} if time else {})))
    Crate.objects.create(name="ours", canonical_name="ours", index_path="ou/rs/ours", upstream=Crate.Upstream.LACKS)
    block("bad-one")
    overrides.create_override(Override.Kind.EXEMPT, "trusted", "*", actor=None, reason="We know it.")
    settings.MIRROR_MIN_AGE_DAYS, settings.MIRROR_DENYLIST, settings.PRIVATE_NAMES = 30, ["evil-*"], ["secret"]
    assert sorted(names_in(anonymous)) == ["trusted", "undated", "usable"]
    assert total_of(anonymous) == 6  # with those that columns do not tell: denied, private, ours
    for sort in SORTS:
        assert (sort, sorted(names_in(anonymous, f"?sort={sort}"))) == (sort, ["trusted", "undated", "usable"])
    searches = {name: names_in(anonymous, f"?q={name}") for name in ("evil", "bad_one", "young", "yanked", "usable")}
    assert searches == {"evil": [], "bad_one": [], "young": [], "yanked": [], "usable": ["usable"]}
    assert total_of(anonymous, "?q=evil") == 0
    named = "&".join(f"ids[]={name}" for name in ("evil-twin", "bad-one", "young", "yanked", "secret", "ours"))
    crates = anonymous.get(f"{CRATES}?{named}").json()["crates"]
    assert {crate["name"]: crate["yanked"] for crate in crates} == dict.fromkeys(
        ("bad_one", "evil-twin", "yanked", "young"), True
    )


# --- Bounds -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_queries_are_constant_in_crates(anonymous: CargoClient, settings: Any, database: str) -> None:
    settings.MIRROR_MIN_AGE_DAYS, settings.MIRROR_LICENSES = 30, ["MIT"]
    settings.MIRROR_DENYLIST, settings.MIRROR_ADVISORIES = ["evil-*"], [database]
    queries = (*(f"?sort={sort}" for sort in SORTS), "?q=demo", "?keyword=one&category=two&letter=d")

    def count() -> list[int]:
        numbers = []
        for query in queries:
            with CaptureQueriesContext(connection) as captured:
                assert names_in(anonymous, query), query
            numbers.append(len(captured))
        return numbers

    def add(name: str) -> None:
        store(name, *(release(name, f"1.{minor}.0", pubtime="2026-01-01T00:00:00Z") for minor in range(3)))
        block(name, "=1.2.0")
        store_facts(name, "1.0.0", "MIT", keywords=["one"], categories=["two"])

    add("demo")
    before = count()
    for number in range(5):
        add(f"demo-{number}")
    assert count() == before
    assert max(before) <= 10
