"""The mirror, in front of an upstream that does as it is told."""

import hashlib
import http.client
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from crates.mirror.models import CachedCrate, CachedIndexFile, Incident
from crates.names import index_path
from registry_site import http_client
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream, Behaviour, PausedHalfway, crate_path, index_file_path, line
from tests.support.cast import CargoClient
from tests.support.mirror_store import find_damage, mark_stale, query, read_files, temporary_files
from tests.support.servers import Server, free_port, running

NOT_HERE = {"errors": [{"detail": "There is no such crate in this index."}]}
BYTES = b"the bytes of a crate"
SECRET = "the-token-of-the-first"


@pytest.fixture
def first() -> Iterator[BadUpstream]:
    with bad_upstream.upstream() as upstream:
        yield upstream


@pytest.fixture
def second() -> Iterator[BadUpstream]:
    with bad_upstream.upstream() as upstream:
        yield upstream


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where the bytes are."""
    return tmp_path / "mirror"


@pytest.fixture
def mirror(first: BadUpstream, second: BadUpstream, kept: Path, settings: Any, db: None) -> CargoClient:
    """A client of the mirror of both, in this order."""
    settings.MIRROR_UPSTREAM = [first.url, second.url]
    settings.MIRROR_TOKENS = {first.url: SECRET}
    settings.STORAGES = {
        **settings.STORAGES,
        "mirror": {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": kept}},
    }
    cache.clear()
    return CargoClient()


def entry(mirror: CargoClient, name: str, **headers: str) -> Any:
    return mirror.get(f"/mirror/index/{index_path(name)}", headers=headers)


def crate(mirror: CargoClient, name: str, version: str = "1.0.0", **headers: str) -> Any:
    return mirror.get(f"/ktra/api/v1/mirror/{name}/{version}/download", headers=headers)


def content(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def refused(reason: str) -> dict[str, Any]:
    return {"errors": [{"detail": f"The mirror's upstream fails: {reason}."}]}


def counted() -> list[tuple[str, str, int]]:
    return list(Incident.objects.order_by("kind").values_list("kind", "subject", "count"))


# --- The index ----------------------------------------------------------------------------------------------------

GOOD = line("demo", "1.0.0", BYTES)


@pytest.mark.parametrize(
    "body",
    [
        GOOD + b"\n",
        GOOD,
        GOOD + b"\r\n" + line("demo", "1.1.0", b"x") + b"\r\n",
        b"\n\n" + GOOD + b"\n\n \n",
        GOOD + b"\nno json\n{}\n[]\n7\nnull\n" + b'"text"\n{"vers":7,"cksum":[]}\n',
        GOOD + b"\n\xff\xfe\x00 no text\n",
        b"\xef\xbb\xbf" + GOOD + b"\n",
        GOOD + b"\n" + b"[" * 100_000 + b"\n",
        GOOD + b'\n{"vers":"2.0.0","cksum":"00","n":' + b"9" * 10_000 + b"}\n",
        GOOD + b"\n" + line("demo", "1.0.1+a", b"x") + b"\n" + line("demo", "1.0.1+b", b"y") + b"\n",
        line("demo", "1.0.0", BYTES, v=9, pubtime="yesterday", more={"a": None}) + b"\n",
        GOOD + b'\n{"vers":"' + b"1" * 500 + b'","cksum":"00"}\n',
        GOOD + b'\n{"vers":"1.0.0\\u0000","cksum":"00"}\n',
        GOOD + b'\n{"vers":"1.0.0-\\ud800","cksum":"00"}\n',
        b"",
    ],
    ids=[
        "usual",
        "no-end",
        "crlf",
        "empty-lines",
        "bad-lines",
        "no-text",
        "mark",
        "deep",
        "long-number",
        "builds",
        "unknown",
        "long-version",
        "nul",
        "surrogate",
        "nothing",
    ],
)
def test_index_file_is_relayed_byte_for_byte(mirror: CargoClient, first: BadUpstream, body: bytes) -> None:
    first.script_index("demo", bad_upstream.file(body))
    for _ in range(2):
        response = entry(mirror, "demo")
        assert (response.status_code, response.content) == (200, body)
        assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert first.count_index_requests("demo") == 1


def test_who_has_the_index_file_is_told_so(mirror: CargoClient, first: BadUpstream) -> None:
    body = first.publish("demo")
    response = entry(mirror, "demo")
    for headers in (
        {"If-None-Match": response["ETag"]},
        {"If-None-Match": f"W/{response['ETag']}"},
        {"If-Modified-Since": response["Last-Modified"]},
    ):
        again = entry(mirror, "demo", **headers)
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", response["ETag"])
    assert entry(mirror, "demo", **{"If-None-Match": '"another"'}).content == body
    assert first.count_index_requests("demo") == 1


@pytest.mark.parametrize("status", [404, 410, 451])
def test_absence_is_passed_on_and_believed_for_a_while(mirror: CargoClient, first: BadUpstream, status: int) -> None:
    first.script_index("demo", bad_upstream.refusal(status))
    for _ in range(3):
        response = entry(mirror, "demo")
        assert (response.status_code, response.json()) == (status, NOT_HERE)
    assert first.count_index_requests("demo") == 1


@pytest.mark.parametrize("status", [404, 410, 451])
def test_absence_is_not_believed_for_long(mirror: CargoClient, first: BadUpstream, status: int) -> None:
    first.script_index("demo", bad_upstream.refusal(status))
    entry(mirror, "demo")
    CachedIndexFile.objects.update(checked_at=timezone.now() - timedelta(seconds=61))
    body = first.publish("demo")
    assert entry(mirror, "demo").content == body


def test_answer_that_nobody_asked_for_is_a_fault(mirror: CargoClient, first: BadUpstream) -> None:
    first.script_index("demo", bad_upstream.file(b"", 304))
    assert entry(mirror, "demo").status_code == 502
    assert not CachedIndexFile.objects.exists()


@pytest.mark.parametrize(
    ("statuses", "told"),
    [((404, 404), 404), ((410, 404), 410), ((404, 451), 451), ((451, 410), 451)],
)
def test_first_who_knows_why_there_is_none_is_believed(
    mirror: CargoClient, first: BadUpstream, second: BadUpstream, statuses: tuple[int, int], told: int
) -> None:
    first.script_index("demo", bad_upstream.refusal(statuses[0]))
    second.script_index("demo", bad_upstream.refusal(statuses[1]))
    assert entry(mirror, "demo").status_code == told
    assert (first.count_index_requests("demo"), second.count_index_requests("demo")) == (1, 1)


def test_first_upstream_that_has_it_counts(mirror: CargoClient, first: BadUpstream, second: BadUpstream) -> None:
    body = first.publish("demo", b"of the first")
    second.publish("demo", b"of the second")
    assert entry(mirror, "demo").content == body
    assert content(crate(mirror, "demo")) == b"of the first"
    assert second.requests == []


def test_second_upstream_is_asked_for_what_the_first_has_not(
    mirror: CargoClient, first: BadUpstream, second: BadUpstream
) -> None:
    body = second.publish("demo", b"of the second")
    assert entry(mirror, "demo").content == body
    assert content(crate(mirror, "demo")) == b"of the second"
    assert first.request_counts() == {index_file_path("demo"): 1}


@pytest.mark.parametrize("behaviour", [bad_upstream.reset, bad_upstream.refusal(500), bad_upstream.refusal(403)])
def test_fault_of_the_first_is_not_passed_over_to_the_second(
    mirror: CargoClient, first: BadUpstream, second: BadUpstream, behaviour: Behaviour
) -> None:
    first.script_index("demo", behaviour)
    second.publish("demo")
    assert entry(mirror, "demo").status_code == 502
    assert crate(mirror, "demo").status_code == 502
    assert second.requests == []


SLOW = [
    bad_upstream.hang,
    bad_upstream.dripping_head,
    bad_upstream.dripping_body,
    bad_upstream.endless,
    bad_upstream.endless_chunks,
]
BROKEN = [
    bad_upstream.reset,
    bad_upstream.not_http,
    bad_upstream.truncated(GOOD),
    bad_upstream.refusal(500),
    bad_upstream.refusal(429),
    bad_upstream.redirect("//example.invalid/elsewhere"),
    bad_upstream.redirect("file:///etc/passwd"),
    bad_upstream.redirect_to_itself,
    bad_upstream.redirect(""),
    bad_upstream.redirect("http://["),
    bad_upstream.file(b"", 206),
    bad_upstream.truncated_chunks(GOOD),
]
NO_INDEX = [
    bad_upstream.truncated_without_length(GOOD + b"\n" + GOOD + b"\n"),
    bad_upstream.gzipped(GOOD),
    bad_upstream.file(b"<html>We are being repaired.</html>\n"),
]


@pytest.mark.parametrize("behaviour", [*SLOW, *BROKEN, *NO_INDEX])
def test_fault_of_the_index_is_told_and_nothing_is_kept(
    mirror: CargoClient, first: BadUpstream, behaviour: Behaviour, settings: Any
) -> None:
    settings.MIRROR_TIMEOUT = 0.2 if behaviour in SLOW else 10
    first.script_index("demo", behaviour)
    response = entry(mirror, "demo")
    assert response.status_code == 502
    assert response.json()["errors"][0]["detail"].startswith("The mirror's upstream fails: ")
    assert not CachedIndexFile.objects.exists()
    assert counted() == [("fault", "demo", 1)]


def test_fault_that_happens_again_is_counted(mirror: CargoClient, first: BadUpstream) -> None:
    first.script_index("demo", bad_upstream.refusal(500))
    for _ in range(3):
        assert entry(mirror, "demo").json() == refused("it answers with 500")
    assert counted() == [("fault", "demo", 3)]


def test_upstream_where_nobody_listens_is_a_fault(mirror: CargoClient, settings: Any) -> None:
    settings.MIRROR_UPSTREAM = [f"http://127.0.0.1:{free_port()}/index/"]
    assert entry(mirror, "demo").status_code == 502
    assert counted() == [("fault", "demo", 1)]


@pytest.mark.parametrize("tag", ['"a\0b"', '"\xff"', "x" * 1000, "no quotes"])
def test_odd_tag_of_upstream_is_no_fault(mirror: CargoClient, first: BadUpstream, tag: str) -> None:
    first.script_index("demo", bad_upstream.file(GOOD, ETag=tag, Last_Modified=tag))
    assert entry(mirror, "demo").content == GOOD


def test_redirect_within_the_host_is_followed(mirror: CargoClient, first: BadUpstream) -> None:
    first.script_index("demo", bad_upstream.redirect("/there"))
    first.script("/there", bad_upstream.file(GOOD))
    assert entry(mirror, "demo").content == GOOD


# --- Who is never asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "serde",
        "se/rd/SERDE",
        "Se/rd/serde",
        "SE/RD/SERDE",
        "xx/yy/serde",
        "2/serde",
        "3/s/serde",
        "/se/rd/serde",
        "se/rd/serde/",
        "se//rd/serde",
        "se/rd/../rd/serde",
        "../index/se/rd/serde",
        "..",
        "../..",
        "%2e%2e/config.json",
        "se%2Frd%2F..%2Fserde",
        "se/rd/serde%00",
        "%00",
        "se/rd/ser%20de",
        "se/rd/serde%0a",
        "se/rd/serd%C3%A9",
        "se/rd/serde.json",
        "se/rd/" + "se" + "rd" * 40,
        "config.json/x",
    ],
)
def test_odd_path_of_the_index_is_never_asked_for(
    mirror: CargoClient, first: BadUpstream, second: BadUpstream, path: str
) -> None:
    response = mirror.get(f"/mirror/index/{path}")
    assert response.status_code == (400 if "%00" in path else 404)
    assert set(response.json()) == {"errors"}
    assert first.requests == second.requests == []


@pytest.mark.parametrize(
    "path",
    ["../1.0.0", "%2e%2e/1.0.0", "ser%00de/1.0.0", "ser%20de/1.0.0", "a/b/1.0.0", "a%2Fb/1.0.0", "s" * 65 + "/1.0.0"],
)
def test_odd_name_of_a_crate_is_never_asked_for(
    mirror: CargoClient, first: BadUpstream, second: BadUpstream, path: str
) -> None:
    response = mirror.get(f"/ktra/api/v1/mirror/{path}/download")
    assert response.status_code == (400 if "%00" in path else 404)
    assert first.requests == second.requests == []


@pytest.mark.parametrize("version", ["9.9.9", "..", "%2e%2e", "1.0.0%00", "1.0.0%2F..", "%20", "1.0.0/..", "v1.0.0"])
def test_version_that_the_index_has_not_is_never_asked_for(
    mirror: CargoClient, first: BadUpstream, version: str
) -> None:
    first.publish("demo")
    assert crate(mirror, "demo", version).status_code == (400 if "%00" in version else 404)
    assert set(first.request_counts()) <= {index_file_path("demo")}


@pytest.mark.parametrize("name", ["my-lib", "my_lib", "MY-LIB", "My_Lib"])
def test_private_crate_is_never_asked_for_in_any_spelling(
    mirror: CargoClient, as_alice: CargoClient, first: BadUpstream, second: BadUpstream, name: str
) -> None:
    first.publish(name)
    assert as_alice.publish(packing.body("my-lib")).status_code == 200
    response = entry(mirror, name)
    assert (response.status_code, response.json()) == (404, NOT_HERE)
    assert crate(mirror, name).status_code == 404
    assert first.requests == second.requests == []


@pytest.mark.parametrize("name", ["corp-tool", "corp_tool", "Corp-Tool", "exactly", "EXACTLY"])
def test_reserved_name_is_never_asked_for(
    mirror: CargoClient, first: BadUpstream, second: BadUpstream, settings: Any, name: str
) -> None:
    settings.PRIVATE_NAMES = ["corp-*", "Exactly"]
    response = entry(mirror, name)
    assert (response.status_code, response.json()) == (404, NOT_HERE)
    assert crate(mirror, name).status_code == 404
    assert first.requests == second.requests == []


def test_crate_that_was_mirrored_before_it_became_private_is_not_served(
    mirror: CargoClient, as_alice: CargoClient, first: BadUpstream
) -> None:
    first.publish("my_lib", BYTES)
    assert content(crate(mirror, "my_lib")) == BYTES
    as_alice.publish(packing.body("my-lib"))
    assert (entry(mirror, "my_lib").status_code, crate(mirror, "my_lib").status_code) == (404, 404)


# --- The bytes ----------------------------------------------------------------------------------------------------


def test_crate_is_served_as_upstream_has_it(mirror: CargoClient, first: BadUpstream, kept: Path) -> None:
    first.publish("demo", BYTES)
    for _ in range(2):
        response = crate(mirror, "demo")
        assert response.status_code == 200
        assert response["Content-Type"] == "application/x-tar"
        assert response["Content-Length"] == str(len(BYTES))
        assert content(response) == BYTES
    assert read_files(kept) == {hashlib.sha256(BYTES).hexdigest(): BYTES}
    assert first.request_counts()[crate_path("demo")] == 1
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("bytes=0-2", 206, BYTES[:3]),
        ("bytes=4-", 206, BYTES[4:]),
        ("bytes=-3", 206, BYTES[-3:]),
        ("bytes=0-1,4-5", 200, BYTES),
        ("bytes=x", 200, BYTES),
    ],
)
def test_part_of_a_crate_is_served(
    mirror: CargoClient, first: BadUpstream, asked: str, status: int, expected: bytes
) -> None:
    first.publish("demo", BYTES)
    for _ in range(2):
        response = crate(mirror, "demo", Range=asked)
        assert (response.status_code, content(response)) == (status, expected)


def test_part_beyond_the_end_is_refused(mirror: CargoClient, first: BadUpstream) -> None:
    first.publish("demo", BYTES)
    response = crate(mirror, "demo", Range="bytes=1000-")
    assert (response.status_code, response["Content-Range"]) == (416, f"bytes */{len(BYTES)}")


@pytest.mark.parametrize("version", ["1.0.0-" + "a" * 140, "1.0.0-" + "a" * 200])
def test_long_version_is_served_or_missing(mirror: CargoClient, first: BadUpstream, version: str) -> None:
    first.publish("demo", BYTES, version)
    response = crate(mirror, "demo", version)
    assert response.status_code in (200, 404)
    assert response.status_code == 404 or content(response) == BYTES


def test_empty_crate_is_served(mirror: CargoClient, first: BadUpstream) -> None:
    first.publish("demo", b"")
    assert content(crate(mirror, "demo")) == b""


WRONG = [
    bad_upstream.file(b"other bytes"),
    bad_upstream.file(BYTES[:-1]),
    bad_upstream.file(BYTES + b"\0"),
    bad_upstream.file(b""),
    bad_upstream.truncated_without_length(BYTES),
    bad_upstream.gzipped(BYTES),
]


@pytest.mark.parametrize("behaviour", WRONG)
def test_wrong_bytes_are_neither_kept_nor_sent(
    mirror: CargoClient, first: BadUpstream, kept: Path, behaviour: Behaviour
) -> None:
    first.publish("demo", BYTES)
    first.script_crate("demo", "1.0.0", behaviour)
    for _ in range(2):
        response = crate(mirror, "demo")
        assert response.status_code == 502
        assert response.json() == refused("it sends other bytes than its index says")
    assert read_files(kept) == {}
    assert not CachedCrate.objects.exists()
    assert counted() == [("wrong_bytes", "demo@1.0.0", 2)]


@pytest.mark.parametrize("behaviour", [*SLOW, *BROKEN])
def test_fault_of_the_bytes_is_told_and_nothing_is_kept(
    mirror: CargoClient, first: BadUpstream, kept: Path, behaviour: Behaviour, settings: Any
) -> None:
    first.publish("demo", BYTES)
    assert entry(mirror, "demo").status_code == 200
    settings.MIRROR_TIMEOUT = 0.2 if behaviour in SLOW else 10
    first.script_crate("demo", "1.0.0", behaviour)
    response = crate(mirror, "demo")
    assert response.status_code == 502
    assert response.json()["errors"][0]["detail"].startswith("The mirror's upstream fails: ")
    assert read_files(kept) == {}
    assert not CachedCrate.objects.exists()
    assert counted() == [("fault", "demo@1.0.0", 1)]


def test_next_request_after_a_fault_gets_the_bytes(mirror: CargoClient, first: BadUpstream) -> None:
    first.publish("demo", BYTES)
    first.script_crate("demo", "1.0.0", bad_upstream.truncated(BYTES), WRONG[0], bad_upstream.file(BYTES))
    assert [crate(mirror, "demo").status_code for _ in range(2)] == [502, 502]
    assert content(crate(mirror, "demo")) == BYTES


@pytest.mark.parametrize(("status", "told"), [(403, 404), (404, 404), (410, 410), (451, 451)])
def test_crate_that_upstream_has_not_is_missing(
    mirror: CargoClient, first: BadUpstream, status: int, told: int
) -> None:
    first.publish("demo")
    first.script_crate("demo", "1.0.0", bad_upstream.refusal(status))
    response = crate(mirror, "demo")
    assert response.status_code == told
    assert response.json() == {
        "errors": [{"detail": "There is no version '1.0.0' of a crate 'demo' in the mirror."}],
    }


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b'{"dl":7}',
        b'{"dl":"ftp://127.0.0.1/"}',
        b'{"dl":"file:///etc/passwd"}',
        b'{"dl":"/dl"}',
        b'{"dl":"http://["}',
        b'{"dl":"http://' + b"x" * 70_000 + b'"}',
    ],
)
def test_config_of_no_use_is_a_fault(mirror: CargoClient, first: BadUpstream, config: bytes) -> None:
    first.publish("demo")
    first.script("/index/config.json", bad_upstream.file(config))
    assert crate(mirror, "demo").status_code == 502
    assert not CachedCrate.objects.exists()


def test_every_marker_of_the_place_of_downloads_is_filled_in(mirror: CargoClient, first: BadUpstream) -> None:
    first.script_index("mycrate", bad_upstream.file(line("MyCrate", "1.0.0+a", BYTES)))
    place = f"http://{first.host}/{{prefix}}/{{lowerprefix}}/{{crate}}-{{version}}/{{sha256-checksum}}"
    first.script("/index/config.json", bad_upstream.file(json.dumps({"dl": place}).encode()))
    path = f"/My/Cr/my/cr/MyCrate-1.0.0+a/{hashlib.sha256(BYTES).hexdigest()}"
    first.script(path, bad_upstream.file(BYTES))
    list(crate(mirror, "MyCrate", "1.0.0+a"))
    assert first.requests[-1].path == path


def test_redirect_to_another_host_is_not_followed(mirror: CargoClient, first: BadUpstream, second: BadUpstream) -> None:
    first.publish("demo", BYTES)
    second.script("/bytes", bad_upstream.file(BYTES))
    first.script_crate("demo", "1.0.0", bad_upstream.redirect(f"http://{second.host}/bytes"))
    response = crate(mirror, "demo")
    assert response.json() == refused(f"it redirects to '{second.host}', which is none of its hosts")
    assert second.requests == []


def test_downloads_on_a_private_address_are_not_asked_for(
    mirror: CargoClient, first: BadUpstream, second: BadUpstream
) -> None:
    first.publish("demo", BYTES)
    second.script_crate("demo", "1.0.0", bad_upstream.file(BYTES))
    first.script("/index/config.json", bad_upstream.file(json.dumps({"dl": f"http://{second.host}/dl"}).encode()))
    assert crate(mirror, "demo").status_code == 502
    assert second.requests == []


def test_downloads_on_the_address_of_another_upstream_are_not_asked_for(
    mirror: CargoClient, first: BadUpstream, second: BadUpstream
) -> None:
    second.publish("other", BYTES)
    assert content(crate(mirror, "other")) == BYTES
    first.publish("demo", BYTES)
    first.script("/index/config.json", bad_upstream.file(json.dumps({"dl": f"http://{second.host}/dl"}).encode()))
    second.script_crate("demo", "1.0.0", bad_upstream.file(b"not for the first"))
    assert crate(mirror, "demo").status_code == 502
    assert crate_path("demo") not in second.request_counts()


def test_upstream_learns_nothing_of_who_asks(
    mirror: CargoClient, as_alice: CargoClient, first: BadUpstream, second: BadUpstream
) -> None:
    second.publish("demo", BYTES)
    as_alice.cookies["sessionid"] = "a cookie"
    headers = {"User-Agent": "cargo/1", "X-Forwarded-For": "192.0.2.1", "Referer": "http://a/", "X-Word": "one"}
    assert content(crate(as_alice, "demo", **headers)) == BYTES
    usual = {"user-agent": http_client.USER_AGENT, "accept-encoding": "identity"}
    (of_first,) = first.requests
    assert of_first.headers == {"host": first.host, "authorization": SECRET, **usual}
    assert len(second.requests) == 3
    assert all(request.headers == {"host": second.host, **usual} for request in second.requests)


# --- Without a network --------------------------------------------------------------------------------------------


@pytest.fixture
def offline(mirror: CargoClient, first: BadUpstream, settings: Any) -> CargoClient:
    """Of a crate with two versions, one is kept; then nobody is asked any more."""
    first.script_index("demo", bad_upstream.file(GOOD + b"\n" + line("demo", "1.1.0", b"newer") + b"\n"))
    first.script_crate("demo", "1.0.0", bad_upstream.file(BYTES))
    assert content(crate(mirror, "demo")) == BYTES
    CachedIndexFile.objects.update(checked_at=timezone.now() - timedelta(days=1000))
    first.requests.clear()
    settings.MIRROR_OFFLINE = True
    return mirror


def test_offline_index_has_only_what_is_kept(offline: CargoClient, first: BadUpstream) -> None:
    response = entry(offline, "demo")
    assert (response.status_code, response.content) == (200, GOOD + b"\n")
    assert first.requests == []


def test_offline_mirror_serves_what_is_kept(offline: CargoClient, first: BadUpstream) -> None:
    assert content(crate(offline, "demo")) == BYTES
    assert first.requests == []


def test_offline_mirror_fetches_nothing(offline: CargoClient, first: BadUpstream) -> None:
    response = crate(offline, "demo", "1.1.0")
    told = "demo 1.1.0 is not in this mirror, which asks nobody (REGISTRY_MIRROR_OFFLINE)."
    assert (response.status_code, response.json()) == (404, {"errors": [{"detail": told}]})
    assert entry(offline, "other").json() == NOT_HERE
    assert crate(offline, "other").status_code == 404
    assert first.requests == []


# --- Running servers ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upstream() -> Iterator[BadUpstream]:
    with bad_upstream.upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def live(upstream: BadUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers in front of one upstream that has at most two seconds."""
    with running(
        tmp_path_factory.mktemp("mirror") / "data",
        REGISTRY_MIRROR_UPSTREAM=f"sparse+{upstream.url}",
        REGISTRY_MIRROR_INDEX_TTL="100000",
        REGISTRY_MIRROR_TIMEOUT="2",
        REGISTRY_WORKERS="2",
    ) as server:
        yield server


