"""Index files of the mirror, in front of scripted upstreams: relayed, absent, refused, or faulty."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.utils import timezone

from accounts.models import User
from crates.mirror import crate_cache, index_cache, maintenance
from crates.mirror.models import CachedIndexFile, Incident
from crates.names import index_path
from registry_site import file_locks
from registry_site.errors import Unavailable, UpstreamError
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream, Behaviour, index_file_path, line
from tests.support.cast import CargoClient
from tests.support.log_lines import request_failures
from tests.support.mirror_client import ABSENCES, MirrorClient, no_such_crate, upstream_fails
from tests.support.mirror_faults import BROKEN, SLOW
from tests.support.servers import free_port

BYTES = b"the bytes of a crate"
GOOD = line("demo", "1.0.0", BYTES)


def age_absence(name: str, seconds: int) -> None:
    """Let a remembered absence be older."""
    key = f"absence-{index_path(name)}"
    status, _ = caches["mirror"].get(key)
    caches["mirror"].set(key, (status, timezone.now() - timedelta(seconds=seconds)))


def count_incidents() -> list[tuple[str, str, int]]:
    return list(Incident.objects.order_by("kind").values_list("kind", "subject", "count"))


# --- Relayed -------------------------------------------------------------------------------------------------------

RELAYED = {
    "usual": GOOD + b"\n",
    "no end": GOOD,
    "carriage returns": GOOD + b"\r\n" + line("demo", "1.1.0", b"x") + b"\r\n",
    "empty lines": b"\n\n" + GOOD + b"\n\n \n",
    "lines that are none": GOOD + b"\nno json\n{}\n[]\n7\nnull\n" + b'"text"\n{"vers":7,"cksum":[]}\n',
    "no text": GOOD + b"\n\xff\xfe\x00 no text\n",
    "byte order mark": b"\xef\xbb\xbf" + GOOD + b"\n",
    "deep nesting": GOOD + b"\n" + b"[" * 100_000 + b"\n",
    "long number": GOOD + b'\n{"vers":"2.0.0","cksum":"00","n":' + b"9" * 10_000 + b"}\n",
    "two builds": GOOD + b"\n" + line("demo", "1.0.1+a", b"x") + b"\n" + line("demo", "1.0.1+b", b"y") + b"\n",
    "unknown fields": line("demo", "1.0.0", BYTES, v=9, pubtime="yesterday", more={"a": None}) + b"\n",
    "long version": GOOD + b'\n{"vers":"' + b"1" * 500 + b'","cksum":"00"}\n',
    "NUL": GOOD + b'\n{"vers":"1.0.0\\u0000","cksum":"00"}\n',
    "surrogate": GOOD + b'\n{"vers":"1.0.0-\\ud800","cksum":"00"}\n',
    "nothing": b"",
}


def test_index_file_is_relayed_byte_for_byte(mirror: MirrorClient, upstream: BadUpstream) -> None:
    offenders = []
    for number, (case, body) in enumerate(RELAYED.items()):
        name = f"demo{number}"
        upstream.script_index(name, bad_upstream.file(body))
        for response in (mirror.index_file(name), mirror.index_file(name)):
            if (response.status_code, response.content) != (200, body):
                offenders.append((case, response.status_code, response.content[:100]))
            assert response["Content-Type"] == "text/plain; charset=utf-8"
        assert upstream.count_index_requests(name) == 1
    assert offenders == []


def test_unchanged_index_file_gets_304(mirror: MirrorClient, upstream: BadUpstream) -> None:
    body = upstream.publish("demo")
    response = mirror.index_file("demo")
    for headers in (
        {"If-None-Match": response["ETag"]},
        {"If-None-Match": f"W/{response['ETag']}"},
        {"If-Modified-Since": response["Last-Modified"]},
    ):
        unchanged = mirror.index_file("demo", **headers)
        assert (unchanged.status_code, unchanged.content, unchanged["ETag"]) == (304, b"", response["ETag"])
    assert mirror.index_file("demo", **{"If-None-Match": '"another"'}).content == body
    assert upstream.count_index_requests("demo") == 1


def test_full_disk_takes_no_new_index_file(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    """The former state goes on being served: the reserve is for the database, which index files fill."""
    former = upstream.publish("demo")
    assert mirror.index_file("demo").content == former
    upstream.publish("demo", version="1.1.0")
    upstream.publish("other")
    settings.MIN_FREE_SPACE = 10**15
    CachedIndexFile.objects.update(checked_at=index_cache.EPOCH)
    with pytest.raises(Unavailable, match="too little free space"):
        index_cache.refresh_if_stale("de/mo/demo")
    assert mirror.index_file("demo").content == former
    assert mirror.index_file("other").status_code == 503
    assert upstream.count_index_requests("demo") == 2


def test_redirect_within_the_host_is_followed(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.script_index("demo", bad_upstream.redirect("/there"))
    upstream.script("/there", bad_upstream.file(GOOD))
    assert mirror.index_file("demo").content == GOOD


def test_fourth_redirect_is_a_fault(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.script_index("near", bad_upstream.redirect("/two"))
    upstream.script_index("far", bad_upstream.redirect("/one"))
    upstream.script("/one", bad_upstream.redirect("/two"))
    upstream.script("/two", bad_upstream.redirect("/three"))
    upstream.script("/three", bad_upstream.redirect("/four"))
    upstream.script("/four", bad_upstream.file(GOOD))
    assert mirror.index_file("near").status_code == 200
    assert mirror.index_file("far").json() == upstream_fails("it redirects without end")


def test_odd_validators_of_upstream_are_dropped(mirror: MirrorClient, upstream: BadUpstream) -> None:
    for number, tag in enumerate(['"a\0b"', '"\xff"', "x" * 1000, "no quotes"]):
        upstream.script_index(f"demo{number}", bad_upstream.file(GOOD, ETag=tag, Last_Modified=tag))
        assert mirror.index_file(f"demo{number}").content == GOOD


# --- Absent --------------------------------------------------------------------------------------------------------


def test_absence_is_passed_on_and_cached(mirror: MirrorClient, upstream: BadUpstream) -> None:
    for status in (404, 410, 451):
        name = f"demo{status}"
        upstream.script_index(name, bad_upstream.refusal(status))
        for _ in range(3):
            response = mirror.index_file(name)
            assert (response.status_code, response.json()) == (status, no_such_crate(ABSENCES[status]))
        assert upstream.count_index_requests(name) == 1


def test_absence_is_cached_for_a_minute(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.script_index("demo", bad_upstream.refusal(404))
    mirror.index_file("demo")
    body = upstream.publish("demo")
    age_absence("demo", 55)
    assert mirror.index_file("demo").status_code == 404
    age_absence("demo", 61)
    assert mirror.index_file("demo").content == body


def test_short_ttl_shortens_absences_too(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_INDEX_TTL = 5
    mirror.index_file("demo")
    body = upstream.publish("demo")
    age_absence("demo", 6)
    assert mirror.index_file("demo").content == body


def test_absent_crates_get_no_rows(mirror: MirrorClient, upstream: BadUpstream) -> None:
    assert {mirror.index_file(f"demo{number}").status_code for number in range(20)} == {404}
    assert not CachedIndexFile.objects.exists()


def test_absent_crate_keeps_its_checksums(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", BYTES)
    mirror.index_file("demo")
    CachedIndexFile.objects.update(checked_at=index_cache.EPOCH)
    upstream.script_index("demo", bad_upstream.refusal(404))
    assert index_cache.refresh_if_stale("de/mo/demo").status == 404
    row = CachedIndexFile.objects.get()
    assert (row.status, bytes(row.body), list(row.checksums)) == (404, b"", ["1.0.0"])
    assert (mirror.index_file("demo").status_code, upstream.count_index_requests("demo")) == (404, 2)


def test_purge_deletes_absences_after_a_day(db: None) -> None:
    ages = {"newly": 0, "absent": 86_401}
    for name, age in ages.items():
        checked_at = timezone.now() - timedelta(seconds=age)
        CachedIndexFile.objects.create(path=name, name=name, status=404, checked_at=checked_at)
    checked_at = timezone.now() - timedelta(days=2)
    for name, status in (("present", 200), ("gone", 410)):
        CachedIndexFile.objects.create(
            path=name, name=name, status=status, checksums={"1.0.0": "0" * 64}, checked_at=checked_at
        )
    assert maintenance.purge() == "1 absent crates of the mirror forgotten."
    assert set(CachedIndexFile.objects.values_list("name", flat=True)) == {"present", "gone", "newly"}


def test_first_reason_for_absence_is_passed_on(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream
) -> None:
    cases = {(404, 404): 404, (410, 404): 410, (404, 451): 451, (451, 410): 451}
    for number, ((first_status, second_status), expected) in enumerate(cases.items()):
        name = f"demo{number}"
        upstream.script_index(name, bad_upstream.refusal(first_status))
        second.script_index(name, bad_upstream.refusal(second_status))
        assert mirror.index_file(name).status_code == expected
        assert (upstream.count_index_requests(name), second.count_index_requests(name)) == (1, 1)


# --- Two upstreams -------------------------------------------------------------------------------------------------


def test_first_upstream_with_the_crate_counts(mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream) -> None:
    body = upstream.publish("demo", b"of the first")
    second.publish("demo", b"of the second")
    assert mirror.index_file("demo").content == body
    assert mirror.crate("demo").body == b"of the first"
    assert second.requests == []


def test_second_upstream_has_what_the_first_lacks(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream
) -> None:
    body = second.publish("demo", b"of the second")
    assert mirror.index_file("demo").content == body
    assert mirror.crate("demo").body == b"of the second"
    assert upstream.request_counts() == {index_file_path("demo"): 1}


def test_fault_of_the_first_ends_the_search(mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream) -> None:
    behaviours = [bad_upstream.reset, bad_upstream.refusal(500), bad_upstream.refusal(403)]
    for number, behaviour in enumerate(behaviours):
        name = f"demo{number}"
        upstream.script_index(name, behaviour)
        second.publish(name)
        assert mirror.index_file(name).status_code == 502
        assert mirror.crate(name).status_code == 502
    assert second.requests == []


def test_validators_go_only_to_their_upstream(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream, settings: Any
) -> None:
    upstream.script_index("demo", bad_upstream.file(GOOD, ETag='"of the first"'))
    assert mirror.index_file("demo").status_code == 200
    settings.MIRROR_UPSTREAM = [second.url]
    second.script_index("demo", bad_upstream.file(GOOD))
    CachedIndexFile.objects.update(checked_at=index_cache.EPOCH)
    assert index_cache.refresh_if_stale("de/mo/demo").upstream == second.url
    assert "if-none-match" not in second.requests[0].headers


def test_second_process_waits_only_for_the_timeout(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    upstream.publish("demo", BYTES)
    upstream.publish("other", BYTES)
    mirror.index_file("other")
    settings.MIRROR_TIMEOUT = 0.1
    requests = len(upstream.requests)
    with file_locks.file_lock("mirror entry de/mo/demo", 1), crate_cache.lock_bytes(hashlib.sha256(BYTES).hexdigest()):
        responses = [mirror.index_file("demo"), mirror.crate("other")]
    detail = "The mirror is waiting for its upstream; try again."
    assert [response.status_code for response in responses] == [502, 502]
    assert responses[0].json() == {"errors": [{"detail": detail}]}
    assert len(upstream.requests) == requests


# --- Faults --------------------------------------------------------------------------------------------------------

NO_INDEX: list[Behaviour] = [
    bad_upstream.truncated_without_length(GOOD + b"\n" + GOOD + b"\n"),
    bad_upstream.gzipped(GOOD),
    bad_upstream.file(b"<html>We are being repaired.</html>\n"),
]


def test_faulty_index_file_is_not_cached(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    offenders = []
    for number, behaviour in enumerate([*SLOW, *BROKEN, *NO_INDEX]):
        settings.MIRROR_TIMEOUT = 0.2 if behaviour in SLOW else 10
        upstream.script_index(f"demo{number}", behaviour)
        response = mirror.index_file(f"demo{number}")
        if response.status_code != 502 or b"The mirror's upstream fails: " not in response.content:
            offenders.append((behaviour.__name__, response.status_code, response.content))
    assert offenders == []
    assert count_incidents() == [("fault", upstream.url, len([*SLOW, *BROKEN, *NO_INDEX]))]
    assert not CachedIndexFile.objects.exists()


def test_unrequested_304_is_a_fault(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.script_index("demo", bad_upstream.file(b"", 304))
    assert mirror.index_file("demo").status_code == 502
    assert not CachedIndexFile.objects.exists()


def test_304_without_validators_is_a_fault(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.script_index("demo", bad_upstream.file(GOOD), bad_upstream.always_not_modified)
    mirror.index_file("demo")
    CachedIndexFile.objects.update(checked_at=index_cache.EPOCH)
    with pytest.raises(UpstreamError, match="it answers 304"):
        index_cache.refresh_if_stale("de/mo/demo")


def test_repeated_fault_is_counted(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.script_index("demo", bad_upstream.refusal(500))
    for _ in range(3):
        assert mirror.index_file("demo").json() == upstream_fails("it answers with 500")
    assert count_incidents() == [("fault", upstream.url, 3)]
    assert Incident.objects.get().detail == "demo: it answers with 500"


def test_changed_checksums_are_one_incident(mirror: MirrorClient, upstream: BadUpstream) -> None:
    def body(content: bytes) -> bytes:
        return b"".join(line("demo", f"1.{number}.0", content) + b"\n" for number in range(50))

    upstream.script_index("demo", bad_upstream.file(body(b"one")), bad_upstream.file(body(b"other")))
    mirror.index_file("demo")
    CachedIndexFile.objects.update(checked_at=index_cache.EPOCH)
    with pytest.raises(UpstreamError, match="the checksum of 1"):
        index_cache.refresh_if_stale("de/mo/demo")
    assert count_incidents() == [("changed", "demo", 1)]


def test_unreachable_upstream_is_a_fault(mirror: MirrorClient, settings: Any) -> None:
    settings.MIRROR_UPSTREAM = [f"http://127.0.0.1:{free_port()}/index/"]
    assert mirror.index_file("demo").status_code == 502
    assert count_incidents() == [("fault", settings.MIRROR_UPSTREAM[0], 1)]


def test_fault_is_a_line_of_the_log(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MIRROR_TOKENS = {upstream.url: "s3cret"}
    closed_port = free_port()
    upstream.script_index("demo0", bad_upstream.refusal(500))
    upstream.script_index("demo1", bad_upstream.file(b"<html>We are being repaired.</html>\n"))
    settings.MIRROR_TIMEOUT = 0.3
    upstream.script_index("demo2", bad_upstream.hang)
    mirror.index_file("demo0"), mirror.index_file("demo1"), mirror.index_file("demo2")
    settings.MIRROR_UPSTREAM = [f"http://127.0.0.1:{closed_port}/index/"]
    mirror.index_file("demo3")
    lines = request_failures(caplog)
    assert {(line["service"], line["step"]) for line in lines} == {("mirror", "index")}
    assert [(line["host"], line["path"], line.get("status"), line["failure"]) for line in lines] == [
        (upstream.host, index_file_path("demo0"), 500, "unusable answer"),
        (upstream.host, index_file_path("demo1"), 200, "unusable answer"),
        (upstream.host, index_file_path("demo2"), None, "took too long"),
        (f"127.0.0.1:{closed_port}", index_file_path("demo3"), None, "not reached"),
    ]
    causes = ["it answers with 500", "it sends something else than an index file"]
    assert [line["cause"] for line in lines][:2] == causes
    assert "s3cret" not in str(lines)


def test_absence_is_no_line_of_the_log(
    mirror: MirrorClient, upstream: BadUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    assert mirror.index_file("demo").status_code == 404
    assert request_failures(caplog) == []


# --- Names that are never looked up --------------------------------------------------------------------------------

ODD_PATHS = [
    "se/rd/serde/",
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
]
ODD_CRATES = ["..", "%2e%2e", "ser%00de", "ser%20de", "a/b", "a%2Fb", "s" * 65]
ODD_VERSIONS = ["9.9.9", "..", "%2e%2e", "1.0.0%00", "1.0.0%2F..", "%20", "1.0.0/..", "v1.0.0"]


def test_misspelt_paths_share_one_index_file(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("serde")
    body = mirror.index_file("serde").content
    paths = ("serde", "se/rd/SERDE", "SE/RD/SERDE", "xx/yy/serde", "3/s/serde", "/se/rd/serde", "se//rd/serde")
    assert {path: mirror.get(f"/mirror/index/{path}").content for path in paths} == dict.fromkeys(paths, body)
    assert len(upstream.requests) == 1


def test_odd_paths_are_never_looked_up(mirror: MirrorClient, upstream: BadUpstream) -> None:
    offenders = []
    urls = [f"/mirror/index/{path}" for path in ODD_PATHS]
    urls += [f"/ktra/api/v1/mirror/{name}/1.0.0/download" for name in ODD_CRATES]
    for url in urls:
        response = mirror.get(url)
        if response.status_code != (400 if "%00" in url else 404) or set(response.json()) != {"errors"}:
            offenders.append((url, response.status_code))
    assert (offenders, upstream.requests) == ([], [])


def test_unknown_versions_are_never_fetched(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo")
    statuses = {version: mirror.crate("demo", version).status_code for version in ODD_VERSIONS}
    assert statuses == {version: 400 if "%00" in version else 404 for version in ODD_VERSIONS}
    assert set(upstream.request_counts()) == {index_file_path("demo")}


def test_odd_versions_ask_nobody(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo")
    for version in ("latest", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0+", "1.0.0.0", "1" * 200, "1.0.0 "):
        assert mirror.crate("demo", version).status_code == 404, version
    assert upstream.requests == []


def test_private_crate_is_never_looked_up(mirror: MirrorClient, upstream: BadUpstream, as_alice: CargoClient) -> None:
    assert as_alice.publish(packing.body("my-lib")).status_code == 200
    upstream.requests.clear()
    for name in ("my-lib", "my_lib", "MY-LIB", "My_Lib"):
        upstream.publish(name)
        for response in (mirror.index_file(name), mirror.crate(name)):
            assert response.status_code == 404
            assert "my-lib is a crate of this registry itself" in response.json()["errors"][0]["detail"]
    assert upstream.requests == []


def test_reserved_name_is_never_looked_up(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.PRIVATE_NAMES = ["corp-*", "Exactly"]
    for name in ("corp-tool", "corp_tool", "Corp-Tool", "exactly", "EXACTLY"):
        for response in (mirror.index_file(name), mirror.crate(name)):
            assert response.status_code == 404
            assert "private to this registry (REGISTRY_PRIVATE_NAMES)" in response.json()["errors"][0]["detail"]
    assert upstream.requests == []


# --- Headers -------------------------------------------------------------------------------------------------------


def test_upstream_learns_nothing_about_clients(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream, alice: User, settings: Any
) -> None:
    settings.MIRROR_TOKENS = {upstream.url: "the-token-of-the-first"}
    second.publish("demo", BYTES)
    client = MirrorClient(alice)
    client.cookies["sessionid"] = "a cookie"
    headers = {"User-Agent": "cargo/1", "X-Forwarded-For": "192.0.2.1", "Referer": "http://a/", "X-Word": "one"}
    assert client.crate("demo", **headers).body == BYTES
    usual = {"user-agent": "entrepot-registry", "accept-encoding": "identity"}
    (request,) = upstream.requests
    assert request.headers == {"host": upstream.host, "authorization": "the-token-of-the-first", **usual}
    assert len(second.requests) == 3
    assert all(request.headers == {"host": second.host, **usual} for request in second.requests)
