"""The mirror offline: it serves what is cached, however old, and never asks upstream."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from crates.mirror.models import CachedIndexFile
from tests.support import bad_upstream
from tests.support.bad_upstream import BadUpstream, line
from tests.support.mirror_client import MirrorClient, no_such_crate

BYTES = b"the bytes of a crate"
CACHED = line("demo", "1.0.0", BYTES) + b"\n"


@pytest.fixture
def offline(mirror: MirrorClient, upstream: BadUpstream, settings: Any) -> MirrorClient:
    """A mirror that has cached one of two versions of a crate before it went offline."""
    upstream.script_index("demo", bad_upstream.file(CACHED + line("demo", "1.1.0", b"newer") + b"\n"))
    upstream.script_crate("demo", "1.0.0", bad_upstream.file(BYTES))
    assert mirror.crate("demo").body == BYTES
    CachedIndexFile.objects.update(checked_at=timezone.now() - timedelta(days=1000))
    upstream.requests.clear()
    settings.MIRROR_OFFLINE = True
    return mirror


def test_offline_index_has_only_cached_versions(offline: MirrorClient, upstream: BadUpstream) -> None:
    response = offline.index_file("demo")
    assert (response.status_code, response.content) == (200, CACHED)
    assert upstream.requests == []


def test_offline_mirror_serves_cached_crates(offline: MirrorClient, upstream: BadUpstream) -> None:
    assert offline.crate("demo").body == BYTES
    assert upstream.requests == []


def test_offline_mirror_fetches_nothing(offline: MirrorClient, upstream: BadUpstream) -> None:
    response = offline.crate("demo", "1.1.0")
    detail = "demo 1.1.0 is not in this mirror, which asks nobody (REGISTRY_MIRROR_OFFLINE)."
    assert (response.status_code, response.json()) == (404, {"errors": [{"detail": detail}]})
    reason = "it is not stored, and this mirror asks nobody (REGISTRY_MIRROR_OFFLINE)"
    assert offline.index_file("other").json() == no_such_crate(reason)
    assert offline.crate("other").status_code == 404
    assert upstream.requests == []
