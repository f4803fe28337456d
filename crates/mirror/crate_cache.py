"""The files of the mirror: fetched once however many ask, and kept or handed out only as what the index says."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import IO

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from crates import names
from crates.mirror import incidents, index_cache, index_lines, licenses, metrics, overrides, upstreams
from crates.mirror.index_lines import Line
from crates.mirror.metrics import OutcomeRecorder, ignore_outcome
from crates.mirror.models import STORE, CachedCrate, CachedIndexFile, Incident
from crates.mirror.upstreams import UpstreamFault
from registry_site import file_locks
from registry_site.errors import NotFound, UpstreamError
from registry_site.http.downloads import deliver
from registry_site.server import read_ahead
from registry_site.storage import blobs

MAX_BYTES_IN_MEMORY = 1024 * 1024  # bytes
DAY = timedelta(days=1)


class WrongBytes(UpstreamFault):
    """What came is not what the index says."""


def download(request: HttpRequest, name: str, version: str) -> HttpResponseBase:
    """A version's file.

    Raises `NotFound`, `PermissionDenied` for what staff have blocked, `errors.Upstream` and `Unavailable`.
    """
    archive, _ = find(name, version, metrics.record_crate_outcome)
    return deliver(
        request,
        archive.blob(),
        filename=f"{name}-{version}.crate",
        modified=archive.fetched_at,
        cache_control=f"{'private' if settings.AUTH_REQUIRED else 'public'}, max-age=31536000, immutable",
        content_type="application/x-tar",  # as Ktra documents it
    )


def find(name: str, version: str, tell: OutcomeRecorder = ignore_outcome) -> tuple[CachedCrate, bool]:
    """A version's file, and whether it had to be fetched; raises as `download` does."""
    with metrics.recording_failure(tell):
        entry, line = _listed(name, version, index_cache.get_or_refresh)
    return get_or_fetch(entry, line, tell)


@read_ahead.on_pending_request(r"/ktra/api/v1/mirror/([^/]+)/([^/]+)/download")
def prefetch_archive(name: str, version: str) -> None:
    """Fetch a version's file in a thread, for a request that is queued on its connection."""
    index_cache.submit_prefetch(
        f"crate {name}/{version}", lambda: _fetched(*_listed(name, version, index_cache.refresh_if_stale))
    )


def _listed(name: str, version: str, find: Callable[[str], CachedIndexFile]) -> tuple[CachedIndexFile, Line]:
    """The line of a version that is not blocked."""
    if not index_cache.NAME.fullmatch(name):
        raise NotFound(_none(name, version))
    overrides.refuse_blocked(name, version)
    entry = find(names.index_path(name.lower()))
    present = {line.version: line for line in index_lines.parse(bytes(entry.body)) if line.version}
    if version not in present:
        raise NotFound(_none(name, version))
    return entry, present[version]


def get_or_fetch(
    entry: CachedIndexFile, line: Line, tell: OutcomeRecorder = ignore_outcome
) -> tuple[CachedCrate, bool]:
    """The file of a line, and whether it had to be fetched; raises as `download` does."""
    kept = CachedCrate.objects.filter(name=entry.name, version=line.version, sha256=line.checksum)
    archive = kept.first()
    if archive is None:
        read_ahead.start_pending()
        with metrics.recording_fetch(tell), index_cache.limiter.slot():
            return _fetched(entry, line), True
    metrics.record_cache_hit(tell, archive.fetched_at, archive.fetched_at)
    if archive.last_used_at < timezone.now() - DAY:  # once in a day, so that reading hardly ever writes
        kept.update(last_used_at=timezone.now())
    return archive, False


def store(entry: CachedIndexFile, line: Line, file: IO[bytes]) -> CachedCrate:
    """Keep a file whose bytes are those of the line; whoever does it holds its lock."""
    blob = blobs.put(file, store=STORE)
    archive, _ = CachedCrate.objects.get_or_create(
        name=entry.name,
        version=line.version,
        sha256=line.checksum,
        defaults={"size": blob.size, "license": licenses.read_license(file, blob.size), "upstream": entry.upstream},
    )
    return archive


def lock_bytes(sha256: str) -> AbstractContextManager[bool]:
    """Whoever fetches or deletes the bytes holds it."""
    return file_locks.file_lock(f"mirror archive {sha256}", settings.MIRROR_TIMEOUT)


def _fetched(entry: CachedIndexFile, line: Line) -> CachedCrate:
    """Fetch it, once for all who wait; nothing is kept that is not what the index says."""
    with lock_bytes(line.checksum) as mine:
        kept = CachedCrate.objects.filter(name=entry.name, version=line.version, sha256=line.checksum).first()
        if kept is not None:
            return kept
        if settings.MIRROR_OFFLINE:
            raise NotFound(
                f"{entry.name} {line.version} is not in this mirror, which asks nobody (REGISTRY_MIRROR_OFFLINE)."
            )
        if not mine:
            raise UpstreamError("The mirror is waiting for its upstream; try again.")
        subject = f"{entry.name}@{line.version}"
        try:
            with tempfile.SpooledTemporaryFile(MAX_BYTES_IN_MEMORY, dir=str(settings.FILE_UPLOAD_TEMP_DIR)) as file:
                _receive(entry, line, file)
                return store(entry, line, file)
        except WrongBytes as error:
            incidents.record(Incident.Kind.WRONG_BYTES, subject, f"not {line.checksum}")
            raise _failing(error) from error
        except UpstreamFault as error:
            incidents.record(Incident.Kind.FAULT, subject, str(error))
            raise _failing(error) from error


def _receive(entry: CachedIndexFile, line: Line, file: IO[bytes]) -> None:
    """Raises `Fault` and `NotFound`."""
    name = line.name if line.name.lower() == entry.name else entry.name  # in upstream's own letters
    status = upstreams.get_upstream(entry.upstream).archive(name, line.version, line.checksum, file)
    if status != 200:
        raise upstreams.ABSENCE_ERRORS[status](_none(entry.name, line.version))
    if blobs.sha256_of(file) != line.checksum:
        raise WrongBytes("it sends other bytes than its index says")


def _failing(error: UpstreamFault) -> UpstreamError:
    return UpstreamError(f"The mirror's upstream fails: {error}.")


def _none(name: str, version: str) -> str:
    return f"There is no version {version[:80]!r} of a crate {name[:80]!r} in the mirror."
