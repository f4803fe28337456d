"""What the policies of the mirror hold back, and what staff decide, as cargo and people are told of it."""

import json
import time
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from crates.mirror import concurrency, overrides, policies
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident, Override
from crates.names import index_path
from registry_site.errors import Invalid
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream, Behaviour, crate_path, line
from tests.support.cast import PASSWORD, CargoClient

BLOCKED, EXEMPT = Override.Kind.BLOCKED, Override.Kind.EXEMPT
MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.fixture
def mirror(upstream: BadUpstream, tmp_path: Path, settings: Any, db: None) -> CargoClient:
    settings.MIRROR_UPSTREAM = [upstream.url]
    disk = {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": tmp_path / "mirror"}}
    settings.STORAGES = {**settings.STORAGES, "mirror": disk}
    cache.clear()
    return CargoClient()


def crate(name: str, version: str, license_: str) -> bytes:
    said = f"license = {json.dumps(license_)}" if license_ else 'license-file = "LICENSE"'
    return packing.crate(name, version, packing.manifest(name, version, said))


def publish(upstream: BadUpstream, name: str = "demo", /, **licenses: str) -> bytes:
    """Versions as `v1_0_0="MIT"`, those first that were published first → the file in the index."""
    return publish_with(
        upstream, {text[1:].replace("_", "."): {"license": said} for text, said in licenses.items()}, name
    )


def publish_with(upstream: BadUpstream, versions: dict[str, dict[str, Any]], name: str = "demo") -> bytes:
    """The fields of each version's line, and perhaps its `license`."""
    body = b""
    for version, fields in versions.items():
        content = crate(name, version, fields.get("license", "MIT"))
        said = {field: value for field, value in fields.items() if field != "license"}
        body += line(name, version, content, **said) + b"\n"
        upstream.script_crate(name, version, bad_upstream.file(content))
    upstream.script_index(name, bad_upstream.file(body, Last_Modified=MODIFIED))
    return body


def entry(mirror: Client, name: str = "demo", **headers: str) -> Any:
    return mirror.get(f"/mirror/index/{index_path(name)}", headers=headers)


def yanked(mirror: Client, name: str = "demo") -> list[str]:
    """The versions that cargo is told are yanked."""
    told = [json.loads(text) for text in entry(mirror, name).content.splitlines()]
    return [one["vers"] for one in told if one["yanked"]]


def reasons(mirror: Client, name: str = "demo") -> dict[str, str]:
    versions = mirror.get(f"/mirror/crates/{name}").json()["versions"]
    return {one["num"]: one["held_back"] for one in versions if one["held_back"]}


def download(mirror: Client, version: str, name: str = "demo") -> tuple[int, bytes]:
    response = mirror.get(f"/ktra/api/v1/mirror/{name}/{version}/download")
    return response.status_code, b"".join(response)


def page(client: Client, name: str = "demo") -> Any:
    return client.get(f"/mirror/crates/{name}", headers={"Accept": "text/html"})


def decide(kind: Override.Kind, requirement: str = "*", reason: str = "It is so.", **more: Any) -> Override:
    return overrides.create_override(kind, "demo", requirement, actor=None, reason=reason, **more)


def ago(**span: float) -> str:
    return (timezone.now() - timedelta(**span)).isoformat()


def advise(place: Path, name: str = "demo", patched: str = "[]", title: str = "It breaks") -> None:
    folder = place / "crates" / name
    folder.mkdir(parents=True, exist_ok=True)
    text = f'```toml\n[advisory]\nid = "RUSTSEC-2026-0001"\n[versions]\npatched = {patched}\n```\n# {title}\n'
    (folder / "RUSTSEC-2026-0001.md").write_text(text)


# --- Off ---------------------------------------------------------------------------------------------------------


def test_without_policies_all_is_upstreams(mirror: CargoClient, upstream: BadUpstream) -> None:
    body = publish_with(upstream, {"1.0.0": {"pubtime": ago(days=-1), "license": ""}, "1.1.0": {"yanked": True}})
    response = entry(mirror)
    assert (response.content, "Last-Modified" in response) == (body, True)
    assert reasons(mirror) == {}
    assert crate_path("demo", "1.0.0") not in upstream.request_counts()


def test_decision_about_another_crate_changes_nothing(mirror: CargoClient, upstream: BadUpstream) -> None:
    body = publish(upstream, v1_0_0="MIT")
    overrides.create_override(BLOCKED, "demo-2", "*", actor=None, reason="It is so.")
    assert entry(mirror).content == body
    assert "Last-Modified" in entry(mirror)


@pytest.mark.parametrize("moment", [-1, 10**6])
def test_time_to_come_is_no_reason_without_the_policy(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, moment: int
) -> None:
    settings.MIRROR_DENYLIST = ["other"]
    publish_with(upstream, {"1.0.0": {"pubtime": ago(days=-1)}})
    decide(BLOCKED, "=2.0.0")
    assert (yanked(mirror), reasons(mirror)) == ([], {})


BAD_SETTINGS = [
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


@pytest.mark.parametrize(("name", "value"), BAD_SETTINGS, ids=str)
def test_policy_that_would_not_be_what_was_meant_stops_the_start(settings: Any, name: str, value: list[str]) -> None:
    setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured, match=f"REGISTRY_{name}="):
        policies.check_settings()


# --- Age ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pubtime", "young"),
    [
        (ago(days=14, minutes=1), False),
        (ago(days=13.99), True),
        (ago(days=0), True),
        (ago(days=-400), True),
        ("9999-12-31T23:59:59Z", True),
        ("9999-12-31T23:59:59-23:59", False),  # beyond all time
        ("0001-01-01T00:00:00+01:00", False),
        ("2020-01-01T00:00:00Z", False),
        ("yesterday", False),
        (None, False),
    ],
    ids=["just-old", "nearly", "now", "to-come", "last", "too-late", "too-early", "old", "no-time", "none"],
)
def test_young_version_is_held_back(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, pubtime: str | None, young: bool
) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 14
    publish_with(upstream, {"1.0.0": {}, "1.1.0": {"pubtime": pubtime}})
    assert yanked(mirror) == list(reasons(mirror)) == (["1.1.0"] if young else [])
    assert page(mirror).status_code == 200


