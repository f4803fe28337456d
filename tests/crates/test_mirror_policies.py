"""Policies of the mirror, as cargo and people see them: age, deny list, advisories, licenses, and all together."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from crates.mirror import concurrency, policies
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident
from registry_site.upstream_limiter import limiter
from tests.support import bad_upstream
from tests.support.bad_upstream import BadUpstream, Behaviour, crate_path, line
from tests.support.mirror_client import MirrorClient
from tests.support.mirror_policies import (
    BLOCKED,
    EXEMPT,
    add_advisory,
    add_override,
    ago,
    crate,
    fetched_versions,
    publish,
    set_all_policies,
)

# --- Off -----------------------------------------------------------------------------------------------------------


def test_without_policies_the_index_is_unchanged(mirror: MirrorClient, upstream: BadUpstream) -> None:
    body = publish(upstream, {"1.0.0": {"pubtime": ago(days=-1), "license": ""}, "1.1.0": {"yanked": True}})
    response = mirror.index_file()
    assert (response.content, "Last-Modified" in response) == (body, True)
    assert mirror.reasons() == {}
    assert crate_path("demo", "1.0.0") not in upstream.request_counts()


def test_future_time_passes_without_the_age_policy(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_DENYLIST = ["other"]
    publish(upstream, {"1.0.0": {"pubtime": ago(days=-1)}})
    add_override(BLOCKED, "=2.0.0")
    assert (mirror.yanked(), mirror.reasons()) == ([], {})


def test_ambiguous_policy_stops_the_start(settings: Any) -> None:
    bad = [
        ("MIRROR_DENYLIST", ["@1"]),
        ("MIRROR_DENYLIST", ["time@", "<0.2"]),
        ("MIRROR_DENYLIST", ["<0.2"]),
        ("MIRROR_DENYLIST", ["time,", "rand"]),
        ("MIRROR_DENYLIST", ["évil"]),
        ("MIRROR_DENYLIST", ["time@1@2"]),
        ("MIRROR_LICENSES", ["MIT,", "Apache-2.0"]),
        ("MIRROR_LICENSES", ["MIT/Apache-2.0"]),
        ("MIRROR_ADVISORIES", ["/"]),
    ]
    for name, value in bad:
        good = getattr(settings, name)
        setattr(settings, name, value)
        with pytest.raises(ImproperlyConfigured, match=f"REGISTRY_{name}="):
            policies.check_settings()
        setattr(settings, name, good)
    policies.check_settings()


# --- Age -----------------------------------------------------------------------------------------------------------


def test_young_versions_are_quarantined(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 14
    young = [ago(days=13.99), ago(days=0), ago(days=-400), "9999-12-31T23:59:59Z"]
    old = [
        ago(days=14, minutes=1),
        "9999-12-31T23:59:59-23:59",  # beyond all time
        "0001-01-01T00:00:00+01:00",
        "2020-01-01T00:00:00Z",
        "yesterday",
        None,
    ]
    versions = {f"1.{number}.0": {"pubtime": pubtime} for number, pubtime in enumerate([*young, *old])}
    publish(upstream, {**versions, "2.0.0": {}})
    expected = [f"1.{number}.0" for number in range(len(young))]
    assert mirror.yanked() == list(reversed(mirror.reasons())) == expected
    assert mirror.page().status_code == 200


def test_reason_has_the_day_in_utc(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 3650
    publish(upstream, {"1.0.0": {"pubtime": "2026-01-02T01:30:00+03:00"}})
    assert mirror.reasons() == {"1.0.0": "It was published on 2026-01-01, and is held back for 3650 days."}


def test_old_enough_version_is_offered(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 2
    publish(upstream, {"1.0.0": {"pubtime": ago(days=1)}})
    young = mirror.index_file()
    settings.MIRROR_MIN_AGE_DAYS = 1
    old = mirror.index_file("demo", **{"If-None-Match": young["ETag"]})
    assert (old.status_code, json.loads(old.content)["yanked"]) == (200, False)


# --- Deny list -----------------------------------------------------------------------------------------------------


def test_deny_list_quarantines_names_and_ranges(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    everything = ["1.0.0-a", "1.0.0", "1.1.0+b", "odd"]
    cases = [
        (["some-crate"], everything),
        (["SOME_Crate"], everything),
        (["some*"], everything),
        (["*"], everything),
        (["*_crat?"], everything),
        (["some-crate@*"], everything),
        (["some", "crate", "some-crate-", "some-crate-*"], []),
        (["some-crate@<1.0.0"], ["1.0.0-a"]),
        (["some-crate@=1.1.0"], ["1.1.0+b"]),
        (["some-*@>1.0.0,<2", "other"], ["1.1.0+b"]),
        (["some-crate@=1.0.0", "some_crate@1.1"], ["1.0.0", "1.1.0+b"]),
    ]
    publish(upstream, {version: {} for version in everything}, "Some-Crate")
    for words, expected in cases:
        settings.MIRROR_DENYLIST = words
        assert mirror.yanked("some-crate") == expected, words


def test_every_matching_denial_is_a_reason(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_DENYLIST = ["de*", "demo@<2"]
    publish(upstream, {"1.0.0": "MIT"})
    assert mirror.reasons() == {"1.0.0": "It is on the deny list, as de*. It is on the deny list, as demo@<2."}


# --- Advisories ----------------------------------------------------------------------------------------------------


def test_new_advisory_quarantines_at_once(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    settings.MIRROR_ADVISORIES = [str(tmp_path)]
    publish(upstream, {"1.0.0": "MIT", "1.2.0": "MIT"})
    assert mirror.yanked() == []
    add_advisory(tmp_path, patched='[">= 1.2.0"]')
    assert mirror.yanked() == ["1.0.0"]
    assert mirror.reasons() == {"1.0.0": "RUSTSEC-2026-0001 is against it: It breaks."}


# --- Licenses ------------------------------------------------------------------------------------------------------


@pytest.fixture
def mit_only(settings: Any) -> None:
    settings.MIRROR_LICENSES = ["MIT"]


@pytest.mark.usefixtures("mit_only")
def test_allowed_license_costs_one_file(mirror: MirrorClient, upstream: BadUpstream) -> None:
    body = publish(upstream, {"1.0.0": "GPL-3.0", "1.1.0": "MIT", "1.2.0": "MIT OR GPL-3.0"})
    for _ in range(2):
        assert mirror.index_file().content == body
    assert fetched_versions(upstream) == ["1.2.0"]


@pytest.mark.usefixtures("mit_only")
def test_newest_under_another_license_is_quarantined(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": "MIT", "1.1.0": "MIT", "2.0.0": "GPL-3.0", "2.1.0": ""})
    assert mirror.yanked() == ["2.0.0", "2.1.0"]
    assert fetched_versions(upstream) == ["2.1.0", "2.0.0", "1.1.0"]
    assert mirror.reasons() == {
        "2.0.0": "Its license is GPL-3.0, which is not allowed here.",
        "2.1.0": "Its license is not stated, which is not allowed here.",
    }


@pytest.mark.usefixtures("mit_only")
def test_three_files_are_fetched_per_request(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": "MIT", "1.1.0": "GPL", "1.2.0": "GPL", "1.3.0": "GPL", "1.4.0": "GPL"})
    assert mirror.yanked() == ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"]
    assert fetched_versions(upstream) == ["1.4.0", "1.3.0", "1.2.0"]
    assert mirror.yanked() == ["1.1.0", "1.2.0", "1.3.0", "1.4.0"]
    assert fetched_versions(upstream)[3:] == ["1.1.0", "1.0.0"]


@pytest.mark.usefixtures("mit_only")
def test_only_versions_cargo_may_choose_are_fetched(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_DENYLIST, settings.MIRROR_MIN_AGE_DAYS = ["demo@=1.3.0"], 1
    add_override(EXEMPT, "=1.2.0")
    publish(
        upstream,
        {
            "1.1.0": {},
            "1.2.0": "GPL",
            "1.3.0": {},
            "1.4.0": {"yanked": True},
            "1.5.0": {"pubtime": ago(hours=1)},
            "2.0.0-rc.1": {},
        },
    )
    assert mirror.yanked() == ["1.3.0", "1.4.0", "1.5.0"]
    assert fetched_versions(upstream) == ["1.1.0"]


@pytest.mark.usefixtures("mit_only")
def test_prerelease_has_the_license_of_the_newest(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": "MIT", "2.0.0": "GPL", "3.0.0-rc": "GPL"})
    assert mirror.yanked() == ["2.0.0", "3.0.0-rc"]
    assert fetched_versions(upstream) == ["2.0.0", "1.0.0"]


@pytest.mark.usefixtures("mit_only")
def test_absent_newest_file_is_skipped(mirror: MirrorClient, upstream: BadUpstream) -> None:
    for status in (403, 404, 410, 451):
        name = f"demo{status}"
        publish(upstream, {"1.0.0": "MIT", "1.1.0": "MIT", "1.2.0": "MIT"}, name)
        upstream.script_crate(name, "1.2.0", bad_upstream.refusal(status))
        for _ in range(2):
            assert mirror.yanked(name) == []
        assert fetched_versions(upstream, name) == ["1.2.0", "1.1.0"]


@pytest.mark.usefixtures("mit_only")
def test_absent_files_count_towards_the_limit(mirror: MirrorClient, upstream: BadUpstream) -> None:
    versions = [f"1.{minor}.0" for minor in range(6)]
    publish(upstream, dict.fromkeys(versions, "MIT"))
    for version in versions[1:]:
        upstream.script_crate("demo", version, bad_upstream.refusal(404))
    for _ in range(2):
        assert mirror.yanked() == versions
    assert fetched_versions(upstream) == ["1.5.0", "1.4.0", "1.3.0"]


@pytest.mark.usefixtures("mit_only")
def test_fault_quarantines_and_is_remembered(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    behaviours: list[Behaviour] = [
        bad_upstream.reset,
        bad_upstream.refusal(500),
        bad_upstream.file(b"x"),
        bad_upstream.hang,
    ]
    for number, behaviour in enumerate(behaviours):
        name = f"demo{number}"
        settings.MIRROR_TIMEOUT = 0.2 if behaviour is bad_upstream.hang else 10
        publish(upstream, {"1.0.0": "MIT", "1.1.0": "MIT"}, name)
        upstream.script_crate(name, "1.1.0", behaviour)
        for _ in range(3):
            assert mirror.yanked(name) == ["1.0.0", "1.1.0"]
        assert fetched_versions(upstream, name) == ["1.1.0"]
        reasons = set(mirror.reasons(name).values())
        assert reasons == {"Its license is not known yet, for its file could not be fetched."}
        assert Incident.objects.filter(detail__startswith=f"{name}@1.1.0: ").exists()


@pytest.mark.usefixtures("mit_only")
def test_license_is_fetched_when_upstream_recovers(mirror: MirrorClient, upstream: BadUpstream) -> None:
    body = publish(upstream, {"1.0.0": "MIT"})
    good = bad_upstream.file(crate("demo", "1.0.0", "MIT"))
    upstream.script_crate("demo", "1.0.0", bad_upstream.reset, good)
    assert mirror.yanked() == ["1.0.0"]
    cache.clear()  # as after RETRY_AFTER_FAULT
    assert mirror.index_file().content == body


@pytest.mark.usefixtures("mit_only")
def test_missing_slot_is_not_remembered(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = publish(upstream, {"1.0.0": "MIT"})
    settings.THREADS = 1
    CachedIndexFile.objects.create(path="de/mo/demo", name="demo", upstream=upstream.url, status=200, body=body)
    with monkeypatch.context() as patch:
        patch.setitem(limiter.slots, 0, (concurrency.MIRROR, time.monotonic() - 60))
        assert mirror.yanked() == ["1.0.0"]
    assert mirror.yanked() == []
    assert fetched_versions(upstream) == ["1.0.0"]


@pytest.mark.usefixtures("mit_only")
def test_unreadable_license_is_quarantined_but_served(mirror: MirrorClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", b"no archive")
    assert mirror.yanked() == ["1.0.0"]
    assert mirror.crate().body == b"no archive"


# --- All together --------------------------------------------------------------------------------------------------


def test_all_policies_count_together(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    set_all_policies(settings, tmp_path)
    add_advisory(tmp_path, patched='[">=1.1"]')
    publish(
        upstream,
        {
            "1.0.0": {},
            "1.4.0": {},
            "1.5.0": {},
            "1.6.0": "GPL",
            "1.7.0": {"pubtime": ago(days=1), "license": "GPL"},
        },
    )
    assert mirror.yanked() == ["1.0.0", "1.4.0", "1.6.0", "1.7.0"]
    assert mirror.reasons()["1.0.0"] == (
        "It is on the deny list, as demo@<1.5. RUSTSEC-2026-0001 is against it: It breaks."
    )
    assert fetched_versions(upstream) == ["1.6.0", "1.5.0"]


def test_quarantined_crate_is_still_served(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    set_all_policies(settings, tmp_path)
    publish(upstream, {"1.0.0": {"pubtime": ago(days=1), "license": "GPL"}})
    assert mirror.yanked() == ["1.0.0"]
    for _ in range(2):
        assert mirror.crate().body == crate("demo", "1.0.0", "GPL")


ODD_LINES = [
    b'{"name":"demo","vers":"1.1.0","cksum":"%s","x":["\\"yanked\\":false"], "yanked" : false, "d\xc3\xa9":"\\u00e9"}'
    % (b"0" * 64),
    b"no json",
    b'{"vers":"' + b"1" * 500 + b'","cksum":"00"}',
    b'{"vers":"2.0.0 ","cksum":"' + b"0" * 64 + b'"}',
    b"[" * 100_000,
    b"\xff\xfe",
]


def test_only_quarantined_lines_change(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_DENYLIST = ["demo@=1.1.0"]
    before = [line("demo", "1.0.0", b"x", deps=[{"req": " ^1 "}]), *ODD_LINES, line("demo", "1.2.0", b"y")]
    upstream.script_index("demo", bad_upstream.file(b"\n".join(before)))
    after = mirror.index_file().content.split(b"\n")
    assert after.pop() == b""
    changed = [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert changed == [1]
    assert json.loads(after[1]) == {**json.loads(before[1]), "yanked": True}


def test_deeply_nested_line_is_served(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_DENYLIST = ["*"]
    for depth in (900, 5000):
        name = f"demo{depth}"
        deep = line(name, "1.0.0", b"x").replace(b'"yanked":false', b'"x":' + b"[" * depth + b"]" * depth)
        upstream.script_index(name, bad_upstream.file(line(name, "0.9.0", b"x") + b"\n" + deep))
        assert mirror.index_file(name).status_code == mirror.page(name).status_code == 200


def count_queries(mirror: MirrorClient) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert mirror.index_file().status_code == 200
    return len(queries)


@pytest.mark.parametrize("number", [1, 50])
def test_queries_do_not_grow_with_versions(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, tmp_path: Path, number: int
) -> None:
    publish(upstream, {f"1.{minor}.0": {} for minor in range(number)})
    mirror.index_file()
    assert count_queries(mirror) == 3  # our own crates, the index file, its overrides
    set_all_policies(settings, tmp_path)
    settings.MIRROR_DENYLIST = []
    (tmp_path / "crates" / "demo" / "RUSTSEC-2026-0001.md").unlink()
    for minor in range(number):
        add_override(BLOCKED, f"=1.{minor}.7")
    mirror.index_file()
    assert count_queries(mirror) == 4  # and the cached licenses


def test_policies_count_offline(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    publish(upstream, {"1.0.0": {}, "1.1.0": "GPL", "1.2.0": {}, "1.3.0": {}})
    for version in ("1.0.0", "1.1.0", "1.3.0"):
        assert mirror.crate("demo", version).status_code == 200
    settings.MIRROR_OFFLINE = True
    settings.MIRROR_LICENSES, settings.MIRROR_DENYLIST = ["MIT"], ["demo@=1.3.0"]
    requests = len(upstream.requests)
    lines = [json.loads(text) for text in mirror.index_file().content.splitlines()]
    assert [(fields["vers"], fields["yanked"]) for fields in lines] == [
        ("1.0.0", False),
        ("1.1.0", True),
        ("1.3.0", True),
    ]
    assert [version["num"] for version in mirror.versions()] == ["1.3.0", "1.1.0", "1.0.0"]
    assert len(upstream.requests) == requests


def test_prefetch_follows_the_policies(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_DENYLIST = ["demo@=1.2.0"]
    add_override(BLOCKED, "=1.1.0")
    publish(upstream, {"1.0.0": "MIT", "1.1.0": "MIT", "1.2.0": "MIT"})
    call_command("mirror", "prefetch", "demo@1")
    assert [crate.version for crate in CachedCrate.objects.all()] == ["1.0.0"]
