"""Upstream is asked at the same time for several things that one client wants one after another."""

import re

from django.conf import settings
from django.db import connection

from crates.mirror import crate_cache, index_cache
from crates.mirror.concurrency import Background
from registry_site.server import read_ahead

INDEX = "/mirror/index/"
DOWNLOAD = re.compile(r"/ktra/api/v1/mirror/([^/]+)/([^/]+)/download")

_background: Background[None] = Background(threads=8)  # of its own: what somebody waits for comes before it


@read_ahead.on_pending_request
def begin(path: str) -> None:
    """Begin with what the mirror is about to be asked for, if that will still be good at its turn."""
    of_mirror = path.startswith(INDEX) or DOWNLOAD.fullmatch(path)
    if of_mirror and settings.MIRROR_INDEX_TTL and not settings.MIRROR_OFFLINE:
        _background.begin(path, _foresee)


def _foresee(path: str) -> None:
    try:
        if match := DOWNLOAD.fullmatch(path):
            crate_cache.prefetch_archive(*match.groups())
        else:
            index_cache.prefetch_entry(path.removeprefix(INDEX))
    finally:
        connection.close()