def test_day_of_publication_is_told_in_utc(mirror: CargoClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 3650
    publish_with(upstream, {"1.0.0": {"pubtime": "2026-01-02T01:30:00+03:00"}})
    assert reasons(mirror) == {"1.0.0": "It was published on 2026-01-01, and is held back for 3650 days."}


def test_version_is_offered_when_it_is_old_enough(mirror: CargoClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 2
    publish_with(upstream, {"1.0.0": {"pubtime": ago(days=1)}})
    young = entry(mirror)
    settings.MIRROR_MIN_AGE_DAYS = 1
    old = entry(mirror, **{"If-None-Match": young["ETag"]})
    assert (old.status_code, json.loads(old.content)["yanked"]) == (200, False)


# --- The deny list -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "denied"),
    [
        (["some-crate"], "1.0.0-a 1.0.0 1.1.0+b odd"),
        (["SOME_Crate"], "1.0.0-a 1.0.0 1.1.0+b odd"),
        (["some*"], "1.0.0-a 1.0.0 1.1.0+b odd"),
        (["*"], "1.0.0-a 1.0.0 1.1.0+b odd"),
        (["*_crat?"], "1.0.0-a 1.0.0 1.1.0+b odd"),
        (["some-crate@*"], "1.0.0-a 1.0.0 1.1.0+b odd"),
        (["some", "crate", "some-crate-", "some-crate-*"], ""),
        (["some-crate@<1.0.0"], "1.0.0-a"),
        (["some-crate@=1.1.0"], "1.1.0+b"),
        (["some-*@>1.0.0,<2", "other"], "1.1.0+b"),
        (["some-crate@=1.0.0", "some_crate@1.1"], "1.0.0 1.1.0+b"),
    ],
    ids=str,
)
def test_what_is_on_the_deny_list_is_held_back(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, words: list[str], denied: str
) -> None:
    settings.MIRROR_DENYLIST = words
    publish_with(upstream, {"1.0.0-a": {}, "1.0.0": {}, "1.1.0+b": {}, "odd": {}}, "Some-Crate")
    assert yanked(mirror, "some-crate") == denied.split()


def test_every_word_that_denies_is_told(mirror: CargoClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_DENYLIST = ["de*", "demo@<2"]
    publish(upstream, v1_0_0="MIT")
    assert reasons(mirror) == {"1.0.0": "It is on the deny list, as de*. It is on the deny list, as demo@<2."}


# --- Advisories --------------------------------------------------------------------------------------------------


def test_what_has_an_advisory_against_it_is_held_back_at_once(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    settings.MIRROR_ADVISORIES = [str(tmp_path)]
    publish(upstream, v1_0_0="MIT", v1_2_0="MIT")
    assert yanked(mirror) == []
    advise(tmp_path, patched='[">= 1.2.0"]')
    assert yanked(mirror) == ["1.0.0"]
    assert reasons(mirror) == {"1.0.0": "RUSTSEC-2026-0001 is against it: It breaks."}


# --- Licenses ----------------------------------------------------------------------------------------------------


@pytest.fixture
def mit_only(settings: Any) -> None:
    settings.MIRROR_LICENSES = ["MIT"]


def fetched(upstream: BadUpstream, name: str = "demo") -> list[str]:
    """Versions whose files upstream was asked for, in the order of that."""
    return [request.path.split("/")[3] for request in upstream.requests if request.path.startswith(f"/dl/{name}/")]


@pytest.mark.usefixtures("mit_only")
def test_license_that_is_allowed_costs_one_file(mirror: CargoClient, upstream: BadUpstream) -> None:
    body = publish(upstream, v1_0_0="GPL-3.0", v1_1_0="MIT", v1_2_0="MIT OR GPL-3.0")
    for _ in range(2):
        assert entry(mirror).content == body
    assert fetched(upstream) == ["1.2.0"]


@pytest.mark.usefixtures("mit_only")
def test_newest_under_another_license_is_held_back(mirror: CargoClient, upstream: BadUpstream) -> None:
    publish(upstream, v1_0_0="MIT", v1_1_0="MIT", v2_0_0="GPL-3.0", v2_1_0="")
    assert yanked(mirror) == ["2.0.0", "2.1.0"]
    assert fetched(upstream) == ["2.1.0", "2.0.0", "1.1.0"]
    assert reasons(mirror) == {
        "2.0.0": "Its license is GPL-3.0, which is not allowed here.",
        "2.1.0": "Its license is not stated, which is not allowed here.",
    }


@pytest.mark.usefixtures("mit_only")
def test_three_files_are_fetched_at_a_request(mirror: CargoClient, upstream: BadUpstream) -> None:
    publish(upstream, v1_0_0="MIT", v1_1_0="GPL", v1_2_0="GPL", v1_3_0="GPL", v1_4_0="GPL")
    assert yanked(mirror) == ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"]
    assert fetched(upstream) == ["1.4.0", "1.3.0", "1.2.0"]
    assert yanked(mirror) == ["1.1.0", "1.2.0", "1.3.0", "1.4.0"]
    assert fetched(upstream)[3:] == ["1.1.0", "1.0.0"]


@pytest.mark.usefixtures("mit_only")
def test_nothing_is_fetched_of_what_cargo_would_not_choose(
    mirror: CargoClient, upstream: BadUpstream, settings: Any
) -> None:
    settings.MIRROR_DENYLIST, settings.MIRROR_MIN_AGE_DAYS = ["demo@=1.3.0"], 1
    decide(EXEMPT, "=1.2.0")
    publish_with(
        upstream,
        {
            "1.1.0": {},
            "1.2.0": {"license": "GPL"},
            "1.3.0": {},
            "1.4.0": {"yanked": True},
            "1.5.0": {"pubtime": ago(hours=1)},
            "2.0.0-rc.1": {},
        },
    )
    assert yanked(mirror) == ["1.3.0", "1.4.0", "1.5.0"]
    assert fetched(upstream) == ["1.1.0"]


@pytest.mark.usefixtures("mit_only")
def test_pre_release_is_taken_to_be_licensed_as_the_newest_and_not_as_the_oldest(
    mirror: CargoClient, upstream: BadUpstream
) -> None:
    publish(upstream, **{"v1_0_0": "MIT", "v2_0_0": "GPL", "v3_0_0-rc": "GPL"})
    assert yanked(mirror) == ["2.0.0", "3.0.0-rc"]
    assert fetched(upstream) == ["2.0.0", "1.0.0"]


@pytest.mark.usefixtures("mit_only")
@pytest.mark.parametrize("status", [403, 404, 410, 451])
def test_next_version_is_fetched_where_upstream_has_not_the_newest(
    mirror: CargoClient, upstream: BadUpstream, status: int
) -> None:
    publish(upstream, v1_0_0="MIT", v1_1_0="MIT", v1_2_0="MIT")
    upstream.script_crate("demo", "1.2.0", bad_upstream.refusal(status))
    for _ in range(2):
        assert yanked(mirror) == []
    assert fetched(upstream) == ["1.2.0", "1.1.0"]


@pytest.mark.usefixtures("mit_only")
@pytest.mark.parametrize(
    "behaviour", [bad_upstream.reset, bad_upstream.refusal(500), bad_upstream.file(b"x"), bad_upstream.hang]
)
def test_fault_while_a_license_is_asked_for_holds_back_and_is_not_asked_for_again_and_again(
    mirror: CargoClient, upstream: BadUpstream, behaviour: Behaviour, settings: Any
) -> None:
    settings.MIRROR_TIMEOUT = 0.2 if behaviour is bad_upstream.hang else 10
    publish(upstream, v1_0_0="MIT", v1_1_0="MIT")
    upstream.script_crate("demo", "1.1.0", behaviour)
    for _ in range(3):
        assert yanked(mirror) == ["1.0.0", "1.1.0"]
    assert fetched(upstream) == ["1.1.0"]
    assert set(reasons(mirror).values()) == {"Its license is not known yet, for its file could not be fetched."}
    assert Incident.objects.get().count == 1


@pytest.mark.usefixtures("mit_only")
def test_license_that_could_not_be_had_is_asked_for_after_a_while(mirror: CargoClient, upstream: BadUpstream) -> None:
    body = publish(upstream, v1_0_0="MIT")
    fine = bad_upstream.file(crate("demo", "1.0.0", "MIT"))
    upstream.script_crate("demo", "1.0.0", bad_upstream.reset, fine)
    assert yanked(mirror) == ["1.0.0"]
    cache.clear()  # what time does
    assert entry(mirror).content == body


@pytest.mark.usefixtures("mit_only")
def test_want_of_room_to_wait_for_a_license_is_not_remembered(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = publish(upstream, v1_0_0="MIT")
    settings.THREADS = 1
    CachedIndexFile.objects.create(path="de/mo/demo", name="demo", upstream=upstream.url, status=200, body=body)
    with monkeypatch.context() as patch:
        patch.setitem(concurrency.limiter.started, 0, time.monotonic() - 60)
        assert yanked(mirror) == ["1.0.0"]
    assert yanked(mirror) == []
    assert fetched(upstream) == ["1.0.0"]


@pytest.mark.usefixtures("mit_only")
def test_file_whose_license_cannot_be_read_is_held_back_and_served(mirror: CargoClient, upstream: BadUpstream) -> None:
    upstream.publish("demo", b"no archive")
    assert yanked(mirror) == ["1.0.0"]
    assert download(mirror, "1.0.0") == (200, b"no archive")


# --- What is held back -------------------------------------------------------------------------------------------


def hold_all_back(settings: Any, place: Path) -> None:
    advise(place)
    settings.MIRROR_ADVISORIES = [str(place)]
    settings.MIRROR_DENYLIST = ["demo@<1.5"]
    settings.MIRROR_MIN_AGE_DAYS = 14
    settings.MIRROR_LICENSES = ["MIT"]


def test_all_policies_count_together(mirror: CargoClient, upstream: BadUpstream, settings: Any, tmp_path: Path) -> None:
    hold_all_back(settings, tmp_path)
    advise(tmp_path, patched='[">=1.1"]')
    publish_with(
        upstream,
        {
            "1.0.0": {},
            "1.4.0": {},
            "1.5.0": {},
            "1.6.0": {"license": "GPL"},
            "1.7.0": {"pubtime": ago(days=1), "license": "GPL"},
        },
    )
    assert yanked(mirror) == ["1.0.0", "1.4.0", "1.6.0", "1.7.0"]
    assert reasons(mirror)["1.0.0"] == (
        "It is on the deny list, as demo@<1.5. RUSTSEC-2026-0001 is against it: It breaks."
    )
    assert fetched(upstream) == ["1.6.0", "1.5.0"]


def test_what_is_held_back_goes_on_being_served(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    hold_all_back(settings, tmp_path)
    publish_with(upstream, {"1.0.0": {"pubtime": ago(days=1), "license": "GPL"}})
    assert yanked(mirror) == ["1.0.0"]
    for _ in range(2):
        assert download(mirror, "1.0.0") == (200, crate("demo", "1.0.0", "GPL"))


ODD_LINES = [
    b'{"name":"demo","vers":"1.1.0","cksum":"%s","x":["\\"yanked\\":false"], "yanked" : false, "d\xc3\xa9":"\\u00e9"}'
    % (b"0" * 64),
    b"no json",
    b'{"vers":"' + b"1" * 500 + b'","cksum":"00"}',
    b'{"vers":"2.0.0 ","cksum":"' + b"0" * 64 + b'"}',
    b"[" * 100_000,
    b"\xff\xfe",
]


def test_lines_differ_from_upstreams_in_yanked_alone(mirror: CargoClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_DENYLIST = ["demo@=1.1.0"]
    before = [line("demo", "1.0.0", b"x", deps=[{"req": " ^1 "}]), *ODD_LINES, line("demo", "1.2.0", b"y")]
    upstream.script_index("demo", bad_upstream.file(b"\n".join(before)))
    after = entry(mirror).content.split(b"\n")
    assert after.pop() == b""
    changed = [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert changed == [1]
    assert after[1] == before[1].replace(b'"yanked" : false', b'"yanked":true') or json.loads(after[1]) == {
        **json.loads(before[1]),
        "yanked": True,
    }


@pytest.mark.parametrize("depth", [900, 5000])
def test_line_that_nests_as_deep_as_can_be_is_told(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, depth: int
) -> None:
    settings.MIRROR_DENYLIST = ["demo"]
    odd = line("demo", "1.0.0", b"x").replace(b'"yanked":false', b'"x":' + b"[" * depth + b"]" * depth)
    upstream.script_index("demo", bad_upstream.file(line("demo", "0.9.0", b"x") + b"\n" + odd))
    assert entry(mirror).status_code == page(mirror).status_code == 200


def test_tag_follows_what_is_told(mirror: CargoClient, upstream: BadUpstream, settings: Any) -> None:
    body = publish(upstream, v1_0_0="MIT")
    before = entry(mirror)
    made = decide(BLOCKED)
    between = entry(mirror, **{"If-None-Match": before["ETag"], "If-Modified-Since": before["Last-Modified"]})
    assert (between.status_code, json.loads(between.content)["yanked"]) == (200, True)
    assert entry(mirror, **{"If-None-Match": between["ETag"]}).status_code == 304
    overrides.end_override(made, actor=None)
    after = entry(mirror, **{"If-None-Match": between["ETag"]})
    assert (after.content, after["ETag"], after["Last-Modified"]) == (body, before["ETag"], before["Last-Modified"])


def test_time_alone_is_no_reason_to_say_that_nothing_changed(mirror: CargoClient, upstream: BadUpstream) -> None:
    publish(upstream, v1_0_0="MIT")
    moment = entry(mirror)["Last-Modified"]
    decide(BLOCKED)
    response = entry(mirror, **{"If-Modified-Since": moment})
    assert (response.status_code, "Last-Modified" in response) == (200, False)


# --- Decisions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["some-crate", "some_crate", "SOME-crate"])
@pytest.mark.parametrize("kept", [True, False])
def test_blocked_version_is_refused_in_any_spelling(
    mirror: CargoClient, upstream: BadUpstream, name: str, kept: bool
) -> None:
    publish(upstream, "some-crate", v1_0_0="MIT", v1_1_0="MIT")
    if kept:
        assert download(mirror, "1.0.0", "some-crate")[0] == 200
    overrides.create_override(BLOCKED, "Some_Crate", "=1.0.0", actor=None, reason="It “steals” <keys>.")
    status, body = download(mirror, "1.0.0", name)
    assert status == 403
    assert json.loads(body) == {"errors": [{"detail": f"{name} 1.0.0 is blocked here: It “steals” <keys>."}]}
    assert yanked(mirror, "some-crate") == ["1.0.0"]
    assert download(mirror, "1.1.0", "some-crate")[0] == 200
    assert fetched(upstream, "some-crate").count("1.0.0") == kept


def test_block_of_a_version_is_one_of_all_its_builds(mirror: CargoClient, upstream: BadUpstream) -> None:
    publish_with(upstream, {"1.0.0+a": {}, "1.0.0+b": {}, "1.0.0-rc.1": {}, "odd": {}})
    decide(BLOCKED, "=1.0.0+a")
    assert yanked(mirror) == ["1.0.0+a", "1.0.0+b"]
    assert [download(mirror, version)[0] for version in ("1.0.0+a", "1.0.0+b")] == [403, 403]
    decide(BLOCKED)
    assert download(mirror, "odd")[0] == 403


def test_exempt_version_is_not_held_back(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    hold_all_back(settings, tmp_path)
    publish_with(upstream, {v: {"pubtime": ago(days=1), "license": "GPL"} for v in ("1.0.0", "1.1.0")})
    decide(EXEMPT, "=1.1.0", "We looked at it.")
    assert yanked(mirror) == ["1.0.0"]
    assert "Offered: exempt from the policies. We looked at it." in page(mirror).content.decode()
    assert [one["exempt"] for one in mirror.get("/mirror/crates/demo").json()["versions"]] == ["We looked at it.", ""]


@pytest.mark.parametrize("first", [BLOCKED, EXEMPT])
def test_block_comes_before_exemption(mirror: CargoClient, upstream: BadUpstream, first: Override.Kind) -> None:
    publish(upstream, v1_0_0="MIT")
    for kind in (first, *({BLOCKED, EXEMPT} - {first})):
        decide(kind, reason=f"Decided {kind.value}.")
    assert download(mirror, "1.0.0")[0] == 403
    (told,) = mirror.get("/mirror/crates/demo").json()["versions"]
    assert (told["held_back"], told["exempt"]) == ("It is blocked: Decided blocked.", "")


@pytest.mark.parametrize("kind", [BLOCKED, EXEMPT])
def test_decision_ends_when_its_time_has_come(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, kind: Override.Kind
) -> None:
    settings.MIRROR_DENYLIST = ["demo"] if kind == EXEMPT else []
    publish(upstream, v1_0_0="MIT")
    before = yanked(mirror)
    decide(kind, until=timezone.now() + timedelta(hours=1))
    assert yanked(mirror) != before
    Override.objects.update(until=timezone.now())
    assert yanked(mirror) == before
    assert download(mirror, "1.0.0")[0] == 200


def test_decision_may_come_before_its_crate(mirror: CargoClient, upstream: BadUpstream) -> None:
    decide(BLOCKED)
    assert (entry(mirror).status_code, page(mirror).status_code) == (404, 404)
    assert download(mirror, "1.0.0")[0] == 403
    CachedIndexFile.objects.all().delete()
    publish(upstream, v1_0_0="MIT")
    assert yanked(mirror) == ["1.0.0"]


BAD_DECISIONS: dict[str, dict[str, Any]] = {
    "a name that is none": {"name": "../demo"},
    "no requirement": {"requirement": "latest"},
    "a requirement that is too long": {"requirement": ", ".join([">=1000000.1000000.1000000"] * 32)},
    "no reason": {"reason": " \n"},
    "a very long reason": {"reason": "x" * 501},
    "a reason with a NUL": {"reason": "a\0b"},
    "an end that has passed": {"until": datetime(2020, 1, 1, tzinfo=UTC)},
}


@pytest.mark.parametrize("given", BAD_DECISIONS.values(), ids=BAD_DECISIONS)
def test_bad_decision_is_refused(db: None, given: dict[str, Any]) -> None:
    said = {"name": "demo", "requirement": "*", "reason": "It is so."} | given
    with pytest.raises(Invalid):
        overrides.create_override(BLOCKED, said.pop("name"), said.pop("requirement"), actor=None, **said)
    assert not Override.objects.exists()


def test_longest_decision_counts(mirror: CargoClient, upstream: BadUpstream) -> None:
    publish(upstream, v1_0_0="MIT")
    decide(BLOCKED, ",".join([">0.0"] * 32), "ü" * 500)
    status, body = download(mirror, "1.0.0")
    assert (status, json.loads(body)["errors"][0]["detail"][-501:]) == (403, " " + "ü" * 500)


# --- How much it costs -------------------------------------------------------------------------------------------


def queries_of(mirror: CargoClient) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert entry(mirror).status_code == 200
    return len(queries)


@pytest.mark.parametrize("number", [1, 50])
def test_index_file_takes_few_queries_however_many_versions_it_has(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, tmp_path: Path, number: int
) -> None:
    publish_with(upstream, {f"1.{minor}.0": {} for minor in range(number)})
    entry(mirror)
    assert queries_of(mirror) == 3  # is it ours, the entry, the decisions
    hold_all_back(settings, tmp_path)
    settings.MIRROR_DENYLIST = []
    (tmp_path / "crates" / "demo" / "RUSTSEC-2026-0001.md").unlink()
    for minor in range(number):
        decide(BLOCKED, f"=1.{minor}.7")
    entry(mirror)
    assert queries_of(mirror) == 4  # the licenses, too


# --- Offline, and fetching before anybody asks -------------------------------------------------------------------


def test_policies_count_offline_for_what_is_here(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    publish_with(upstream, {"1.0.0": {}, "1.1.0": {"license": "GPL"}, "1.2.0": {}, "1.3.0": {}})
    for version in ("1.0.0", "1.1.0", "1.3.0"):
        assert download(mirror, version)[0] == 200
    settings.MIRROR_OFFLINE = True
    settings.MIRROR_LICENSES, settings.MIRROR_DENYLIST = ["MIT"], ["demo@=1.3.0"]
    asked = len(upstream.requests)
    told = [json.loads(text) for text in entry(mirror).content.splitlines()]
    assert [(one["vers"], one["yanked"]) for one in told] == [("1.0.0", False), ("1.1.0", True), ("1.3.0", True)]
    assert [one["num"] for one in mirror.get("/mirror/crates/demo").json()["versions"]] == ["1.3.0", "1.1.0", "1.0.0"]
    assert len(upstream.requests) == asked


def test_prefetch_of_a_crate_follows_the_policies(mirror: CargoClient, upstream: BadUpstream, settings: Any) -> None:
    settings.MIRROR_DENYLIST = ["demo@=1.2.0"]
    decide(BLOCKED, "=1.1.0")
    publish(upstream, v1_0_0="MIT", v1_1_0="MIT", v1_2_0="MIT")
    call_command("mirror", "prefetch", "demo@1")
    assert [archive.version for archive in CachedCrate.objects.all()] == ["1.0.0"]


# --- The page ----------------------------------------------------------------------------------------------------

HOSTILE = '<script>alert("1")</script>&amp;'


def test_page_shows_hostile_texts_as_texts(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    settings.MIRROR_LICENSES, settings.MIRROR_ADVISORIES = ["MIT"], [str(tmp_path)]
    advise(tmp_path, patched='[">=1.1"]', title=HOSTILE)
    publish_with(upstream, {"1.0.0": {}, "1.1.0": {}, "1.2.0": {}, "1.3.0": {"license": f"license {HOSTILE}"}})
    decide(BLOCKED, "=1.2.0", f"reason {HOSTILE}")
    text = page(mirror).content.decode()
    for told in (f"against it: {HOSTILE}", f"license is license {HOSTILE}", f"blocked: reason {HOSTILE}"):
        assert escape(told).replace("&#x27;", "&#39;") in text
    assert HOSTILE not in text
    assert set(reasons(mirror)) == {"1.0.0", "1.2.0", "1.3.0"}


def test_page_is_for_people_and_json_for_machines(mirror: CargoClient, upstream: BadUpstream) -> None:
    publish_with(upstream, {"1.0.0": {"pubtime": "2026-01-02T03:04:05Z"}, "2.0.0": {"yanked": True}})
    assert download(mirror, "1.0.0")[0] == 200
    (second, first) = mirror.get("/mirror/crates/Demo").json()["versions"]
    assert first == {
        "num": "1.0.0",
        "checksum": CachedCrate.objects.get().sha256,
        "yanked": False,
        "published_at": "2026-01-02T03:04:05Z",
        "license": "MIT",
        "held_back": "",
        "exempt": "",
    }
    assert (second["num"], second["yanked"], second["license"]) == ("2.0.0", True, None)
    response = page(mirror)
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert "Accept" in response["Vary"]
    assert "Yanked upstream." in response.content.decode()


@pytest.mark.parametrize("name", ["nowhere", "a b", "é", "..", "x" * 65])
def test_page_of_what_is_not_there_is_missing(mirror: CargoClient, name: str) -> None:
    assert page(mirror, name).status_code == mirror.get(f"/mirror/crates/{name}").status_code == 404


def test_page_of_a_crate_of_ours_is_missing(mirror: CargoClient, as_alice: CargoClient, upstream: BadUpstream) -> None:
    publish(upstream, "my_lib", v1_0_0="MIT")
    as_alice.publish(packing.body("my-lib"))
    assert page(mirror, "my_lib").status_code == 404
    assert upstream.requests == []


def test_fault_of_upstream_is_told_on_the_page(mirror: CargoClient, upstream: BadUpstream) -> None:
    upstream.script_index("demo", bad_upstream.reset)
    response = page(mirror)
    assert (response.status_code, response["Content-Type"]) == (502, "text/html; charset=utf-8")


def test_where_a_token_is_required_people_sign_in_and_machines_have_one(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, alice: User, as_alice: CargoClient
) -> None:
    settings.AUTH_REQUIRED = True
    publish(upstream, v1_0_0="MIT")
    browser = Client()
    assert (page(browser).status_code, mirror.get("/mirror/crates/demo").status_code) == (401, 401)
    assert browser.login(username=alice.username, password=PASSWORD)
    assert (page(browser).status_code, browser.get("/mirror/crates/demo").status_code) == (200, 401)
    assert (page(as_alice).status_code, as_alice.get("/mirror/crates/demo").status_code) == (401, 200)


def test_page_of_a_crate_with_very_many_versions_is_shown(
    mirror: CargoClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    hold_all_back(settings, tmp_path)
    upstream.script_index("demo", bad_upstream.file(b"\n".join(line("demo", f"1.0.{n}", b"x") for n in range(2000))))
    assert len(yanked(mirror)) == 2000
    with CaptureQueriesContext(connection) as queries:
        assert page(mirror).content.count(b"<strong>Held back.</strong>") == 2000
    assert len(queries) == 5
