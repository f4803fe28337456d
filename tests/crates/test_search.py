"""`GET /api/v1/crates`: usable crates only, the best matches first, in pages of limited length."""

import time
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from crates import search as crate_search
from crates.models import Crate, CrateDownloads, CrateWords, PopularWords, Version, VersionContents
from registry_site import counters
from tests.support import packing
from tests.support.cast import CargoClient
from tests.support.crate_rows import Listing, create_crates
from tests.support.rows_read import rows_read

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
    answer = anonymous.get("/api/v1/crates?q=zip").json()
    (crate,) = answer["crates"]
    expected = {"name": "zip", "max_version": "1.0.0", "description": "100% _packed_", "exact_match": True}
    assert {key: crate[key] for key in expected} == expected
    assert answer["meta"] == {"total": 1, "next_page": None, "prev_page": None}


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


def test_wildcards_of_the_database_are_no_words(anonymous: CargoClient) -> None:
    names = {"%": [], "_": [], "100% _pack": ["zip"], "é": [], "'\"\\": []}
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
    counters.recount_all()
    lengths = {per_page: len(search(anonymous, "", per_page=per_page)) for per_page in (1, 99, 100, 101, 1_000_000)}
    assert lengths == {1: 1, 99: 99, 100: 100, 101: 100, 1_000_000: 100}
    assert len(search(anonymous, "")) == 10
    assert len(search(anonymous, "", per_page=1_000_000, page=2)) == len(CRATES) + 1
    assert anonymous.get("/api/v1/crates").json()["meta"]["total"] == len(CRATES) + 101


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


# --- The order -------------------------------------------------------------------------------------------------------


def test_best_match_comes_first(anonymous: CargoClient, alice: User) -> None:
    listings = [
        Listing("aaa", readme="A client of smtp."),
        Listing("aab", "speaks smtp"),
        Listing("aac", keywords=("smtp",)),
        Listing("fast-smtp"),
        Listing("smtpd"),
        Listing("smtp-client"),
        Listing("Smtp"),
    ]
    create_crates(listings, alice)
    for text in ("smtp", "SMTP", " smtp "):
        assert search(anonymous, text) == ["Smtp", "smtp-client", "smtpd", "fast-smtp", "aab", "aac", "aaa"]


def test_most_downloaded_comes_first_among_equals(anonymous: CargoClient, alice: User) -> None:
    listings = [Listing("smtp"), Listing("smtp-a", downloads=1), Listing("smtp-b", downloads=9), Listing("smtp-c")]
    create_crates([*listings, Listing("aaa", "smtp", downloads=5), Listing("aab", "smtp", downloads=7)], alice)
    assert search(anonymous, "smtp") == ["smtp", "smtp-b", "smtp-a", "smtp-c", "aab", "aaa"]


def test_exact_name_comes_before_many_matches(anonymous: CargoClient, alice: User) -> None:
    create_crates([*(Listing(f"smtp-{number}") for number in range(200)), Listing("smtp")], alice)
    assert search(anonymous, "smtp")[0] == "smtp"
    assert len(search(anonymous, "smtp", per_page=100, page=2)) == crate_search.MAX_MATCHES + 1 - 100


def test_beginnings_count_but_not_in_readmes(anonymous: CargoClient, alice: User) -> None:
    create_crates([Listing("smtp-client", "Sends mail", readme="With [STARTTLS](https://example.com/secret).")], alice)
    hits = {text: len(search(anonymous, text)) for text in ("smtp starttls", "mai cli", "mail startt", "secret", "m")}
    assert hits == {"smtp starttls": 1, "mai cli": 1, "mail startt": 0, "secret": 0, "m": 0}


def test_any_language_is_searched(anonymous: CargoClient, alice: User) -> None:
    readme = "高性能连接池，支持 MySQL; straße, naïve, Привет, 日本語の形態素解析"  # noqa: RUF001
    create_crates([Listing("pool", readme=readme)], alice)
    texts = ("连接池", "高性能连", "mysql", "STRASSE", "naïve", "привет", "ПРИВЕТ", "形態素")
    assert [text for text in texts if search(anonymous, text) != ["pool"]] == []
    assert search(anonymous, "池支") == []


def test_query_operators_are_plain_text(anonymous: CargoClient) -> None:
    finds = ('"zip"', "zip*", "zip:*", "(zip", "^zip", "-zip", "!zip", "zip & packed", "zip <-> packed", "zip 🙂")
    assert [text for text in finds if search(anonymous, text) != ["zip"]] == []
    others = (
        "zip OR nothing",
        "NOT nothing",
        "name_words:zip",
        "z%q%w",
        "()",
        "\\",
        "''",
        "²½Ⅳ",
        "\U00030000",
        "a" * 200,
    )
    assert [text for text in others if search(anonymous, text) != []] == []


