"""Cached index files: one for each crate, as upstream sent it, and refreshed after `REGISTRY_MIRROR_INDEX_TTL`."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.cache import caches
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import User
from crates import names
from crates.mirror import (
    concurrency,
    descriptions,
    incidents,
    index_lines,
    metrics,
    shared_names,
    summaries,
    upstreams,
)
from crates.mirror.metrics import OutcomeRecorder, ignore_outcome
from crates.mirror.models import ABSENCE_TTL, CachedIndexFile, CrateDownloads, Incident, IndexSummary
from crates.mirror.upstreams import NO_HEADERS, Upstream, UpstreamFault
from registry_site import audit, file_locks
from registry_site.errors import NotFound, Unavailable, UpstreamError
from registry_site.server import read_ahead
from registry_site.storage import free_space
from registry_site.upstream_limiter import limiter

RETRY_AFTER_FAULT = timedelta(seconds=30)  # a failing upstream must not delay every request
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_refreshes = concurrency.BackgroundTasks[CachedIndexFile](threads=8)
_prefetches = concurrency.BackgroundTasks[object](threads=8)  # threads of its own: a client that waits goes first


class ChangedChecksum(UpstreamFault):
    """An index file with another checksum of a version than the one first seen."""

    kind = Incident.Kind.CHANGED

    def __init__(self, changes: Mapping[str, tuple[str, str]]) -> None:
        sentences = (f"the checksum of {version} was {old} and is {new}" for version, (old, new) in changes.items())
        super().__init__("; ".join(sentences)[:400])
        self.changes = changes


def get_or_refresh(path: str, record_outcome: OutcomeRecorder = ignore_outcome) -> CachedIndexFile:
    """Return the index file at `path`, such as se/rd/serde; its status tells whether upstream has the crate.

    A stale one is returned when upstream is slow or fails. Raises `NotFound` for a path that must not be looked up
    upstream, and `UpstreamError` if nothing is cached either.
    """
    index_file = _get_cached(path)
    if index_file is not None and (settings.MIRROR_OFFLINE or index_file.is_fresh()):
        metrics.record_cache_hit(record_outcome, index_file.changed_at, index_file.checked_at)
        return index_file
    if settings.MIRROR_OFFLINE:
        reason = "it is not stored, and this mirror asks nobody (REGISTRY_MIRROR_OFFLINE)"
        raise NotFound(upstreams.no_such_crate(reason))
    read_ahead.start_pending()
    # "There is none" is no answer to fall back on: the crate may have been published since.
    if index_file is None or index_file.status != 200:
        with metrics.recording_fetch(record_outcome), limiter.slot(concurrency.MIRROR):
            return _refresh(path)
    refreshed = _refreshes.result(path, lambda: _refresh(path))
    record_outcome("renewed" if refreshed else "stale")
    return refreshed or index_file


def refresh_if_stale(path: str) -> CachedIndexFile:
    """Return the index file at `path`, refreshed if stale, without a slot of the limiter.

    Raises `NotFound` and `UpstreamError`, also if an older file is cached.
    """
    index_file = _get_cached(path)
    return index_file if index_file is not None and index_file.is_fresh() else _refresh(path)


@read_ahead.on_pending_request(r"/mirror/index/(.*)")
def prefetch_index_file(path: str) -> None:
    """Fetch an index file in a thread, for a request that is queued on its connection."""
    submit_prefetch(f"index {path}", lambda: refresh_if_stale(names.normalize_index_path(path)))


def submit_prefetch(key: str, fetch: Callable[[], object]) -> None:
    """Run `fetch` in a thread, unless its result would be stale again when the queued request is answered."""
    if settings.MIRROR_INDEX_TTL and not settings.MIRROR_OFFLINE:
        _prefetches.submit(key, fetch)


def store(path: str, upstream: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> CachedIndexFile:
    """Store an index file; raises `ChangedChecksum` when the checksum of a version is not the one first seen.

    A published version never changes. Another checksum means that upstream was taken over, or is another registry.
    Raises `Unavailable` when there is no room on the disk for a new or changed file.
    """
    name = path.rpartition("/")[2]
    lines = index_lines.parse(body)  # before the lock: a file may have megabytes
    with transaction.atomic():
        # The lock of the row keeps a concurrent import from overwriting the checksums that are compared here.
        locked = CachedIndexFile.objects.select_for_update().filter(path=path).first()
        index_file = locked or CachedIndexFile(path=path, name=name)
        checksums, changes = dict(index_file.checksums), {}
        for line in lines:
            if line.version and checksums.setdefault(line.version, line.checksum) != line.checksum:
                changes[line.version] = (checksums[line.version], line.checksum)
        if not changes:
            if bytes(index_file.body) != body or index_file.status != 200:
                free_space.require(len(body), settings.DATA_DIR)
                index_file.changed_at = timezone.now()
            index_file.status, index_file.body, index_file.checksums = 200, body, checksums
            index_file.upstream = upstream
            index_file.etag = _validator(headers, "etag", 200)
            index_file.last_modified = _validator(headers, "last-modified", 100)
            index_file.checked_at = timezone.now()
            index_file.save()
            shown = summaries.distinct(lines)
            summary = {**summaries.columns(name, shown, index_file.changed_at), "lines": summaries.pack(shown)}
            IndexSummary.objects.update_or_create(index_file_id=index_file.pk, defaults=summary)
            descriptions.update([name])
            CrateDownloads.objects.bulk_create([CrateDownloads(name=name)], ignore_conflicts=True)
    if changes:
        raise ChangedChecksum(changes)
    return index_file


def mark_unchecked(index_file: CachedIndexFile) -> None:
    """Let an index file be refreshed at its next request."""
    CachedIndexFile.objects.filter(pk=index_file.pk).update(checked_at=EPOCH)


def mark_stale(index_files: QuerySet[CachedIndexFile], *, actor: User) -> int:
    """Let these be refreshed at their next request; return how many they are."""
    with transaction.atomic():
        rows = list(index_files.only("name"))
        audit.record_all([audit.new_event(actor, audit.Action.MIRROR_REFRESH, row) for row in rows])
        return CachedIndexFile.objects.filter(pk__in=[row.pk for row in rows]).update(checked_at=EPOCH)


def _get_cached(path: str) -> CachedIndexFile | None:
    """Return what is cached; raises `NotFound` for a path that must not be looked up upstream."""
    name = path.rpartition("/")[2]
    if not index_lines.NAME.fullmatch(name) or names.index_path(name) != path:
        raise NotFound(upstreams.no_such_crate("this is not the path of a crate"))
    shared_names.refuse_own_name(name)
    return _find(path)


def _find(path: str) -> CachedIndexFile | None:
    """Return the stored index file, or one without a row for a remembered absence."""
    index_file = CachedIndexFile.objects.filter(path=path).first()
    if index_file is None and (absence := caches["mirror"].get(f"absence-{path}")):
        status, checked_at = absence
        return CachedIndexFile(path=path, name=path.rpartition("/")[2], status=status, checked_at=checked_at)
    return index_file


def _refresh(path: str) -> CachedIndexFile:
    """Ask upstream for an index file, once for all threads and processes; raises `UpstreamError` and `Unavailable`."""
    with file_locks.file_lock(f"mirror entry {path}", settings.MIRROR_TIMEOUT) as locked:
        index_file = _find(path)
        # Look again under the lock, and even without: the holder before us has usually refreshed it.
        if index_file is not None and index_file.is_fresh():
            return index_file
        if not locked:
            raise UpstreamError("The mirror is waiting for its upstream; try again.")
        try:
            return _fetch(path, index_file)
        except (UpstreamFault, Unavailable) as error:
            if index_file is not None:
                # Backdate the check so that the file is fresh for RETRY_AFTER_FAULT, but never for more than its TTL.
                ttl = timedelta(seconds=settings.MIRROR_INDEX_TTL)
                checked_at = timezone.now() - ttl + min(ttl, RETRY_AFTER_FAULT)
                CachedIndexFile.objects.filter(pk=index_file.pk).update(checked_at=checked_at)
            if isinstance(error, Unavailable):
                raise
            raise UpstreamError(f"The mirror's upstream fails: {error}.") from error


def _fetch(path: str, index_file: CachedIndexFile | None) -> CachedIndexFile:
    """Store the answer of the first upstream that has the crate, or that there is none; raises `UpstreamFault`.

    A fault ends the search. If it went on, whoever can disturb the first upstream could have a crate of the same name
    taken from the second.
    """
    status = 404
    for upstream in upstreams.configured_upstreams():
        try:
            answer = _fetch_from(upstream, path, index_file)
        except UpstreamFault as error:
            name = path.rpartition("/")[2]
            incidents.record_fault(error, upstream=upstream.url, crate=name, detail=f"{name}: {error}")
            raise
        if isinstance(answer, CachedIndexFile):
            return answer
        # The first reason that says more than 404 counts.
        status = answer if status == 404 else status
    return _store_absence(path, status)


def _fetch_from(upstream: Upstream, path: str, index_file: CachedIndexFile | None) -> CachedIndexFile | int:
    """Store the index file of one upstream, or return the status that says it has none; raises `UpstreamFault`."""
    validators = {}
    if index_file is not None and index_file.upstream == upstream.url:  # another upstream's mean nothing to it
        pairs = {"If-None-Match": index_file.etag, "If-Modified-Since": index_file.last_modified}
        validators = {header: value for header, value in pairs.items() if value}
    response = upstream.fetch_index_file(path, validators)
    if response.status == 304:
        if index_file is None or not validators:
            raise UpstreamFault("it answers 304 to somebody who has nothing")
        index_file.checked_at = timezone.now()
        index_file.save(update_fields=["checked_at"])
        return index_file
    if response.status == 200:
        return store(path, upstream.url, response.body, response.headers)
    return response.status


def _store_absence(path: str, status: int) -> CachedIndexFile:
    """Remember that upstream has no such crate: in the row of a crate that it had, and otherwise in memory alone.

    Strangers can ask for names without end, so such a name gets no row.
    """
    now = timezone.now()
    absence = {"status": status, "body": b"", "upstream": "", "checked_at": now}
    with transaction.atomic():
        had_crate = CachedIndexFile.objects.filter(path=path).update(**absence)
        if had_crate:
            IndexSummary.objects.filter(index_file__path=path).delete()
    if not had_crate:
        caches["mirror"].set(f"absence-{path}", (status, now), ABSENCE_TTL.total_seconds())
    return CachedIndexFile(path=path, name=path.rpartition("/")[2], **absence)


def _validator(headers: Mapping[str, str], name: str, max_length: int) -> str:
    """Return a header if it fits into its column and into a request again, or an empty text."""
    value = headers.get(name, "")
    return value if value.isascii() and value.isprintable() and len(value) <= max_length else ""
