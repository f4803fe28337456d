"""`GET /`: lists of files by every filter, their order, their pages, and the rows that the database reads."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from files import catalogue, search
from files.actors import Actor
from files.models import ChangeSequence, File
from tests.support.file_clients import FileClient
from tests.support.rows_read import rows_read

FIRST = datetime(2024, 5, 1, 12, tzinfo=UTC)
COMMAND = Actor("test")


def at(seconds: float) -> datetime:
    return FIRST + timedelta(seconds=seconds)


def stamp(seconds: float) -> float:
    return at(seconds).timestamp()


def new_file(serve_path: str, **columns: Any) -> File:
    """Return a row that is not stored yet."""
    defaults = {"path": f"/srv/{serve_path}", "size": 5, "uploaded_at": FIRST, "modified_at": FIRST}
    return File(serve_path=serve_path, **{**defaults, **columns})


def store(files: Iterable[File]) -> list[File]:
    return File.objects.bulk_create(files)


def store_numbered(count: int) -> list[File]:
    """Store files whose times of upload and of change grow with their number."""
    return store(
        new_file(f"many/{number:05}.txt", category="many", uploaded_at=at(number), modified_at=at(number))
        for number in range(count)
    )


def get_list(machine: FileClient, **parameters: Any) -> Any:
    """Return the body of a successful list."""
    response = machine.send("GET", "/", parameters)
    assert response.status_code == 200
    body = json.loads(response.getvalue())
    assert body["success"] is True
    assert body["count"] == len(body["results"])
    return body


def serve_paths(machine: FileClient, **parameters: Any) -> list[str]:
    return [entry["serve_path"] for entry in get_list(machine, **parameters)["results"]]


def get_refusal(machine: FileClient, **parameters: Any) -> tuple[int, Any]:
    response = machine.send("GET", "/", parameters)
    return response.status_code, response.json()


def failure(message: str) -> dict[str, Any]:
    return {"success": False, "error": message, "message": message}


# --- Filters -----------------------------------------------------------------------------------------------------

NEWS, PAPER, DEAD, MAP, PLAIN = "news/1.html", "news/2.pdf", "news/old.html", "maps/été.png", "readme"


@pytest.fixture
def files(db: None) -> list[File]:
    """Five files whose changes have another order than their uploads."""
    return store(
        [
            new_file(NEWS, category="news", aired=True, uploaded_at=at(0), modified_at=at(50)),
            new_file(PAPER, category="news", uploaded_at=at(10), modified_at=at(40)),
            new_file(DEAD, category="news", aired=True, alive=False, uploaded_at=at(20), modified_at=at(30)),
            new_file(MAP, category="maps", uploaded_at=at(30), modified_at=at(30.5), expires_at=at(1000)),
            new_file(PLAIN, path=f"/srv/{NEWS}", uploaded_at=at(40.25), modified_at=at(60)),
        ]
    )


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, [NEWS, PAPER, DEAD, MAP, PLAIN]),
    ({"path": f"/srv/{NEWS}"}, [NEWS, PLAIN]),
    ({"path": "/srv/news"}, []),
    ({"path": "/srv/NEWS/1.html"}, []),
    ({"category": "news"}, [NEWS, PAPER, DEAD]),
    ({"category": "new"}, []),
    ({"category": "News"}, []),
    ({"aired": "true"}, [NEWS, DEAD]),
    ({"aired": "no"}, [PAPER, MAP, PLAIN]),
    ({"alive": "true"}, [NEWS, PAPER, MAP, PLAIN]),
    ({"alive": "false"}, [DEAD]),
    ({"uploaded": stamp(20)}, [DEAD, MAP, PLAIN]),
    ({"uploaded": stamp(40.25)}, [PLAIN]),
    ({"uploaded": stamp(41)}, []),
    ({"since": stamp(40)}, [PAPER, NEWS, PLAIN]),
    ({"since": stamp(30.5)}, [MAP, PAPER, NEWS, PLAIN]),
    ({"since": 0}, [DEAD, MAP, PAPER, NEWS, PLAIN]),
    ({"since": stamp(61)}, []),
    ({"serve_path": "news"}, [NEWS, PAPER, DEAD]),
    ({"serve_path": r"\.html$"}, [NEWS, DEAD]),
    ({"serve_path": "^news/"}, [NEWS, PAPER, DEAD]),
    ({"serve_path": "^news/1"}, [NEWS]),
    ({"serve_path": "^1"}, []),
    ({"serve_path": "NEWS"}, []),
    ({"serve_path": "(?i)NEWS"}, [NEWS, PAPER, DEAD]),
    ({"serve_path": "^news|read"}, [NEWS, PAPER, DEAD, PLAIN]),
    ({"serve_path": "^maps/é"}, [MAP]),
    ({"serve_path": "t.\\.png"}, [MAP]),
    ({"serve_path": "^[^/]*$"}, [PLAIN]),
    ({"count": 2}, [NEWS, PAPER]),
    ({"count": 2, "since": 0}, [DEAD, MAP]),
    ({"count": 1, "uploaded": stamp(5)}, [PAPER]),
    ({"count": 2, "serve_path": "news"}, [NEWS, PAPER]),
    ({"category": "news", "since": stamp(35)}, [PAPER, NEWS]),
    ({"category": "news", "alive": "yes"}, [NEWS, PAPER]),
    ({"category": "news", "alive": "yes", "aired": "yes"}, [NEWS]),
    ({"category": "news", "serve_path": "html"}, [NEWS, DEAD]),
    ({"serve_path": "^news/", "since": 0}, [DEAD, PAPER, NEWS]),
    ({"serve_path": "html$", "since": 0, "count": 1}, [DEAD]),
    ({"serve_path": "^news/", "since": stamp(50)}, [NEWS]),
    ({"serve_path": "^news/", "uploaded": stamp(10)}, [PAPER, DEAD]),
    ({"uploaded": stamp(10), "since": stamp(35)}, [PAPER, PLAIN]),
    ({"path": f"/srv/{NEWS}", "category": "news"}, [NEWS]),
    (
        {
            "path": f"/srv/{NEWS}",
            "category": "news",
            "aired": 1,
            "alive": 1,
            "uploaded": stamp(0),
            "since": stamp(0),
            "serve_path": "^news/",
            "count": 10,
        },
        [NEWS],
    ),
]


@pytest.mark.usefixtures("files")
def test_list_matches_all_filters(as_box: FileClient) -> None:
    wrong = [parameters for parameters, expected in FILTERS if serve_paths(as_box, **parameters) != expected]
    assert wrong == []


def test_id_filters_with_the_others(as_box: FileClient, files: list[File]) -> None:
    assert serve_paths(as_box, id=files[1].pk) == [PAPER]
    assert serve_paths(as_box, id=files[1].pk, category="maps", since=0, serve_path="^news") == []


@pytest.mark.usefixtures("files")
def test_malformed_id_matches_nothing(as_box: FileClient) -> None:
    ids = ("abc", "0", "-1", "1.5", "1e3", "10" * 15, "9" * 18, "0x1", "1 2", "²", "%00")
    empty = {"success": True, "results": [], "count": 0}
    assert [file_id for file_id in ids if get_list(as_box, id=file_id) != empty] == []


def test_entry_has_the_documented_keys(as_box: FileClient, files: list[File]) -> None:
    assert get_list(as_box, category="maps") == {
        "success": True,
        "results": [
            {
                "id": files[3].pk,
                "path": f"/srv/{MAP}",
                "size": 5,
                "uploaded": stamp(30),
                "modified": stamp(30.5),
                "category": "maps",
                "expiration": stamp(1000),
                "serve_path": MAP,
                "alive": True,
                "aired": False,
            }
        ],
        "count": 1,
    }


@pytest.mark.usefixtures("files")
def test_unset_fields_are_null(as_box: FileClient) -> None:
    for parameters in ({"serve_path": "^readme$"}, {"since": stamp(60)}, {"uploaded": stamp(40)}):
        (entry,) = get_list(as_box, **parameters)["results"]
        assert (entry["category"], entry["expiration"]) == (None, None)


@pytest.mark.usefixtures("files")
def test_streamed_list_equals_a_list_at_once(as_box: FileClient) -> None:
    for parameters in ({"since": 0}, {"serve_path": "."}, {"since": 0, "serve_path": "news"}, {"since": stamp(100)}):
        assert get_list(as_box, **parameters) == get_list(as_box, **parameters, count=1000)


@pytest.mark.usefixtures("files")
def test_content_type_is_json(as_box: FileClient) -> None:
    for parameters in ({}, {"since": 0}, {"serve_path": "news", "count": 5}):
        assert as_box.send("GET", "/", parameters)["Content-Type"] == "application/json"


@pytest.mark.usefixtures("files")
def test_empty_value_filters_nothing(as_box: FileClient) -> None:
    names = ("id", "serve_path", "path", "uploaded", "since", "category", "aired", "alive", "count")
    assert serve_paths(as_box, **dict.fromkeys(names, "")) == [NEWS, PAPER, DEAD, MAP, PLAIN]


@pytest.mark.usefixtures("files")
def test_unknown_parameter_is_ignored(as_box: FileClient) -> None:
    assert (
        len(serve_paths(as_box, size=7, ids="1,2", order_by="size", modified_at__lt="2020", ID="1", alive__in="")) == 5
    )


@pytest.mark.usefixtures("files")
def test_flags_are_read_from_many_words(as_box: FileClient) -> None:
    for value in ("true", "True", "TRUE", "yes", "Yes", "1", "on"):
        assert serve_paths(as_box, aired=value) == [NEWS, DEAD], value
    for value in ("false", "False", "FALSE", "no", "No", "0", "off"):
        assert serve_paths(as_box, alive=value) == [DEAD], value


@pytest.mark.usefixtures("files")
def test_last_of_several_values_counts(as_box: FileClient) -> None:
    response = as_box.get(f"/?session_token={as_box.token}&category=maps&category=news&alive=no")
    assert [entry["serve_path"] for entry in response.json()["results"]] == [DEAD]


@pytest.mark.usefixtures("files")
def test_filters_in_a_body_win(as_box: FileClient) -> None:
    body = f"category=maps&session_token={as_box.token}"
    response = as_box.generic("GET", "/?category=news", body, content_type="")
    assert [entry["serve_path"] for entry in response.json()["results"]] == [MAP]


@pytest.mark.usefixtures("files")
def test_reader_sees_the_list(as_reader: FileClient) -> None:
    assert len(serve_paths(as_reader)) == 5


# --- Refusals ----------------------------------------------------------------------------------------------------


MALFORMED: list[tuple[dict[str, Any], str]] = [
    *(({"count": value}, "count: A valid integer is required.") for value in ("abc", "1e12", "1.5", "0x10", "½")),
    *(({"count": value}, "count: Ensure this value is greater than or equal to 1.") for value in ("0", "-1")),
    *(
        ({name: value}, f"{name}: Not a Unix timestamp, in seconds.")
        for name in ("since", "uploaded")
        for value in ("nan", "inf", "-inf", "abc", "2024-05-01", "0x10")
    ),
    *(({name: value}, f"{name}: Must be a valid boolean.") for name in ("aired", "alive") for value in ("2", "maybe")),
    ({"path": "x" * 4097}, "path: Ensure this field has no more than 4096 characters."),
]


def test_malformed_filter_is_refused(as_box: FileClient) -> None:
    refusals = [(parameters, *get_refusal(as_box, **parameters)) for parameters, _ in MALFORMED]
    assert refusals == [(parameters, 400, failure(message)) for parameters, message in MALFORMED]


def test_bytes_of_no_text_are_refused(as_box: FileClient) -> None:
    names = ("id", "serve_path", "path", "uploaded", "since", "category", "aired", "alive", "count")
    responses = {name: as_box.get(f"/?session_token={as_box.token}&{name}=%ff") for name in names}
    statuses = {name: (response.status_code, response.json()["success"]) for name, response in responses.items()}
    assert statuses == {**dict.fromkeys(names, (400, False)), "id": (200, True)}


def test_null_character_is_refused(as_box: FileClient) -> None:
    names = ("id", "serve_path", "path", "since", "category", "aired", "count", "unknown")
    refusals = {name: get_refusal(as_box, **{name: "a\0"}) for name in names}
    assert refusals == dict.fromkeys(names, (400, failure("The request cannot be understood.")))


def test_malformed_expression_is_refused(as_box: FileClient) -> None:
    for expression in ("(", "[a", "*", "a{2,1}", r"(a)\1", "(?=a)", "(a{1000}){1000}", "(?P<a"):
        message = f"Invalid regular expression for serve_path: {expression}"
        assert get_refusal(as_box, serve_path=expression) == (200, failure(message))


def test_long_expression_is_refused(as_box: FileClient) -> None:
    message = "The regular expression for serve_path is longer than 512 characters."
    assert get_refusal(as_box, serve_path="a" * 600) == (200, failure(message))


@pytest.mark.usefixtures("files")
def test_hostile_expression_is_answered(as_box: FileClient) -> None:
    store([new_file("a" * 1999 + "c")])
    for expression in ("(a+)+$", "(a|a)*b", "((a*)*)*b", "^(a?){500}", "^(.{0,30}){0,30}b"):
        assert get_refusal(as_box, serve_path=expression, category="news", count=10)[0] == 200


@pytest.mark.usefixtures("files")
def test_search_stops_when_its_time_is_up(as_box: FileClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_SECONDS", 0)
    for expression in ("news", "^news/"):
        for parameters in ({}, {"count": 5}, {"since": 0}):
            assert get_refusal(as_box, serve_path=expression, **parameters) == (200, failure(search.TOO_SLOW))


@pytest.mark.usefixtures("files")
def test_extreme_times_are_clamped(as_box: FileClient) -> None:
    for value in ("1e20", "9" * 100, "253402300800"):
        assert serve_paths(as_box, since=value) == serve_paths(as_box, uploaded=value) == []
    for value in ("-1e20", "-1", "-0.5", "1e-300"):
        assert len(serve_paths(as_box, since=value)) == len(serve_paths(as_box, uploaded=value)) == 5


@pytest.mark.django_db
def test_list_needs_a_session(client: Any) -> None:
    for path in ("/", "/?session_token=00000000000000000000000000000000", "/?session_token="):
        response = client.get(path)
        assert (response.status_code, response.json()) == (401, failure("No session found"))


# --- How many ----------------------------------------------------------------------------------------------------


def test_list_has_a_hundred_entries_by_default(as_box: FileClient) -> None:
    files = store_numbered(101)
    assert serve_paths(as_box) == serve_paths(as_box, category="many") == [file.serve_path for file in files[:100]]


def test_narrowed_list_is_complete(as_box: FileClient) -> None:
    files = store_numbered(1200)
    for parameters in ({"since": 0}, {"serve_path": "many"}, {"serve_path": "^many/", "since": 0}):
        assert serve_paths(as_box, **parameters) == [file.serve_path for file in files]


@pytest.mark.parametrize("parameters", [{}, {"since": 0}, {"serve_path": "many"}, {"uploaded": 0}], ids=str)
def test_count_limits_up_to_a_thousand(as_box: FileClient, parameters: dict[str, Any]) -> None:
    files = store_numbered(1100)
    for count, limit in ((501, 501), (1000, 1000), (1001, 1000), (10**30, 1000)):
        assert serve_paths(as_box, count=count, **parameters) == [file.serve_path for file in files[:limit]]


def test_counts_are_settings(as_box: FileClient, settings: Any) -> None:
    settings.FILE_LIST_COUNT, settings.MAX_FILE_LIST_COUNT = 2, 3
    store_numbered(5)
    assert [len(serve_paths(as_box, **parameters)) for parameters in ({}, {"count": 5}, {"since": 0})] == [2, 3, 5]


# --- Pages -------------------------------------------------------------------------------------------------------


def queries(machine: FileClient, **parameters: Any) -> list[str]:
    """Return the queries about files of one list."""
    with CaptureQueriesContext(connection) as captured:
        get_list(machine, **parameters)
    return [query["sql"] for query in captured if "files_file" in query["sql"]]


PAGES: list[tuple[dict[str, Any], int]] = [
    ({}, 1),
    ({"category": "many"}, 1),
    ({"count": 500}, 1),
    ({"count": 501}, 2),
    ({"count": 1000}, 2),
    ({"since": 0}, 3),
    ({"since": stamp(1000)}, 1),
    ({"since": stamp(700)}, 2),
    ({"since": stamp(2000)}, 1),
]


def test_each_page_takes_one_query(as_box: FileClient) -> None:
    store_numbered(1200)
    assert [(parameters, len(queries(as_box, **parameters))) for parameters, _ in PAGES] == PAGES


def test_expression_takes_few_queries(as_box: FileClient) -> None:
    store_numbered(1200)
    assert len(queries(as_box, serve_path="^many/0")) == 1 + 3  # the range, and each page of files
    assert len(queries(as_box, serve_path="txt")) == 3 + 3  # each page of names, and each page of files


def test_large_range_of_names_is_complete(as_box: FileClient, monkeypatch: pytest.MonkeyPatch) -> None:
    files = store_numbered(30)
    for limit in (10, 29, 30):
        monkeypatch.setattr(search, "MAX_RANGE_ROWS", limit)
        assert serve_paths(as_box, serve_path="^many/") == [file.serve_path for file in files]


def test_list_and_session_take_two_queries(as_box: FileClient, django_assert_num_queries: Any) -> None:
    store_numbered(200)
    with django_assert_num_queries(2):
        serve_paths(as_box)


def test_files_with_one_time_are_all_listed(as_box: FileClient) -> None:
    files = store(new_file(f"{number}") for number in range(1200))
    assert serve_paths(as_box, since=0) == [file.serve_path for file in files]


def test_change_during_a_stream_is_not_lost(as_box: FileClient) -> None:
    files = store_numbered(1200)
    ChangeSequence.objects.create(pk=1, changed_at=at(2000))
    response = as_box.send("GET", "/", {"since": 0})
    pieces = iter(response.streaming_content)
    first = next(pieces)
    for file in (files[0], files[700], files[1199]):
        catalogue.update_file(COMMAND, file.pk, aired=True)
    entries = json.loads(first + b"".join(pieces))["results"]
    assert {entry["id"] for entry in entries} == {file.pk for file in files}
    assert [entry["id"] for entry in entries if entry["aired"]] == [files[0].pk, files[700].pk, files[1199].pk]


def test_death_during_a_stream_is_in_it(as_box: FileClient) -> None:
    files = store_numbered(1200)
    pieces = iter(as_box.send("GET", "/", {"since": 0}).streaming_content)
    first = next(pieces)
    catalogue.mark_dead(COMMAND, files[1100].pk)
    entries = json.loads(first + b"".join(pieces))["results"]
    assert [entry["id"] for entry in entries if not entry["alive"]] == [files[1100].pk]
    assert len(entries) == 1200


@pytest.mark.parametrize("parameters", [{"serve_path": "many"}, {"serve_path": "^many/", "since": 0}], ids=str)
def test_file_deleted_during_a_stream_is_left_out(as_box: FileClient, parameters: dict[str, Any]) -> None:
    files = store_numbered(1200)
    pieces = iter(as_box.send("GET", "/", parameters).streaming_content)
    first = next(pieces)
    files[1100].delete()
    body = json.loads(first + b"".join(pieces))
    assert [body["count"], len(body["results"])] == [1199, 1199]


# --- Time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("microseconds", [0, 1, 123456, 333333, 999999])
def test_time_of_a_change_lists_it_again(as_box: FileClient, microseconds: int) -> None:
    store([new_file("before", modified_at=FIRST + timedelta(microseconds=microseconds - 1))])
    store([new_file("then", modified_at=FIRST + timedelta(microseconds=microseconds))])
    *_, last = get_list(as_box, since=0)["results"]
    assert serve_paths(as_box, since=repr(last["modified"])) == ["then"]


def test_times_of_changes_grow(as_box: FileClient) -> None:
    for number in range(20):
        (file,) = store([new_file(f"{number}")])
        catalogue.update_file(COMMAND, file.pk, aired=True)
    times = [entry["modified"] for entry in get_list(as_box, since=0)["results"]]
    assert times == sorted(set(times))


def test_clock_set_back_hides_no_change(as_box: FileClient) -> None:
    (seen, changed) = store([new_file("seen", modified_at=at(10**8)), new_file("changed")])
    ChangeSequence.objects.create(pk=1, changed_at=seen.modified_at)
    catalogue.update_file(COMMAND, changed.pk, aired=True)
    assert serve_paths(as_box, since=repr(seen.modified_at.timestamp())) == ["seen", "changed"]


# --- People and machines -----------------------------------------------------------------------------------------

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.django_db
def test_browser_sees_the_home_page(client: Any) -> None:
    for method in ("GET", "HEAD"):
        response = client.generic(method, "/", headers={"Accept": BROWSER})
        assert (response.status_code, response["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "Accept" in response["Vary"]


@pytest.mark.usefixtures("files")
def test_client_gets_json_whatever_it_accepts(as_box: FileClient) -> None:
    for accept in ("*/*", "application/json", "text/plain", ""):
        response = as_box.send("GET", "/", headers={"Accept": accept})
        assert response.json()["count"] == 5
        assert "Accept" in response["Vary"]


@pytest.mark.django_db
def test_refusal_varies_by_accept(client: Any) -> None:
    for accept in ("*/*", "application/json"):
        response = client.get("/", headers={"Accept": accept})
        assert response.status_code == 401
        assert "Accept" in response["Vary"]


@pytest.mark.usefixtures("files")
def test_head_is_answered_without_a_body(as_box: FileClient) -> None:
    for parameters in ({}, {"since": 0}, {"serve_path": "news"}):
        response = as_box.send("HEAD", "/", parameters)
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")
        assert response.getvalue() == b""


# --- Rows that are read ------------------------------------------------------------------------------------------

COUNT = 3000
TABLE = "files_file"


@pytest.fixture
def thousands(db: None) -> None:
    """Three thousand files of ten categories and thirty directories, changed one after the other."""
    store(
        new_file(
            f"dir{number % 30:02}/{number:05}.txt",
            category=f"c{number % 10}",
            alive=number % 50 != 0,
            uploaded_at=at(number),
            modified_at=at(number),
        )
        for number in range(COUNT)
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {TABLE}")
            cursor.execute("SET LOCAL enable_seqscan = off")  # in so small a table it would be the cheapest plan
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            cursor.execute("SET LOCAL cpu_tuple_cost = 1")  # rows that a filter drops cost as if read from a disk


def indexes(sql: str) -> set[str]:
    """Return the indexes that a query uses; fail if it sorts the files or scans the whole table."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            steps = [str(row[3]) for row in cursor.fetchall()]
            assert all(step.startswith(f"SEARCH {TABLE} USING") for step in steps), steps
            return {step.partition("INDEX ")[2].partition(" (")[0] or "primary key" for step in steps}
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        (explained,) = cursor.fetchone()
        plan = (json.loads(explained) if isinstance(explained, str) else explained)[0]["Plan"]
        assert plan["Node Type"] == "Limit", plan
        (scan,) = plan["Plans"]
        assert scan["Node Type"] in ("Index Scan", "Index Only Scan"), plan
        assert "Index Cond" in scan, plan
        return {scan["Index Name"]}


