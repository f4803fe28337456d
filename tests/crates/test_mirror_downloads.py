"""Crates of the mirror, in front of scripted upstreams: served whole, in part, from elsewhere, or refused."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from accounts.models import User
from crates.mirror import index_cache
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident
from registry_site.environment import parse_hosts
from registry_site.errors import UpstreamError
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream, Behaviour, crate_path, line
from tests.support.log_lines import request_failures
from tests.support.mirror_client import MirrorClient, upstream_fails
from tests.support.mirror_faults import BROKEN, SLOW
from tests.support.mirror_store import read_files

BYTES = b"the bytes of a crate"

# --- Served --------------------------------------------------------------------------------------------------------


def test_crate_is_served_as_upstream_has_it(mirror: MirrorClient, upstream: BadUpstream, mirror_bytes: Path) -> None:
    upstream.publish("demo", BYTES)
    for _ in range(2):
        response = mirror.crate("demo")
        assert response.status_code == 200
        assert response["Content-Type"] == "application/x-tar"
        assert response["Content-Length"] == str(len(BYTES))
        assert response.body == BYTES
    assert read_files(mirror_bytes) == {hashlib.sha256(BYTES).hexdigest(): BYTES}
    assert upstream.request_counts()[crate_path("demo")] == 1
    assert not Incident.objects.exists()


def test_lost_bytes_are_fetched_again(mirror: MirrorClient, upstream: BadUpstream, mirror_bytes: Path) -> None:
    upstream.publish("demo", BYTES)
    url = "/ktra/api/v1/mirror/demo/1.0.0/download"
    for request in (mirror.crate, lambda: mirror.head(url)):
        assert mirror.crate().body == BYTES
        next(path for path in mirror_bytes.rglob("*") if path.is_file()).unlink()
        assert request().status_code == 200
        assert read_files(mirror_bytes) == {hashlib.sha256(BYTES).hexdigest(): BYTES}
    assert Incident.objects.get().count == 2


def test_use_is_written_once_a_day(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", BYTES)
    mirror.crate("demo")
    for hours, is_written in ((23, False), (25, True)):
        used_at = timezone.now() - timedelta(hours=hours)
        CachedCrate.objects.update(last_used_at=used_at)
        mirror.crate("demo")
        assert (CachedCrate.objects.get().last_used_at != used_at) == is_written


def test_part_of_a_crate_is_served(mirror: MirrorClient, upstream: BadUpstream) -> None:
    parts = {
        "bytes=0-2": (206, BYTES[:3]),
        "bytes=4-": (206, BYTES[4:]),
        "bytes=-3": (206, BYTES[-3:]),
        "bytes=0-1,4-5": (200, BYTES),
        "bytes=x": (200, BYTES),
    }
    for number, (value, expected) in enumerate(parts.items()):
        upstream.publish(f"demo{number}", BYTES)
        for response in (mirror.crate(f"demo{number}", Range=value), mirror.crate(f"demo{number}", Range=value)):
            assert (response.status_code, response.body) == expected, value


def test_part_beyond_the_end_is_refused(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", BYTES)
    response = mirror.crate("demo", Range="bytes=1000-")
    assert (response.status_code, response["Content-Range"]) == (416, f"bytes */{len(BYTES)}")


def test_new_crate_needs_free_space(
    mirror: MirrorClient,
    upstream: BadUpstream,
    mirror_bytes: Path,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upstream.publish("demo", BYTES)
    upstream.publish("cached", BYTES)
    mirror.crate("cached")
    settings.MIN_FREE_SPACE = 10**15
    response = mirror.crate("demo")
    assert (response.status_code, response["Retry-After"], set(response.json())) == (503, "60", {"errors"})
    assert mirror.crate("cached").status_code == 200
    assert not Incident.objects.exists()  # that is no fault of upstream
    assert request_failures(caplog) == []
    assert CachedCrate.objects.count() == 1


def test_longest_version_is_served(mirror: MirrorClient, upstream: BadUpstream) -> None:
    longest = "1.0.0-" + "a" * 144
    upstream.publish("long", BYTES, longest)
    upstream.publish("longer", BYTES, f"{longest}a")
    assert mirror.crate("long", longest).body == BYTES
    assert mirror.crate("longer", f"{longest}a").status_code == 404


def test_empty_crate_is_served(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", b"")
    assert mirror.crate("demo").body == b""


# --- Faults --------------------------------------------------------------------------------------------------------

WRONG: list[Behaviour] = [
    bad_upstream.file(b"other bytes"),
    bad_upstream.file(BYTES[:-1]),
    bad_upstream.file(BYTES + b"\0"),
    bad_upstream.file(b""),
    bad_upstream.truncated_without_length(BYTES),
    bad_upstream.gzipped(BYTES),
]


def test_wrong_bytes_are_neither_stored_nor_sent(
    mirror: MirrorClient, upstream: BadUpstream, mirror_bytes: Path
) -> None:
    for number, behaviour in enumerate(WRONG):
        upstream.publish(f"demo{number}", BYTES)
        upstream.script_crate(f"demo{number}", "1.0.0", behaviour)
        for response in (mirror.crate(f"demo{number}"), mirror.crate(f"demo{number}")):
            assert response.status_code == 502, behaviour.__name__
            assert response.json() == upstream_fails("it sends other bytes than its index says")
        incident = Incident.objects.get()
        assert (incident.kind, incident.subject, incident.count) == ("wrong_bytes", upstream.url, 2 * number + 2)
        assert incident.detail.startswith(f"demo{number}@1.0.0: it sends other bytes than its index says (")
    assert read_files(mirror_bytes) == {}
    assert not CachedCrate.objects.exists()


def test_bytes_of_a_changed_checksum_are_its_incident(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", BYTES)
    mirror.index_file("demo")
    upstream.publish("demo", b"other bytes")
    CachedIndexFile.objects.update(checked_at=index_cache.EPOCH)
    with pytest.raises(UpstreamError, match="the checksum of 1"):
        index_cache.refresh_if_stale("de/mo/demo")
    assert [mirror.crate("demo").status_code for _ in range(2)] == [502, 502]
    incident = Incident.objects.get()
    assert (incident.kind, incident.subject, incident.count) == ("changed", "demo", 3)
    assert incident.detail.startswith("the checksum of 1.0.0 was ")


def test_changed_checksum_is_noticed_at_the_download(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", BYTES)
    mirror.index_file("demo")
    upstream.publish("demo", b"other bytes")
    assert mirror.crate("demo").status_code == 502
    assert [(row.kind, row.subject) for row in Incident.objects.all()] == [("changed", "demo")]


def test_faulty_crate_is_not_cached(
    mirror: MirrorClient, upstream: BadUpstream, mirror_bytes: Path, settings: Any
) -> None:
    offenders = []
    for number, behaviour in enumerate([*SLOW, *BROKEN]):
        name = f"demo{number}"
        settings.MIRROR_TIMEOUT = 10
        upstream.publish(name, BYTES)
        assert mirror.index_file(name).status_code == 200
        settings.MIRROR_TIMEOUT = 0.2 if behaviour in SLOW else 10
        upstream.script_crate(name, "1.0.0", behaviour)
        response = mirror.crate(name)
        if response.status_code != 502 or b"The mirror's upstream fails: " not in response.content:
            offenders.append((behaviour.__name__, response.status_code))
        incident = Incident.objects.get()
        assert (incident.kind, incident.subject, incident.count) == ("fault", upstream.url, number + 1)
        assert incident.detail.startswith(f"{name}@1.0.0: ")
    assert offenders == []
    assert read_files(mirror_bytes) == {}
    assert not CachedCrate.objects.exists()


def test_crate_that_deceives_cargo_is_refused(mirror: MirrorClient, upstream: BadUpstream, mirror_bytes: Path) -> None:
    broken = packing.crate()[:-9]
    cases = {b"2": "a symbolic link", b"1": "a hard link", b"K": "a GNU long link name"}
    crates = {packing.crate_around(packing.entry(kind=kind, linkname=b"/etc")): text for kind, text in cases.items()}
    second = packing.crate_around(packing.entry("demo-1.0.0/./Cargo.toml"))
    for number, (content, reason) in enumerate(
        {**crates, second: "two files Cargo.toml", broken: "is cut off"}.items()
    ):
        upstream.publish(f"demo{number}", content)
        response = mirror.crate(f"demo{number}")
        assert response.status_code == 502
        detail = response.json()["errors"][0]["detail"]
        assert ("it sends an archive that is refused here" in detail, reason in detail) == (True, True), detail
    assert [str(incident) for incident in Incident.objects.all()] == [
        f"{upstream.url}: an archive that is refused here"
    ]
    assert read_files(mirror_bytes) == {}


def test_next_request_after_a_fault_succeeds(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", BYTES)
    upstream.script_crate("demo", "1.0.0", bad_upstream.truncated(BYTES), WRONG[0], bad_upstream.file(BYTES))
    assert [mirror.crate("demo").status_code for _ in range(2)] == [502, 502]
    assert mirror.crate("demo").body == BYTES


def test_absent_crate_is_missing(mirror: MirrorClient, upstream: BadUpstream) -> None:
    for status, expected in {403: 404, 404: 404, 410: 410, 451: 451}.items():
        name = f"demo{status}"
        upstream.publish(name)
        upstream.script_crate(name, "1.0.0", bad_upstream.refusal(status))
        response = mirror.crate(name)
        assert response.status_code == expected
        assert response.json() == {
            "errors": [{"detail": f"There is no version '1.0.0' of a crate '{name}' in the mirror."}]
        }


# --- Where files are -----------------------------------------------------------------------------------------------


def script_downloads(upstream: BadUpstream, template: str) -> None:
    upstream.script("/index/config.json", bad_upstream.file(json.dumps({"dl": template}).encode()))


def test_unusable_config_is_a_fault(mirror: MirrorClient, upstream: BadUpstream) -> None:
    configs = [
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
    ]
    upstream.publish("demo")
    upstream.script("/index/config.json", *(bad_upstream.file(config) for config in configs))
    assert {config: mirror.crate("demo").status_code for config in configs} == dict.fromkeys(configs, 502)
    assert upstream.request_counts()["/index/config.json"] == len(configs)
    assert not CachedCrate.objects.exists()


def test_config_is_fetched_once(mirror: MirrorClient, upstream: BadUpstream) -> None:
    for name in ("one1", "two2"):
        upstream.publish(name, BYTES)
        assert mirror.crate(name).body == BYTES
    assert upstream.request_counts()["/index/config.json"] == 1


def test_every_marker_of_the_template_is_replaced(mirror: MirrorClient, upstream: BadUpstream) -> None:
    templates = {
        "mycrate": ("MyCrate", "/My/Cr/my/cr/MyCrate-1.0.0+a/"),
        "abc": ("Abc", "/3/A/3/a/Abc-1.0.0+a/"),
        "ab": ("aB", "/2/2/aB-1.0.0+a/"),
    }
    markers = "{prefix}/{lowerprefix}/{crate}-{version}/{sha256-checksum}"
    script_downloads(upstream, f"http://{upstream.host}/{markers}")
    for name, (spelling, folder) in templates.items():
        upstream.script_index(name, bad_upstream.file(line(spelling, "1.0.0+a", BYTES)))
        path = folder + hashlib.sha256(BYTES).hexdigest()
        upstream.script(path, bad_upstream.file(BYTES))
        assert mirror.crate(name, "1.0.0+a").body == BYTES
        assert upstream.requests[-1].path == path


def test_line_cannot_name_another_crate(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.script_index("demo", bad_upstream.file(line("elsewhere", "1.0.0", BYTES)))
    upstream.script_crate("demo", "1.0.0", bad_upstream.file(BYTES))
    assert mirror.crate("demo").body == BYTES


def test_broken_storage_spares_upstream(mirror: MirrorClient, upstream: BadUpstream, mirror_bytes: Path) -> None:
    upstream.publish("demo", BYTES)
    mirror_bytes.write_text("a file in the place of the directory")
    for _ in range(3):
        response = mirror.crate("demo")
        assert response.status_code == 503
        assert "cannot store files at present" in response.json()["errors"][0]["detail"]
    assert upstream.request_counts()[crate_path("demo")] == 1
    mirror_bytes.unlink()
    cache.clear()  # as after ten seconds
    assert mirror.crate("demo").body == BYTES


def test_redirect_to_another_host_is_refused(mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream) -> None:
    upstream.publish("demo", BYTES)
    second.script("/bytes", bad_upstream.file(BYTES))
    upstream.script_crate("demo", "1.0.0", bad_upstream.redirect(f"http://{second.host}/bytes"))
    reason = f"it redirects to http://{second.host}, which needs REGISTRY_MIRROR_HOSTS"
    assert mirror.crate("demo").json() == upstream_fails(reason)
    assert second.requests == []


def test_redirect_to_an_allowed_host_is_followed(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream, settings: Any
) -> None:
    settings.MIRROR_TOKENS = {upstream.url: "secret"}
    settings.MIRROR_HOSTS = parse_hosts("127.0.0.0/8")
    upstream.publish("demo", BYTES)
    second.script("/bytes", bad_upstream.file(BYTES))
    upstream.script_crate("demo", "1.0.0", bad_upstream.redirect(f"http://{second.host}/bytes"))
    assert mirror.crate("demo").body == BYTES
    assert "authorization" not in second.requests[-1].headers


def test_shared_caches_may_not_keep_private_crates(
    alice: User, mirror: MirrorClient, upstream: BadUpstream, settings: Any
) -> None:
    settings.AUTH_REQUIRED = True
    upstream.publish("demo", BYTES)
    assert mirror.crate("demo").status_code == 401
    response = MirrorClient(alice).crate("demo")
    assert response["Cache-Control"] == "private, max-age=31536000, immutable"


def test_redirected_crate_is_stored_once_whole(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", BYTES)
    upstream.script_crate("demo", "1.0.0", bad_upstream.redirect("/elsewhere"))
    upstream.script("/elsewhere", bad_upstream.file(BYTES))
    assert mirror.crate("demo").body == BYTES


def test_log_says_who_failed_without_the_query(
    mirror: MirrorClient, upstream: BadUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.publish("demo", BYTES)
    upstream.script_crate("demo", "1.0.0", bad_upstream.redirect("/files/demo?signature=s3cret"))
    upstream.script("/files/demo?signature=s3cret", bad_upstream.refusal(503))
    good_config = bad_upstream.file(json.dumps({"dl": f"http://{upstream.host}/dl"}).encode())
    upstream.script("/index/config.json", bad_upstream.refusal(500), good_config)
    assert [mirror.crate("demo").status_code for _ in range(2)] == [502, 502]
    lines = request_failures(caplog)
    assert [(line["step"], line["path"], line["status"], line["cause"]) for line in lines] == [
        ("config", "/index/config.json", 500, "its config.json is answered with 500"),
        ("crate", "/files/demo", 503, "it answers with 503"),
    ]
    assert {(line["service"], line["host"], line["upstream"]) for line in lines} == {
        ("mirror", upstream.host, upstream.url)
    }
    assert "s3cret" not in str(lines)


def test_log_has_the_words_of_upstream(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """But neither the token nor the signature of an address, which it may quote."""
    settings.MIRROR_TOKENS = {upstream.url: "s3cret"}
    upstream.publish("demo", BYTES)
    upstream.script_crate("demo", "1.0.0", bad_upstream.redirect("/files/demo?signature=s1gned%2B"))
    quotation = b'{"error":\n"s3cret is no good,\0 nor s1gned+ in signature=s1gned%2B"}' + b"x" * 1000
    upstream.script("/files/demo?signature=s1gned%2B", bad_upstream.file(quotation, 401))
    assert mirror.crate("demo").json() == upstream_fails("it answers with 401")
    (line,) = request_failures(caplog)
    assert line["answer"].startswith('{"error": "… is no good, nor … in …"}xxx')
    assert len(line["answer"]) == 200


def test_token_stays_with_the_configured_host(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream, settings: Any
) -> None:
    settings.MIRROR_TOKENS = {upstream.url: "secret"}
    settings.MIRROR_HOSTS = parse_hosts("127.0.0.1")
    upstream.publish("demo", BYTES)
    second.script_crate("demo", "1.0.0", bad_upstream.file(BYTES))
    script_downloads(upstream, f"http://{second.host}/dl")
    assert mirror.crate("demo").body == BYTES
    assert {request.headers.get("authorization") for request in upstream.requests} == {"secret"}
    assert [request.headers.get("authorization") for request in second.requests] == [None]


def test_other_spelling_of_the_host_is_itself(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_TOKENS = {upstream.url: "secret"}
    upstream.publish("demo", BYTES)
    script_downloads(upstream, f"HTTP://{upstream.host.replace(':', ':0')}/dl")
    assert mirror.crate("demo").body == BYTES
    assert upstream.requests[-1].headers["authorization"] == "secret"


def test_files_on_a_private_address_are_not_fetched(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream
) -> None:
    upstream.publish("demo", BYTES)
    second.script_crate("demo", "1.0.0", bad_upstream.file(BYTES))
    script_downloads(upstream, f"http://{second.host}/dl")
    reason = "127.0.0.1 has the private address 127.0.0.1, which needs REGISTRY_MIRROR_HOSTS"
    assert mirror.crate("demo").json() == upstream_fails(reason)
    assert second.requests == []


def test_allowed_name_may_have_a_private_address(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream, settings: Any
) -> None:
    settings.MIRROR_HOSTS = parse_hosts("localhost")
    upstream.publish("demo", BYTES)
    second.script_crate("demo", "1.0.0", bad_upstream.file(BYTES))
    script_downloads(upstream, f"http://{second.host.replace('127.0.0.1', 'localhost')}/dl")
    assert mirror.crate("demo").body == BYTES


def test_files_on_another_upstream_are_not_fetched(
    mirror: MirrorClient, upstream: BadUpstream, second: BadUpstream
) -> None:
    second.publish("other", BYTES)
    assert mirror.crate("other").body == BYTES
    upstream.publish("demo", BYTES)
    script_downloads(upstream, f"http://{second.host}/dl")
    second.script_crate("demo", "1.0.0", bad_upstream.file(b"not for the first"))
    assert mirror.crate("demo").status_code == 502
    assert crate_path("demo") not in second.request_counts()
