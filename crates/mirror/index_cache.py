"""The index of the mirror: each crate's file as upstream has it, kept, and looked at again when its time is up."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from crates import names
from crates.mirror import incidents, index_lines, metrics, upstreams
from crates.mirror.concurrency import BackgroundTasks, UpstreamLimiter
from crates.mirror.metrics import OutcomeRecorder, ignore_outcome
from crates.mirror.models import CachedIndexFile, Incident
from crates.mirror.upstreams import UpstreamFault
from crates.models import Crate
from registry_site import file_locks
from registry_site.errors import NotFound, UpstreamError
from registry_site.server import read_ahead

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ABSENCE_TTL = timedelta(seconds=60)  # for which "there is none" is believed
RETRY_AFTER_FAULT = timedelta(seconds=30)  # after a fault, before upstream is asked for the same again
NO_SUCH_CRATE = "There is no such crate in this index."

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_HEADERS: Mapping[str, str] = {}

limiter = UpstreamLimiter()
_background: BackgroundTasks[CachedIndexFile] = BackgroundTasks(threads=8)
_prefetches: BackgroundTasks[None] = BackgroundTasks(threads=8)  # its own threads: a client that waits goes first


def get_or_refresh(path: str, tell: OutcomeRecorder = ignore_outcome) -> CachedIndexFile:
    """What the index has at `path`, such as se/rd/serde: from upstream, or what was there last when that fails.

    Raises `NotFound` for what is not there, or must not be asked for, and `errors.Upstream`.
    """
    entry = _here(path)
    if entry is not None and (settings.MIRROR_OFFLINE or _is_fresh(entry)):
        metrics.record_cache_hit(tell, entry.changed_at, entry.checked_at)
        return entry
    if settings.MIRROR_OFFLINE:
        raise NotFound(NO_SUCH_CRATE)
    read_ahead.start_pending()
    if entry is None or entry.status != 200:
        with metrics.recording_fetch(tell), limiter.slot():
            return _refreshed(path)
    news = _background.result(path, _in_thread)
    tell("renewed" if news else "stale")
    return news or entry


@read_ahead.on_pending_request(r"/mirror/index/(.*)")
def prefetch_entry(path: str) -> None:
    """Fetch an index file in a thread, for a request that is queued on its connection."""
    submit_prefetch(f"index {path}", lambda: refresh_if_stale(path))


def submit_prefetch(key: str, fetch: Callable[[], object]) -> None:
    """Run `fetch` in a thread, unless its result would be stale again when the queued request is answered."""

    def run(key: str) -> None:
        try:
            fetch()
        finally:
            connection.close()  # no request ends in this thread, so Django would leave it open

    if settings.MIRROR_INDEX_TTL and not settings.MIRROR_OFFLINE:
        _prefetches.submit(key, run)


def refresh_if_stale(path: str) -> CachedIndexFile:
    """Return the entry at `path`, refreshed if stale, without a slot of the limiter; raises as `get_or_refresh`."""
    entry = _here(path)
    return entry if entry is not None and _is_fresh(entry) else _refreshed(path)


def _here(path: str) -> CachedIndexFile | None:
    """What is here already; raises `NotFound` for what must not be asked for."""
    name = path.rpartition("/")[2]
    if not NAME.fullmatch(name) or names.index_path(name) != path:
        raise NotFound(NO_SUCH_CRATE)
    refuse_private(name)
    return CachedIndexFile.objects.filter(path=path).first()


def refuse_private(name: str) -> None:
    """A name of ours is never asked for elsewhere, in none of its spellings; raises `NotFound`."""
    canonical = names.canonical(name)
    reserved = any(fnmatchcase(canonical, names.canonical(pattern)) for pattern in settings.PRIVATE_NAMES)
    if reserved or Crate.objects.named(name).exists():
        raise NotFound(NO_SUCH_CRATE)


def mark_stale(asked: QuerySet[CachedIndexFile]) -> int:
    """Upstream is asked for these again when somebody wants them next → how many they are."""
    return asked.update(checked_at=EPOCH)


def forget_checksums(asked: QuerySet[CachedIndexFile]) -> int:
    """What upstream has now counts from then on, also where a checksum has changed → how many they are."""
    return asked.update(checksums={}, etag="", last_modified="", checked_at=EPOCH)


def _is_fresh(entry: CachedIndexFile) -> bool:
    ttl = timedelta(seconds=settings.MIRROR_INDEX_TTL)
    return timezone.now() < entry.checked_at + (ttl if entry.status == 200 else min(ttl, ABSENCE_TTL))


def _in_thread(path: str) -> CachedIndexFile:
    try:
        return _refreshed(path)
    finally:
        connection.close()


def _refreshed(path: str) -> CachedIndexFile:
    """Ask upstream, once for all who want to know; raises `errors.Upstream`."""
    with file_locks.file_lock(f"mirror entry {path}", settings.MIRROR_TIMEOUT) as mine:
        entry = CachedIndexFile.objects.filter(path=path).first()
        if entry is not None and _is_fresh(entry):
            return entry
        if not mine:
            raise UpstreamError("The mirror is waiting for its upstream; try again.")
        try:
            return _asked(path, entry)
        except UpstreamFault as error:
            incidents.record(Incident.Kind.FAULT, path.rpartition("/")[2], str(error))
            if entry is not None:
                ttl = timedelta(seconds=settings.MIRROR_INDEX_TTL)
                CachedIndexFile.objects.filter(pk=entry.pk).update(
                    checked_at=timezone.now() - ttl + min(ttl, RETRY_AFTER_FAULT)
                )
            raise UpstreamError(f"The mirror's upstream fails: {error}.") from error


def _asked(path: str, entry: CachedIndexFile | None) -> CachedIndexFile:
    """The first upstream that has it, in their order; one that fails is not passed over, or another could step in."""
    status = 404
    for upstream in upstreams.configured_upstreams():
        validators = _validators(entry) if entry is not None and entry.upstream == upstream.url else {}
        answer = upstream.entry(path, validators)
        if answer.status == 304:
            if entry is None or not validators:
                raise UpstreamFault("it answers 304 to somebody who has nothing")
            return _kept(entry)
        if answer.status == 200:
            return store(path, upstream.url, answer.body, answer.headers)
        status = answer.status if status == 404 else status
    found, _ = CachedIndexFile.objects.update_or_create(
        path=path,
        defaults={
            "name": path.rpartition("/")[2],
            "status": status,
            "body": b"",
            "upstream": "",
            "checked_at": timezone.now(),
        },
    )
    return found


def _validators(entry: CachedIndexFile) -> dict[str, str]:
    given = {"If-None-Match": entry.etag, "If-Modified-Since": entry.last_modified}
    return {name: value for name, value in given.items() if value}


def _kept(entry: CachedIndexFile) -> CachedIndexFile:
    entry.checked_at = timezone.now()
    entry.save(update_fields=["checked_at"])
    return entry


def store(path: str, upstream: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> CachedIndexFile:
    """The file as it is now; raises `Fault` when it takes back the checksum of a version that was seen before."""
    name = path.rpartition("/")[2]
    with transaction.atomic():
        entry = CachedIndexFile.objects.select_for_update().filter(path=path).first() or CachedIndexFile(
            path=path, name=name
        )
        seen, changed = _checksums(entry, body)
        if not changed:
            if bytes(entry.body) != body or entry.status != 200:
                entry.changed_at = timezone.now()
            entry.status, entry.body, entry.checksums, entry.upstream = 200, body, seen, upstream
            entry.etag = _validator(headers, "etag", 200)
            entry.last_modified = _validator(headers, "last-modified", 100)
            entry.checked_at = timezone.now()
            entry.save()
    for version, told in changed.items():  # after the transaction, or nobody would hear of it
        incidents.record(Incident.Kind.CHANGED, f"{name}@{version}", told)
    if changed:
        raise UpstreamFault("; ".join(f"the checksum of {version} {told}" for version, told in changed.items())[:400])
    return entry


def _checksums(entry: CachedIndexFile, body: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Of each version, as it was first seen; and of those that have another now, what was and what is."""
    seen, changed = dict(entry.checksums), {}
    for line in index_lines.parse(body):
        if line.version and seen.setdefault(line.version, line.checksum) != line.checksum:
            changed[line.version] = f"was {seen[line.version]} and is {line.checksum}"
    return seen, changed


def _validator(headers: Mapping[str, str], name: str, longest: int) -> str:
    given = headers.get(name, "")
    return given if given.isascii() and given.isprintable() and len(given) <= longest else ""
