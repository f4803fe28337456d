"""Text of index files: one line for each version, in a form that no input can break."""

import json
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from django.utils.http import http_date

from crates import index, index_files
from crates.models import Crate, Version
from tests.support import packing
from tests.support.cast import CargoClient

INDEX = "/index/de/mo/demo"
PUBLISHED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def version(number: str = "1.0.0", **fields: Any) -> Version:
    """Return a row that is not saved."""
    usual = {"number": number, "checksum": "ab" * 32, "published_at": PUBLISHED}
    return Version(**{**usual, **fields})


def line(**fields: Any) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(index.render_line("Demo", version(**fields)))
    return entry


def lines(client: CargoClient) -> list[dict[str, Any]]:
    return [json.loads(text) for text in client.get(INDEX).content.splitlines()]


# --- The text ---------------------------------------------------------------------------------------------------


def test_bare_version_is_written_in_full() -> None:
    assert line() == {
        "name": "Demo",
        "vers": "1.0.0",
        "deps": [],
        "cksum": "ab" * 32,
        "features": {},
        "yanked": False,
        "links": None,
        "pubtime": "2026-01-02T03:04:05Z",
    }


def test_links_and_rust_version_are_written() -> None:
    entry = line(links="z", rust_version="1.70")
    assert (entry["links"], entry["rust_version"]) == ("z", "1.70")


def test_yanked_version_is_written() -> None:
    assert line(yanked=True) == line() | {"yanked": True}


def test_time_is_written_in_utc_and_20_characters() -> None:
    elsewhere = PUBLISHED.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert line(published_at=elsewhere)["pubtime"] == "2026-01-02T03:04:05Z"


# Features, then those of the line in `features` and in `features2`.
SYNTAX: list[tuple[Any, Any, Any]] = [
    ({}, {}, None),
    ({"f": []}, {"f": []}, None),
    ({"f": ["g", "a/b"], "g": []}, {"f": ["g", "a/b"], "g": []}, None),
    ({"f": ["dep:a"]}, {}, {"f": ["dep:a"]}),
    ({"f": ["a?/b"]}, {}, {"f": ["a?/b"]}),
    ({"f": ["g", "dep:a"], "g": []}, {"g": []}, {"f": ["g", "dep:a"]}),
]


def test_new_syntax_stands_in_features2() -> None:
    for features, old, new in SYNTAX:
        entry = line(features=features)
        assert (entry["features"], entry.get("features2"), entry.get("v")) == (old, new, new and 2)


def test_artifact_dependency_needs_a_newer_cargo() -> None:
    plain = {"name": "base", "req": "^1"}
    tool = {**plain, "artifact": ["bin"]}
    assert "v" not in line(dependencies=[{**plain, "public": True}])
    assert line(dependencies=[plain, tool])["v"] == 3
    assert line(dependencies=[tool], features={"f": ["dep:base"]})["v"] == 3


def test_no_text_can_break_a_line() -> None:
    for odd in ("\u2028", "\u2029", "\x85", "\n", "\r\n", '"}', "\\", "\0", "\u7279", "\U0001f980", "\x1b"):
        text = index.render_line("demo", version(features={odd: [odd]}, links=odd, dependencies=[{"target": odd}]))
        assert text.isascii()
        assert text[-1] == "\n"
        assert text[:-1].isprintable()
        assert json.loads(text)["features"] == {odd: [odd]}


def test_etag_is_a_digest_of_the_text() -> None:
    assert index.etag("text\n") == '"b9e68e1bea3e5b19ca6b2f98b73a54b7"'
    assert index.etag("other\n") != index.etag("text\n")


# --- Over HTTP --------------------------------------------------------------------------------------------------