def ask(server: Server, path: str) -> tuple[int, bytes]:
    """The answer, or status 0 when the connection broke."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def live_entry(server: Server, name: str) -> tuple[int, bytes]:
    return ask(server, f"/mirror/index/{index_path(name)}")


def live_crate(server: Server, name: str, version: str = "1.0.0") -> tuple[int, bytes]:
    return ask(server, f"/ktra/api/v1/mirror/{name}/{version}/download")


def incidents(server: Server, name: str) -> set[tuple[str, str, int]]:
    return set(
        query(server, f"SELECT kind, subject, count FROM mirror_incident WHERE subject LIKE '{name}%' ORDER BY kind")
    )


@pytest.mark.parametrize(
    ("name", "given", "asked"),
    [
        ("by-etag", {"ETag": '"one"'}, {"if-none-match": '"one"'}),
        (
            "by-time",
            {"Last_Modified": "Sat, 01 Jan 2000 00:00:00 GMT"},
            {"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"},
        ),
    ],
)
def test_upstream_is_asked_whether_anything_is_new(
    live: Server, upstream: BadUpstream, name: str, given: dict[str, str], asked: dict[str, str]
) -> None:
    body = upstream.publish(name)
    upstream.script_index(name, bad_upstream.file(body, 200, **given))
    assert live_entry(live, name) == (200, body)
    mark_stale(live, name)
    assert [live_entry(live, name) for _ in range(3)] == [(200, body)] * 3
    before, after = upstream.requests_for(index_file_path(name))
    assert after.headers == before.headers | asked


def test_news_are_taken(live: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("news")
    assert live_entry(live, "news") == (200, body)
    newer = body + line("news", "1.1.0", b"newer") + b"\n"
    upstream.script_index("news", bad_upstream.file(newer))
    assert live_entry(live, "news") == (200, body)
    mark_stale(live, "news")
    assert live_entry(live, "news") == (200, newer)


def test_crate_that_is_gone_upstream_is_gone(live: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("going")
    assert live_entry(live, "going") == (200, body)
    upstream.script_index("going", bad_upstream.refusal(410))
    mark_stale(live, "going")
    assert live_entry(live, "going")[0] == 410
    assert live_crate(live, "going")[0] == 404


@pytest.mark.parametrize(
    ("name", "behaviour"),
    [
        ("stale-reset", bad_upstream.reset),
        ("stale-500", bad_upstream.refusal(500)),
        ("stale-cut", bad_upstream.truncated(GOOD)),
        ("stale-hang", bad_upstream.hang),
    ],
)
def test_what_was_there_last_is_served_while_upstream_fails(
    live: Server, upstream: BadUpstream, name: str, behaviour: Behaviour
) -> None:
    body = upstream.publish(name)
    assert live_crate(live, name) == (200, b"the bytes")
    upstream.script_index(name, behaviour)
    mark_stale(live, name)
    assert live_entry(live, name) == (200, body)
    assert live_crate(live, name) == (200, b"the bytes")


def test_upstream_that_fails_has_a_pause(live: Server, upstream: BadUpstream) -> None:
    upstream.publish("pause")
    live_entry(live, "pause")
    upstream.script_index("pause", bad_upstream.refusal(500))
    mark_stale(live, "pause")
    assert [live_entry(live, "pause")[0] for _ in range(5)] == [200] * 5
    assert upstream.count_index_requests("pause") == 2
    assert incidents(live, "pause") == {("fault", "pause", 1)}


def test_changed_checksum_is_refused_and_told(live: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("changed")
    assert live_entry(live, "changed") == (200, body)
    upstream.publish("changed", b"the bytes of a thief")
    for count in (1, 2):
        mark_stale(live, "changed")
        assert live_entry(live, "changed") == (200, body)
        assert live_crate(live, "changed")[1] != b"the bytes of a thief"
        assert ("changed", "changed@1.0.0", count) in incidents(live, "changed")


def test_checksum_is_remembered_of_a_version_that_went_away(live: Server, upstream: BadUpstream) -> None:
    upstream.publish("back")
    live_entry(live, "back")
    without = line("back", "1.1.0", b"newer") + b"\n"
    upstream.script_index("back", bad_upstream.file(without))
    mark_stale(live, "back")
    assert live_entry(live, "back") == (200, without)
    upstream.publish("back", b"the bytes of a thief")
    mark_stale(live, "back")
    assert live_entry(live, "back") == (200, without)


def test_version_that_went_away_upstream_is_not_served(live: Server, upstream: BadUpstream) -> None:
    upstream.publish("away")
    assert live_crate(live, "away") == (200, b"the bytes")
    upstream.script_index("away", bad_upstream.file(line("away", "1.1.0", b"newer") + b"\n"))
    mark_stale(live, "away")
    assert live_crate(live, "away")[0] == 404


def test_many_who_ask_first_are_one_to_upstream(live: Server, upstream: BadUpstream) -> None:
    bytes_ = random.Random(1).randbytes(3_000_000)
    upstream.publish("many", bytes_)
    behaviour = PausedHalfway(bytes_)
    upstream.script_crate("many", "1.0.0", behaviour)
    with ThreadPoolExecutor(20) as clients:
        asked = [clients.submit(live_crate, live, "many") for _ in range(20)]
        assert behaviour.reached.wait(20)
        behaviour.may_go_on.set()
        assert all(one.result() == (200, bytes_) for one in asked)
    assert (upstream.count_index_requests("many"), upstream.request_counts()[crate_path("many")]) == (1, 1)


def test_killed_server_leaves_nothing_wrong(live: Server, upstream: BadUpstream) -> None:
    bytes_ = random.Random(2).randbytes(3_000_000)
    upstream.publish("killed", bytes_)
    behaviour = PausedHalfway(bytes_)
    upstream.script_crate("killed", "1.0.0", behaviour, bad_upstream.file(bytes_))
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(live_crate, live, "killed")
        assert behaviour.reached.wait(20)
        live.kill()
        assert asked.result() == (0, b"")
    behaviour.may_go_on.set()
    assert hashlib.sha256(bytes_).hexdigest() not in read_files(live.data / "mirror")
    live.start()
    assert live_crate(live, "killed") == (200, bytes_)
    assert (find_damage(live), temporary_files(live)) == ([], [])


def test_others_are_served_while_upstream_is_slow(live: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("quick", BYTES)
    assert live_crate(live, "quick") == (200, BYTES)
    upstream.script_index("slow", bad_upstream.hang)
    upstream.script_index("slowly", bad_upstream.dripping_head)
    upstream.publish("slowest")
    upstream.script_crate("slowest", "1.0.0", bad_upstream.dripping_body)
    with ThreadPoolExecutor(6) as clients:
        slow = [
            clients.submit(how, live, name)
            for how, name in ((live_entry, "slow"), (live_entry, "slowly"), (live_crate, "slowest")) * 2
        ]
        for _ in range(10):
            assert live_entry(live, "quick") == (200, body)
            assert live_crate(live, "quick") == (200, BYTES)
        assert [one.result()[0] for one in slow] == [502] * 6
