"""`GET /api/v1/crates`: the best first, only what can be used, and no more than one page."""

from typing import Any

import pytest

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


def found(client: CargoClient, text: str, **parameters: int) -> list[str]:
    query: dict[str, str | int] = {"q": text, **parameters}
    return [crate["name"] for crate in client.get("/api/v1/crates", query).json()["crates"]]


def test_answer_has_cargos_shape(anonymous: CargoClient) -> None:
    assert anonymous.get("/api/v1/crates?q=zip").json() == {
        "crates": [{"name": "zip", "max_version": "1.0.0", "description": "100% _packed_"}],
        "meta": {"total": 1},
    }


def test_exact_name_then_prefix_then_part_then_other_words(anonymous: CargoClient) -> None:
    assert found(anonymous, "json") == ["json", "json-lines", "fast_json", "toml"]


@pytest.mark.parametrize("text", ["json_lines", "JSON-Lines", "json lines"])
def test_dashes_blanks_and_case_are_alike(anonymous: CargoClient, text: str) -> None:
    assert found(anonymous, text)[0] == "json-lines"


@pytest.mark.parametrize("text", ["file-format", "file_format", "config"])
def test_keywords_are_found(anonymous: CargoClient, text: str) -> None:
    assert found(anonymous, text) == ["toml"]


def test_every_word_has_to_be_there(anonymous: CargoClient) -> None:
    assert found(anonymous, "json value") == ["json-lines"]


@pytest.mark.parametrize(("text", "names"), [("%", ["zip"]), ("100% _pack", ["zip"]), ("é", []), ("'\"\\", [])])
def test_signs_of_the_database_are_only_signs(anonymous: CargoClient, text: str, names: list[str]) -> None:
    assert found(anonymous, text) == names


def test_empty_search_lists_all(anonymous: CargoClient) -> None:
    assert len(found(anonymous, "")) == len(CRATES)


def test_pages_follow_each_other(anonymous: CargoClient) -> None:
    pages = [found(anonymous, "json", per_page=2, page=page) for page in (1, 2, 3)]
    assert pages == [["json", "json-lines"], ["fast_json", "toml"], []]


def test_yanked_crate_is_not_found(as_alice: CargoClient) -> None:
    as_alice.delete("/api/v1/crates/zip/1.0.0/yank")
    assert found(as_alice, "zip") == []


def test_highest_usable_version_is_shown(as_alice: CargoClient) -> None:
    for version in ("2.0.0", "1.10.0", "1.9.0"):
        as_alice.publish(packing.body("zip", version))
    as_alice.delete("/api/v1/crates/zip/2.0.0/yank")
    assert as_alice.get("/api/v1/crates?q=zip").json()["crates"][0]["max_version"] == "1.10.0"


@pytest.mark.parametrize("per_page", ["-1", "0", "1e9", "abc", "1.5", "9" * 30])
def test_garbage_is_refused(anonymous: CargoClient, per_page: str) -> None:
    response = anonymous.get("/api/v1/crates", {"q": "json", "per_page": per_page})
    assert response.status_code == 400
    assert "per_page" in response.json()["errors"][0]["detail"]


@pytest.mark.parametrize("text", ["a" * 201, "a " * 20, "a\0b"])
def test_excessive_search_is_refused(anonymous: CargoClient, text: str) -> None:
    assert anonymous.get("/api/v1/crates", {"q": text}).status_code == 400


def test_page_is_never_over_a_hundred(anonymous: CargoClient) -> None:
    assert len(found(anonymous, "json", per_page=1_000_000)) == 4


@pytest.mark.parametrize("count", [1, 5])
def test_number_of_queries_is_constant(anonymous: CargoClient, django_assert_num_queries: Any, count: int) -> None:
    with django_assert_num_queries(2):
        found(anonymous, "", per_page=count)
