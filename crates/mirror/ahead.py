"""Upstream is asked at the same time for several things that one client wants one after another."""

import re

from crates.mirror import archives, entries
from registry_site import arrivals

INDEX = "/mirror/index/"
DOWNLOAD = re.compile(r"/ktra/api/v1/mirror/([^/]+)/([^/]+)/download")


@arrivals.let_begin
def begin(path: str) -> None:
    """Begin with what the mirror is about to be asked for."""
    if path.startswith(INDEX):
        entries.begin(path.removeprefix(INDEX))
    elif match := DOWNLOAD.fullmatch(path):
        archives.begin(*match.groups())