INDEXES: list[tuple[dict[str, Any], str]] = [
    ({"category": "c7", "since": stamp(100), "count": 100}, "files_of_category_by_change"),
    ({"category": "c7", "since": stamp(100)}, "files_of_category_by_change"),
    ({"category": "c7"}, "files_of_category"),
    ({"since": stamp(1000), "count": 100}, "files_by_change"),
    ({"since": stamp(900)}, "files_by_change"),
    ({"uploaded": stamp(1000)}, "files_by_upload"),
    ({"category": "c7", "since": stamp(100), "alive": "no", "count": 10}, "files_of_category_by_change"),
]


@pytest.mark.usefixtures("thousands")
def test_pages_are_read_from_an_index(as_box: FileClient) -> None:
    for parameters, index in INDEXES:
        used = {name for sql in queries(as_box, **parameters) for name in indexes(sql)}
        assert used == {index}, parameters


MAX_ROWS: list[tuple[dict[str, Any], int]] = [
    ({"id": 1}, 1),
    ({}, 100),
    ({"category": "c7"}, 100),
    ({"category": "c7", "since": stamp(0), "count": 100}, 100),
    ({"category": "c7", "since": stamp(500), "count": 100}, 100),
    ({"category": "c7", "since": stamp(2990)}, 1),
    ({"category": "c7", "since": stamp(5000)}, 0),
    ({"since": stamp(800), "count": 100}, 100),
    ({"since": stamp(500), "count": 1000}, 1001),
    ({"since": stamp(0)}, COUNT + 6),
    ({"since": stamp(0), "uploaded": stamp(1)}, COUNT + 6),
    ({"uploaded": stamp(500), "count": 1000}, 1001),
    ({"path": "/srv/dir07/00007.txt"}, 1),
    ({"path": "/srv/dir07/00007.txt", "category": "c7", "since": 0}, COUNT // 10),
    ({"serve_path": "^dir07/"}, 200),
    ({"serve_path": "^dir07/00007"}, 2),
    ({"serve_path": r"^dir07/00007\.txt$"}, 2),
    ({"serve_path": "^dir07/", "category": "c8"}, COUNT // 10),
    ({"serve_path": "^nowhere/"}, 0),
]


@pytest.mark.usefixtures("thousands")
def test_list_reads_few_rows(as_box: FileClient) -> None:
    headers = {"Authorization": f"Bearer {as_box.token}"}
    rows = [rows_read(f"/?{urlencode(parameters)}", TABLE, headers=headers)[0] for parameters, _ in MAX_ROWS]
    assert [(*case, read) for case, read in zip(MAX_ROWS, rows, strict=True) if read > case[1]] == []


@pytest.mark.django_db
def test_change_during_a_stream_hides_no_other(file_root: Path) -> None:
    rows = store_numbered(700)
    stream = iter(search.search_files(serve_path="^many/", since=FIRST))
    seen = [next(stream) for _ in range(101)]
    (file_root / "new").write_text("new")
    added = catalogue.add_file(COMMAND, "many/new", str(file_root / "new"))
    catalogue.update_file(COMMAND, rows[650].pk, aired=True)
    latest = max(file.modified_at for file in [*seen, *stream])
    assert added.pk in {file.pk for file in search.search_files(since=latest)}