def test_renamed_dependency_has_its_alias(as_alice: CargoClient) -> None:
    toml = packing.manifest() + '[dependencies.alias]\nversion = "1"\npackage = "base"\n'
    assert as_alice.publish(packing.body(toml=toml)).status_code == 200
    assert lines(as_alice)[0]["deps"] == [
        {
            "name": "alias",
            "req": "^1",
            "features": [],
            "optional": False,
            "default_features": True,
            "target": None,
            "kind": "normal",
            "registry": "https://github.com/rust-lang/crates.io-index",
            "package": "base",
        }
    ]


def test_text_is_ascii_lines(as_alice: CargoClient) -> None:
    toml = packing.manifest() + '[features]\n"\u7279\u6027" = []\n'
    for number in ("1.0.0", "1.0.1"):
        as_alice.publish(packing.body(version=number, toml=toml.replace("1.0.0", number)))
    text = as_alice.get(INDEX).content
    assert text.isascii()
    assert text.count(b"\n") == 2
    assert text.endswith(b"}\n")


def test_versions_stand_in_the_order_of_their_publishing(as_alice: CargoClient) -> None:
    for number in ("2.0.0", "1.0.0", "1.5.0-rc.1"):
        as_alice.publish(packing.body(version=number))
    assert [row["vers"] for row in lines(as_alice)] == ["2.0.0", "1.0.0", "1.5.0-rc.1"]


def test_yank_changes_nothing_but_yanked(as_alice: CargoClient) -> None:
    for number in ("1.0.0", "1.0.1"):
        as_alice.publish(packing.body(version=number))
    before = lines(as_alice)
    as_alice.delete("/api/v1/crates/demo/1.0.0/yank")
    assert lines(as_alice) == [before[0] | {"yanked": True}, before[1]]


def test_later_version_leaves_the_lines_of_the_others(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    before = as_alice.get(INDEX).content
    as_alice.publish(packing.body(version="2.0.0"))
    assert as_alice.get(INDEX).content.startswith(before)


def test_two_changes_in_one_second_have_two_times(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    times = [Crate.objects.get().index_modified]
    for change in (as_alice.delete, as_alice.put, as_alice.delete):
        assert change(f"/api/v1/crates/demo/1.0.0/{'unyank' if change == as_alice.put else 'yank'}").status_code == 200
        times.append(Crate.objects.get().index_modified)
    assert times == sorted(set(times))


def test_last_modified_never_lies_ahead(as_alice: CargoClient) -> None:
    """After quick changes the ETag alone decides, until the clock has reached the time of the last one."""
    dates: list[str] = []
    for number in range(5):
        as_alice.publish(packing.body(version=f"{number}.0.0"))
        response = as_alice.get(INDEX)
        modified = response.headers.get("Last-Modified", "")
        assert not modified or parsedate_to_datetime(modified) <= datetime.now(UTC)
        for date in dates:
            assert as_alice.get(INDEX, headers={"If-Modified-Since": date}).status_code == 200
        assert as_alice.get(INDEX, headers={"If-None-Match": response["ETag"]}).status_code == 304
        dates += [modified] if modified else []
    assert dates


def test_last_modified_comes_with_its_time(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    now = datetime.now(UTC)
    for hours, is_sent in ((1, False), (-1, True)):
        Crate.objects.update(index_modified=now + timedelta(hours=hours))
        assert ("Last-Modified" in as_alice.get(INDEX)) == is_sent
        date = http_date((now + timedelta(days=1)).timestamp())
        assert as_alice.get(INDEX, headers={"If-Modified-Since": date}).status_code == (304 if is_sent else 200)


def test_yank_of_a_yanked_version_changes_no_byte(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    as_alice.delete("/api/v1/crates/demo/1.0.0/yank")
    before = index_files.read("de/mo/demo")
    as_alice.delete("/api/v1/crates/demo/1.0.0/yank")
    assert index_files.read("de/mo/demo") == before


def test_refused_publish_changes_no_byte(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    before = as_alice.get(INDEX)
    assert as_alice.publish(packing.body(version="1.0.0+build")).status_code == 409
    after = as_alice.get(INDEX)
    assert (after.content, after["ETag"]) == (before.content, before["ETag"])
