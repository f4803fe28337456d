"""Cached crates: fetched once for all requests, and stored only when they have the checksum of the index."""

from contextlib import AbstractContextManager
from datetime import timedelta
from io import SEEK_END
from typing import IO

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from crates.mirror import concurrency, crate_facts, incidents, index_cache, metrics, upstreams
from crates.mirror.examination import examiner
from crates.mirror.index_lines import Line
from crates.mirror.metrics import OutcomeRecorder, ignore_outcome
from crates.mirror.models import STORE, CachedCrate, CachedIndexFile, CrateFacts, Incident
from crates.mirror.upstreams import UpstreamFault
from crates.package import archive
from registry_site import file_locks
from registry_site.errors import Invalid, NotFound, RegistryError, Unavailable, UpstreamError
from registry_site.server import read_ahead
from registry_site.storage import blobs, free_space
from registry_site.upstream_limiter import limiter

DAY = timedelta(days=1)
STORE_FAILURE = "mirror-store-failure"  # why bytes could not be stored just now
STORE_FAILURE_SECONDS = 10


class WrongBytes(UpstreamFault):
    """A file with another checksum than the index says."""

    kind = Incident.Kind.WRONG_BYTES


class RefusedArchive(UpstreamFault):
    """An archive with links or two manifests in it."""

    kind = Incident.Kind.REFUSED_ARCHIVE


def get_or_fetch(
    index_file: CachedIndexFile, line: Line, record_outcome: OutcomeRecorder = ignore_outcome
) -> tuple[CachedCrate, bool]:
    """Return the crate of a line, and whether it was fetched just now.

    Raises `NotFound` if upstream does not have it, and `UpstreamError`.
    """
    crate = index_file.cached_crates().filter(version=line.version, sha256=line.checksum).first()
    if crate is None:
        read_ahead.start_pending()
        with metrics.recording_fetch(record_outcome), limiter.slot(concurrency.MIRROR):
            return fetch(index_file, line), True
    metrics.record_cache_hit(record_outcome, crate.fetched_at, crate.fetched_at)
    if crate.last_used_at < timezone.now() - DAY:  # once a day, so that reading hardly ever writes
        crate.last_used_at = timezone.now()
        CachedCrate.objects.filter(pk=crate.pk).update(last_used_at=crate.last_used_at)
    return crate, False


def fetch(index_file: CachedIndexFile, line: Line) -> CachedCrate:
    """Fetch a crate, once for all threads and processes, without a slot of the limiter; raises as `get_or_fetch`."""
    with lock_bytes(line.checksum) as locked:
        # Look again under the lock, and even without: the holder before us has usually stored it.
        crate = index_file.cached_crates().filter(version=line.version, sha256=line.checksum).first()
        if crate is not None:
            return crate
        if settings.MIRROR_OFFLINE:
            raise NotFound(
                f"{index_file.name} {line.version} is not in this mirror, which asks nobody (REGISTRY_MIRROR_OFFLINE)."
            )
        if not locked:
            raise UpstreamError("The mirror is getting this crate for somebody else; try again.")
        if failure := cache.get(STORE_FAILURE):  # upstream need not send what cannot be stored
            raise Unavailable(failure)
        crate_version = f"{index_file.name}@{line.version}"
        source = index_file.upstream or "an unknown upstream"  # of an import
        # Paths of downloads are case-sensitive at upstream. Its spelling is in the line, which it wrote itself.
        name = line.name if line.name.lower() == index_file.name else index_file.name
        try:
            upstream = upstreams.get_upstream(index_file.upstream)
            with free_space.TemporaryFile() as file:
                status = upstream.download_crate(name, line.version, line.checksum, file)
                if status != 200:
                    raise upstreams.ABSENCE_ERRORS[status](no_such_version(index_file.name, line.version))
                if blobs.sha256_of(file) != line.checksum:
                    raise WrongBytes("it sends other bytes than its index says")
                check_archive(index_file.upstream, file)
                stored = store(index_file, line, file)
        except UpstreamFault as error:
            if not (isinstance(error, WrongBytes) and _records_changed_checksum(index_file)):
                detail = f"{crate_version}: {error} ({line.checksum})"
                incidents.record_fault(error, upstream=source, crate=index_file.name, detail=detail)
            raise UpstreamError(f"The mirror's upstream fails: {error}.") from error
    transaction.on_commit(lambda: examiner.submit(stored))
    return stored


def _records_changed_checksum(index_file: CachedIndexFile) -> bool:
    """Look at the index again after wrong bytes; return whether a changed checksum is the incident."""
    index_cache.mark_unchecked(index_file)
    try:
        index_cache.refresh_if_stale(index_file.path)
    except RegistryError as error:
        return isinstance(error.__cause__, index_cache.ChangedChecksum)
    return False


def check_archive(upstream: str, file: IO[bytes]) -> None:
    """Raise `RefusedArchive` for a crate of a private upstream that contains links (CVE-2026-5223) or two manifests."""
    if upstream == upstreams.CRATES_IO:
        return
    try:
        archive.check_foreign(file, file.seek(0, SEEK_END))
    except Invalid as error:
        raise RefusedArchive(f"it sends an archive that is refused here: {error.message.removesuffix('.')}") from error


def store(index_file: CachedIndexFile, line: Line, file: IO[bytes]) -> CachedCrate:
    """Store a file whose checksum was compared with the line. The caller holds `lock_bytes`."""
    try:
        blob = blobs.put(file, store=STORE)  # durable before its row is: a row without bytes would be served
    except Unavailable as error:
        cache.set(STORE_FAILURE, error.message, STORE_FAILURE_SECONDS)
        raise
    license_, facts = crate_facts.read_manifest(file, blob.size)
    with transaction.atomic():
        crate, _ = CachedCrate.objects.get_or_create(
            name=index_file.name,
            version=line.version,
            sha256=line.checksum,
            defaults={"size": blob.size, "license": license_, "upstream": index_file.upstream},
        )
        CrateFacts.objects.get_or_create(crate=crate, defaults=facts)
    return crate


def lock_bytes(sha256: str) -> AbstractContextManager[bool]:
    """Lock the bytes of a checksum against being stored and deleted at the same time; False if others keep the lock.

    Two crates with the same bytes share a blob, so the lock is on the checksum and not on the name.
    """
    return file_locks.file_lock(f"mirror archive {sha256}", settings.MIRROR_TIMEOUT)


def no_such_version(name: str, version: str) -> str:
    return f"There is no version {version[:80]!r} of a crate {name[:80]!r} in the mirror."