# --- Spelling --------------------------------------------------------------------------------------------------------


def test_misspelt_name_is_found(anonymous: CargoClient) -> None:
    cases = {
        "jsn": ["json"],
        "jsonlnies": ["json-lines"],
        "json-lnse": ["json-lines"],
        "fsat jsno": ["fast_json"],
        "tmol": ["toml"],
        "xyzzy": [],
        "to": ["toml"],  # not misspelt, but the beginning of it
    }
    assert {text: search(anonymous, text) for text in cases} == cases


def test_spelling_counts_when_nothing_else_matches(anonymous: CargoClient, alice: User) -> None:
    create_crates([Listing("serde"), Listing("sered", "another"), Listing("aaa", readme="serdes")], alice)
    assert search(anonymous, "serdes") == ["aaa"]
    assert search(anonymous, "srede") == ["serde", "sered"]


def test_yanked_crate_is_not_found_by_spelling(as_alice: CargoClient) -> None:
    as_alice.delete("/api/v1/crates/toml/1.0.0/yank")
    assert search(as_alice, "tmol") == []


# --- The stored words ------------------------------------------------------------------------------------------------


def test_words_are_those_of_default_version(as_alice: CargoClient) -> None:
    for version, word in (("2.0.0", "giraffe"), ("1.5.0", "zebra"), ("3.0.0-a", "lion")):
        toml = packing.manifest("zip", version, f'description = "{word}"')
        as_alice.publish(packing.body("zip", version, toml))
    assert {word: len(search(as_alice, word)) for word in ("giraffe", "zebra", "lion", "packed")} == {
        "giraffe": 1,
        "zebra": 0,
        "lion": 0,
        "packed": 0,
    }
    as_alice.delete("/api/v1/crates/zip/2.0.0/yank")
    assert [len(search(as_alice, word)) for word in ("giraffe", "zebra")] == [0, 1]


