"""Fixtures of the tests of crates and of the mirror."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from tests.support import bad_upstream
from tests.support.bad_upstream import BadUpstream
from tests.support.mirror_client import MirrorClient


@pytest.fixture
def upstream() -> Iterator[BadUpstream]:
    """A scripted upstream of the mirror, on loopback."""
    with bad_upstream.upstream() as upstream:
        yield upstream


@pytest.fixture
def second(settings: Any, mirror: MirrorClient) -> Iterator[BadUpstream]:
    """A second upstream, behind the first."""
    with bad_upstream.upstream() as second:
        settings.MIRROR_UPSTREAM = [*settings.MIRROR_UPSTREAM, second.url]
        yield second


@pytest.fixture
def mirror_bytes(tmp_path: Path, settings: Any) -> Path:
    """The folder of the bytes of an empty mirror, which has no memory of upstreams either."""
    location = tmp_path / "mirror"
    settings.STORAGES = {
        **settings.STORAGES,
        "mirror": {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": location}},
    }
    for name in ("default", "mirror"):
        caches[name].clear()
    return location


@pytest.fixture
def mirror(upstream: BadUpstream, mirror_bytes: Path, settings: Any, db: None) -> MirrorClient:
    """A client of an empty mirror of the upstream."""
    settings.MIRROR_UPSTREAM = [upstream.url]
    return MirrorClient()
