"""`GET /api/v1/crates`: usable crates only, the best matches first, in pages of limited length."""

from typing import Any

import pytest

from accounts.models import User
from crates.models import Crate, Version
from tests.support import packing
from tests.support.cast import CargoClient

CRATES = {
    "json": 'description = "reads and writes"',
    "json-lines": 'description = "one value in each line"',
    "fast_json": 'description = "quick"',
    "toml": 'description = "not Json at all"\nkeywords = ["config", "file-format"]',
    "zip": 'description = "100% _packed_"',
}


@pytest.fixture(autouse=True)
def crates(as_alice: CargoClient) -> None:
    for name, extra in CRATES.items():
        assert as_alice.publish(packing.body(name, toml=packing.manifest(name, extra=extra))).status_code == 200


def search(client: CargoClient, text: str, **parameters: int) -> list[str]:
    query: dict[str, str | int] = {"q": text, **parameters}
    return [crate["name"] for crate in client.get("/api/v1/crates", query).json()["crates"]]


def test_answer_has_cargos_shape(anonymous: CargoClient) -> None:
    assert anonymous.get("/api/v1/crates?q=zip").json() == {
        "crates": [{"name": "zip", "max_version": "1.0.0", "description": "100% _packed_"}],
        "meta": {"total": 1},
    }


def test_exact_name_ranks_first_then_prefix_then_part(anonymous: CargoClient) -> None:
    assert search(anonymous, "json") == ["json", "json-lines", "fast_json", "toml"]


def test_dashes_blanks_and_case_do_not_count(anonymous: CargoClient) -> None:
    for text in ("json_lines", "JSON-Lines", "json lines"):
        assert search(anonymous, text)[0] == "json-lines"


def test_keywords_are_searched(anonymous: CargoClient) -> None:
    for text in ("file-format", "file_format", "config"):
        assert search(anonymous, text) == ["toml"]


def test_every_word_has_to_match(anonymous: CargoClient) -> None:
    assert search(anonymous, "json value") == ["json-lines"]
    assert search(anonymous, "value json nothing") == []


def test_wildcards_of_the_database_match_themselves(anonymous: CargoClient) -> None:
    names = {"%": ["zip"], "100% _pack": ["zip"], "é": [], "'\"\\": []}
    assert {text: search(anonymous, text) for text in names} == names


def test_empty_search_lists_all_crates(anonymous: CargoClient) -> None:
    assert sorted(search(anonymous, "")) == sorted(CRATES)


def test_pages_follow_each_other(anonymous: CargoClient) -> None:
    pages = [search(anonymous, "json", per_page=2, page=page) for page in (1, 2, 3)]
    assert pages == [["json", "json-lines"], ["fast_json", "toml"], []]


def test_page_has_at_most_a_hundred_crates(anonymous: CargoClient, alice: User) -> None:
    names = [f"bulk{number}" for number in range(101)]
    rows = Crate.objects.bulk_create(Crate(name=name, canonical_name=name, index_path=name) for name in names)
    fields = {"number": "1.0.0", "release": "1.0.0", "size": 1, "checksum": "0" * 64, "published_by": alice}
    for crate in rows:
        crate.max_version = Version.objects.create(crate=crate, **fields)
    Crate.objects.bulk_update(rows, ["max_version"])
    lengths = {per_page: len(search(anonymous, "", per_page=per_page)) for per_page in (1, 99, 100, 101, 1_000_000)}
    assert lengths == {1: 1, 99: 99, 100: 100, 101: 100, 1_000_000: 100}
    assert len(search(anonymous, "")) == 10
    assert len(search(anonymous, "", per_page=1_000_000, page=2)) == len(CRATES) + 1
    assert anonymous.get("/api/v1/crates").json()["meta"] == {"total": len(CRATES) + 101}


def test_yanked_crate_is_left_out(as_alice: CargoClient) -> None:
    as_alice.delete("/api/v1/crates/zip/1.0.0/yank")
    assert search(as_alice, "zip") == []


def test_highest_usable_version_is_shown(as_alice: CargoClient) -> None:
    for version in ("2.0.0", "1.10.0", "1.9.0"):
        as_alice.publish(packing.body("zip", version))
    as_alice.delete("/api/v1/crates/zip/2.0.0/yank")
    assert as_alice.get("/api/v1/crates?q=zip").json()["crates"][0]["max_version"] == "1.10.0"


def test_bad_numbers_are_refused(anonymous: CargoClient) -> None:
    for key in ("per_page", "page"):
        for number in ("-1", "0", "1e9", "abc", "1.5", "9" * 30):
            response = anonymous.get("/api/v1/crates", {"q": "json", key: number})
            assert response.status_code == 400
            assert key in response.json()["errors"][0]["detail"]


def test_length_of_a_search_is_limited(anonymous: CargoClient) -> None:
    statuses = {
        text: anonymous.get("/api/v1/crates", {"q": text}).status_code
        for text in ("a" * 200, "a" * 201, "a " * 10, "a " * 11, "a\0b")
    }
    assert list(statuses.values()) == [200, 400, 200, 400, 400]


@pytest.mark.parametrize("count", [1, 5])
def test_number_of_queries_is_constant(anonymous: CargoClient, django_assert_num_queries: Any, count: int) -> None:
    with django_assert_num_queries(2):
        search(anonymous, "", per_page=count)
