"""Downloads from the mirror: find the crate of a version that is not blocked, and send it."""

from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial
from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from crates import names
from crates.mirror import (
    crate_cache,
    download_counts,
    index_cache,
    index_lines,
    maintenance,
    metrics,
    overrides,
    resolving,
    upstreams,
)
from crates.mirror.index_lines import Line
from crates.mirror.metrics import OutcomeRecorder, ignore_outcome
from crates.mirror.models import CachedCrate, CachedIndexFile
from registry_site.errors import Lost, NotFound
from registry_site.http.downloads import deliver, immutable_for_readers
from registry_site.server import read_ahead
from registry_site.server.response_cache import keep_download

count_hit = partial(metrics.record_crate_outcome, "hit")


class MirroredCrate(NamedTuple):
    """A stored crate, how upstream and the mirror spell its name, and until when a worker may send it from memory."""

    row: CachedCrate
    is_new: bool  # fetched just now
    spellings: Collection[str]
    good_until: float | None  # a time of `time.time()`; None: not at all


def download(request: HttpRequest, name: str, version: str) -> HttpResponseBase:
    """Send a version's file; raises as `get_crate`, and `Unavailable` if its bytes cannot be read.

    Bytes that the storage has lost are fetched again.
    """
    crate = get_crate(name, version, metrics.record_crate_outcome)
    try:
        return send(request, name, crate)
    except Lost:
        maintenance.verify_or_discard(crate.row)
        return send(request, name, get_crate(name, version))


def send(request: HttpRequest, name: str, crate: MirroredCrate) -> HttpResponseBase:
    row, blob = crate.row, crate.row.blob()
    count_download = partial(download_counts.versions.count, row.name, row.version)
    response = deliver(
        request,
        blob,
        filename=f"{name}-{row.version}.crate",
        modified=row.fetched_at,
        cache_control=immutable_for_readers(),
        count_download=count_download,
        content_type="application/x-tar",  # as Ktra documents it
    )
    if crate.good_until is None or name not in crate.spellings:  # of others there are too many to keep them
        return response
    tag = ("mirror", names.canonical(name))
    return keep_download(
        request, response, blob, tag, good_until=crate.good_until, count_download=count_download, count_hit=count_hit
    )


def get_crate(name: str, version: str, record_outcome: OutcomeRecorder = ignore_outcome) -> MirroredCrate:
    """Return the crate of a version.

    Raises `NotFound`, `PermissionDenied` if staff block the version, and `UpstreamError`.
    """
    outcomes: list[str] = []
    with metrics.recording_failure(record_outcome):
        index_file, line = find_line(name, version, partial(index_cache.get_or_refresh, record_outcome=outcomes.append))
    row, is_new = crate_cache.get_or_fetch(index_file, line, record_outcome)
    # A file that was fetched can have been stored for another request, long before this one read anything.
    good_until = None if is_new or outcomes != ["hit"] else end_of_hit(index_file, row).timestamp()
    return MirroredCrate(row, is_new, (row.name, line.name), good_until)


def end_of_hit(index_file: CachedIndexFile, row: CachedCrate) -> datetime:
    """Return when upstream has to be asked again, or the row to be marked as used."""
    ends = [row.last_used_at + crate_cache.DAY]
    if not settings.MIRROR_OFFLINE:
        ends.append(index_file.stale_at())
    return min(ends)


@read_ahead.on_pending_request(r"/ktra/api/v1/mirror/([^/]+)/([^/]+)/download")
def prefetch_crate(name: str, version: str) -> None:
    """Fetch a version's file in a thread, for a request that is queued on its connection."""

    def fetch() -> None:
        crate_cache.fetch(*find_line(name, version, index_cache.refresh_if_stale))

    index_cache.submit_prefetch(f"crate {name}/{version}", fetch)


def find_line(
    name: str, version: str, get_index_file: Callable[[str], CachedIndexFile]
) -> tuple[CachedIndexFile, Line]:
    """Return the index line of a version; raises `NotFound`, and `PermissionDenied` if staff block it."""
    if not index_lines.NAME.fullmatch(name) or not index_lines.VERSION.fullmatch(version):
        raise NotFound(crate_cache.no_such_version(name, version))
    overrides.refuse_blocked(name, version)  # before upstream is asked for it
    if resolving.parse(version) is None:
        raise NotFound(crate_cache.no_such_version(name, version))
    index_file = get_index_file(names.index_path(name.lower()))
    if index_file.status != 200:
        reason = upstreams.ABSENCE_REASONS[index_file.status]
        raise NotFound(f"{crate_cache.no_such_version(name, version).removesuffix('.')}: {reason}.")
    lines = {line.version: line for line in index_lines.parse(bytes(index_file.body)) if line.version}
    if version not in lines:
        raise NotFound(crate_cache.no_such_version(name, version))
    return index_file, lines[version]