def test_words_are_written_when_they_change(as_alice: CargoClient) -> None:
    with CaptureQueriesContext(connection) as queries:
        as_alice.publish(packing.body("zip", "0.9.0"))
        as_alice.delete("/api/v1/crates/zip/0.9.0/yank")
    assert [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    written = [query["sql"] for query in queries if "cratewords" in query["sql"] and "SELECT" not in query["sql"]]
    assert written == []


def test_words_leave_and_return_with_versions(as_alice: CargoClient) -> None:
    as_alice.delete("/api/v1/crates/zip/1.0.0/yank")
    assert not CrateWords.objects.filter(crate__name="zip").exists()
    as_alice.put("/api/v1/crates/zip/1.0.0/unyank")
    assert search(as_alice, "packed") == ["zip"]


def test_readme_that_is_read_later_is_indexed(anonymous: CargoClient) -> None:
    crate = Crate.objects.get(name="zip")
    VersionContents.objects.update_or_create(version=crate.default_version, defaults={"readme_text": "Zebras!"})
    crate_search.update_words(crate)
    assert search(anonymous, "zebras") == []
    crate_search.update_words(crate, crate_search.stored_words_of(crate))
    assert search(anonymous, "zebras") == ["zip"]


def test_words_of_a_crate_are_limited(alice: User) -> None:
    readme = " ".join(f"w{number}" for number in range(5000))
    create_crates([Listing("large", readme=readme)], alice)
    words = CrateWords.objects.get(crate__name="large").text_words.split(" ")
    assert (len(words), words[0]) == (crate_search.MAX_TEXT_WORDS, "large")


def test_no_readme_is_slow_to_index() -> None:
    size, version = crate_search.MAX_README, Version(description="", keywords=[], categories=[])
    texts = {
        "one word": "x" * size,
        "words joined by low lines": "a_" * (size // 2),
        "addresses": "a://" * (size // 4),
        "marks out of order on one letter": "a" + "\u0301" * (size // 2) + "\u0323" * (size // 2),
        "letters that stand for many": "\ufdfa" * size,
        "one run of Chinese": "\u4e00" * size,
    }
    slow = {}
    for name, text in texts.items():
        began = time.thread_time()
        crate_search.words_of("demo", version, text)
        if (seconds := time.thread_time() - began) > 2:
            slow[name] = seconds
    assert slow == {}


def test_addresses_in_readmes_are_no_words() -> None:
    readme = "see https://giraffe.example/zebra, ab.https://lion.example end"
    words = crate_search.words_of("demo", Version(description="", keywords=[], categories=[]), readme)
    assert words["text_words"] == "demo see ab end"


def test_migration_stores_words_of_older_crates() -> None:
    columns = ("crate_id", "version_id", "name_words", "summary_words", "text_words", "spelling")
    rows = list(CrateWords.objects.order_by("crate").values_list(*columns))
    CrateWords.objects.all().delete()
    PopularWords.objects.all().delete()
    import_module("crates.migrations.0009_fill_words").fill(apps, None)
    import_module("crates.migrations.0012_fill_popular_words").fill(apps, None)
    assert list(CrateWords.objects.order_by("crate").values_list(*columns)) == rows
    assert PopularWords.objects.count() == len(rows)


def test_popular_crates_are_those_with_most_downloads(
    as_alice: CargoClient, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crate_search, "POPULAR_CRATES", 2)
    create_crates([Listing("smtp", "first", downloads=9), Listing("imap", downloads=8), Listing("pop3")], alice)
    popular = PopularWords.objects.order_by("crate__name").values_list("crate__name", flat=True)
    assert crate_search.update_popular_words() == "Search prefers the 2 most downloaded crates; 2 are new among them."
    assert list(popular.all()) == ["imap", "smtp"]
    CrateDownloads.objects.filter(crate__name="pop3").update(total=10)
    assert crate_search.update_popular_words() == "Search prefers the 2 most downloaded crates; 1 are new among them."
    assert list(popular.all()) == ["pop3", "smtp"]
    crate = Crate.objects.get(name="smtp")
    Version.objects.filter(crate=crate).update(description="second")
    crate_search.update_words(crate, crate_search.stored_words_of(crate))
    assert [len(search(as_alice, word)) for word in ("first", "second")] == [0, 1]
    Crate.objects.filter(name="smtp").update(max_version=None)
    crate_search.update_words(Crate.objects.get(name="smtp"))
    assert list(popular.all()) == ["pop3"]
    assert search(as_alice, "second") == []


def test_popular_crates_are_not_missed_among_many(
    anonymous: CargoClient, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crate_search, "POPULAR_CRATES", 3)
    many = [Listing(f"smtp-{number}", "mail", readme="server") for number in range(150)]
    create_crates([*many, Listing("smtp-last", "mail", readme="server", downloads=5)], alice)
    crate_search.update_popular_words()
    assert [search(anonymous, text)[0] for text in ("smtp", "mail", "server")] == ["smtp-last"] * 3


@pytest.mark.only_sqlite
def test_index_follows_every_change_of_rows(anonymous: CargoClient) -> None:
    CrateWords.objects.filter(crate__name="zip").update(text_words="giraffe", name_words="giraffe")
    PopularWords.objects.all().delete()
    CrateWords.objects.filter(crate__name="toml").delete()
    assert [len(search(anonymous, text)) for text in ("giraffe", "config")] == [1, 0]
    with connection.cursor() as cursor:  # fails if the index and the table differ
        for column in ("name_words", "summary_words", "text_words", "spelling"):
            index = f"crates_cratewords_{column}_words"
            cursor.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")


# --- Costs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5])
def test_number_of_queries_is_constant(anonymous: CargoClient, django_assert_num_queries: Any, count: int) -> None:
    for text, queries in {"": 3, "json": 6, "jsno": 7, "nothing": 5}.items():
        with django_assert_num_queries(queries):
            search(anonymous, text, per_page=count)


@pytest.mark.only_sqlite  # PostgreSQL reads so small a table whole; `benchmarks.search` counts its rows in a large one
def test_search_reads_few_rows(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crate_search, "POPULAR_CRATES", 300)
    topics = ("smtp", "imap", "dns", "cache")
    listings = [
        Listing(f"{topics[number % 4]}-client-{number}", f"A client for {topics[number % 3]}", readme=f"serv{number}")
        for number in range(600)
    ]
    create_crates(listings, alice)
    crate_search.update_popular_words()
    tables = ("crates_crate", "crates_cratewords", "crates_popularwords")
    texts = ("client", "c", "smtp client", "client serv", "clinet", "smtp-clinet-77", "smpt-client-0", "nothing at all")
    counts = {text: sum(rows_read(f"/api/v1/crates?q={text}", table)[0] for table in tables) for text in texts}
    assert {text: count for text, count in counts.items() if count >= 600} == {}
