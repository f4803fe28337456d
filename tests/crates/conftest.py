"""Fixtures of the tests of crates and of the mirror."""

from collections.abc import Iterator

import pytest

from tests.support import bad_upstream
from tests.support.bad_upstream import BadUpstream


@pytest.fixture
def upstream() -> Iterator[BadUpstream]:
    """A scripted upstream of the mirror, on loopback."""
    with bad_upstream.upstream() as upstream:
        yield upstream
