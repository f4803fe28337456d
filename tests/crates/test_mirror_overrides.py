"""Overrides by staff, as cargo and people see them: blocked versions, and versions exempt from the policies."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.utils import timezone

from crates.mirror import overrides
from crates.mirror.models import Override
from registry_site.errors import Invalid
from tests.support.bad_upstream import BadUpstream
from tests.support.mirror_client import MirrorClient
from tests.support.mirror_policies import (
    BLOCKED,
    EXEMPT,
    add_override,
    ago,
    fetched_versions,
    publish,
    set_all_policies,
)


def test_override_of_another_crate_changes_nothing(mirror: MirrorClient, upstream: BadUpstream) -> None:
    body = publish(upstream, {"1.0.0": "MIT"})
    overrides.create_override(BLOCKED, "demo-2", "*", actor=None, reason="It is so.")
    response = mirror.index_file()
    assert (response.content, "Last-Modified" in response) == (body, True)


@pytest.mark.parametrize("is_cached", [True, False])
def test_blocked_version_is_refused_in_any_spelling(
    mirror: MirrorClient, upstream: BadUpstream, is_cached: bool
) -> None:
    publish(upstream, {"1.0.0": "MIT", "1.1.0": "MIT"}, "some-crate")
    if is_cached:
        assert mirror.crate("some-crate", "1.0.0").status_code == 200
    overrides.create_override(BLOCKED, "Some_Crate", "=1.0.0", actor=None, reason="It “steals” <keys>.")
    for name in ("some-crate", "some_crate", "SOME-crate"):
        response = mirror.crate(name, "1.0.0")
        assert response.status_code == 403
        detail = f"{name} 1.0.0 is blocked here: It “steals” <keys>."
        assert response.json() == {"errors": [{"detail": detail}]}
    assert mirror.yanked("some-crate") == ["1.0.0"]
    assert mirror.crate("some-crate", "1.1.0").status_code == 200
    assert fetched_versions(upstream, "some-crate").count("1.0.0") == is_cached


def test_block_covers_all_builds_of_a_version(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0+a": {}, "1.0.0+b": {}, "1.0.0-rc.1": {}, "odd": {}})
    add_override(BLOCKED, "=1.0.0+a")
    assert mirror.yanked() == ["1.0.0+a", "1.0.0+b"]
    assert [mirror.crate("demo", version).status_code for version in ("1.0.0+a", "1.0.0+b")] == [403, 403]
    add_override(BLOCKED)
    assert mirror.crate("demo", "odd").status_code == 403


def test_exempt_version_is_not_quarantined(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, tmp_path: Path
) -> None:
    set_all_policies(settings, tmp_path)
    publish(upstream, {version: {"pubtime": ago(days=1), "license": "GPL"} for version in ("1.0.0", "1.1.0")})
    add_override(EXEMPT, "=1.1.0", "We looked at it.")
    assert mirror.yanked() == ["1.0.0"]
    assert "exempt from the policies.</strong> We looked at it." in mirror.page("demo/versions").content.decode()
    assert [version["exempt"] for version in mirror.versions()] == ["We looked at it.", ""]


def test_newest_exemption_is_shown(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": "MIT"})
    for reason in ("The first look.", "The second look."):
        add_override(EXEMPT, reason=reason)
    assert [version["exempt"] for version in mirror.versions()] == ["The second look."]


@pytest.mark.parametrize("kinds", [(BLOCKED, EXEMPT), (EXEMPT, BLOCKED)])
def test_block_comes_before_exemption(
    mirror: MirrorClient, upstream: BadUpstream, kinds: tuple[Override.Kind, ...]
) -> None:
    publish(upstream, {"1.0.0": "MIT"})
    for kind in kinds:
        add_override(kind, reason=f"Decided {kind.value}.")
    assert mirror.crate().status_code == 403
    (version,) = mirror.versions()
    assert (version["held_back"], version["exempt"]) == ("It is blocked: Decided blocked.", "")


@pytest.mark.parametrize("kind", [BLOCKED, EXEMPT])
def test_override_ends_at_its_time(
    mirror: MirrorClient, upstream: BadUpstream, settings: Any, kind: Override.Kind
) -> None:
    settings.MIRROR_DENYLIST = ["demo"] if kind == EXEMPT else []
    publish(upstream, {"1.0.0": "MIT"})
    before = mirror.yanked()
    add_override(kind, until=timezone.now() + timedelta(hours=1))
    assert mirror.yanked() != before
    Override.objects.update(until=timezone.now())
    assert mirror.yanked() == before
    assert mirror.crate().status_code == 200


def test_override_may_precede_its_crate(mirror: MirrorClient, upstream: BadUpstream) -> None:
    add_override(BLOCKED)
    assert (mirror.index_file().status_code, mirror.page().status_code) == (404, 404)
    assert mirror.crate().status_code == 403
    caches["mirror"].clear()  # as after a minute
    publish(upstream, {"1.0.0": "MIT"})
    assert mirror.yanked() == ["1.0.0"]


def test_bad_override_is_refused(db: None) -> None:
    good: dict[str, Any] = {"name": "demo", "requirement": "*", "reason": "It is so.", "actor": None}
    bad: list[dict[str, Any]] = [
        {"name": "../demo"},
        {"requirement": "latest"},
        {"requirement": ", ".join([">=1000000.1000000.1000000"] * 32)},
        {"reason": " \n"},
        {"reason": "x" * 501},
        {"reason": "a\0b"},
        {"until": datetime(2020, 1, 1, tzinfo=UTC)},
    ]
    for fields in bad:
        with pytest.raises(Invalid):
            overrides.create_override(BLOCKED, **{**good, **fields})
    assert not Override.objects.exists()


def test_longest_requirement_and_reason_count(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": "MIT"})
    add_override(BLOCKED, ",".join([">0.0"] * 32), "ü" * 500)
    response = mirror.crate()
    assert response.status_code == 403
    assert response.json()["errors"][0]["detail"].endswith(" " + "ü" * 500)


def test_etag_follows_overrides(mirror: MirrorClient, upstream: BadUpstream) -> None:
    body = publish(upstream, {"1.0.0": "MIT"})
    before = mirror.index_file()
    override = add_override(BLOCKED)
    conditions = {"If-None-Match": before["ETag"], "If-Modified-Since": before["Last-Modified"]}
    blocked = mirror.index_file("demo", **conditions)
    assert (blocked.status_code, json.loads(blocked.content)["yanked"]) == (200, True)
    assert mirror.index_file("demo", **{"If-None-Match": blocked["ETag"]}).status_code == 304
    overrides.end_override(override, actor=None)
    after = mirror.index_file("demo", **{"If-None-Match": blocked["ETag"]})
    assert (after.content, after["ETag"], after["Last-Modified"]) == (body, before["ETag"], before["Last-Modified"])


def test_changed_index_has_no_date(mirror: MirrorClient, upstream: BadUpstream) -> None:
    publish(upstream, {"1.0.0": "MIT"})
    modified = mirror.index_file()["Last-Modified"]
    add_override(BLOCKED)
    response = mirror.index_file("demo", **{"If-Modified-Since": modified})
    assert (response.status_code, "Last-Modified" in response) == (200, False)
