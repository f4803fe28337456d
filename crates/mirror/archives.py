"""The files of the mirror: fetched once however many ask, and kept or handed out only as what the index says."""

import tempfile
from contextlib import AbstractContextManager
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from crates import names
from crates.mirror import entries, incidents, lines, upstreams
from crates.mirror.models import STORE, Archive, Entry, Incident
from crates.mirror.upstreams import Fault
from registry_site import blobs, locks
from registry_site.downloads import deliver
from registry_site.errors import Missing
from registry_site.errors import Upstream as UpstreamFault

IN_MEMORY = 1024 * 1024  # bytes
DAY = timedelta(days=1)


def download(request: HttpRequest, name: str, version: str) -> HttpResponseBase:
    """A version's file; raises `Missing`, `errors.Upstream` and `Unavailable`."""
    archive, _ = find(name, version)
    return deliver(
        request,
        archive.blob(),
        filename=f"{name}-{version}.crate",
        modified=archive.fetched_at,
        cache_control=f"{'private' if settings.AUTH_REQUIRED else 'public'}, max-age=31536000, immutable",
        content_type="application/x-tar",  # as Ktra documents it
    )


def find(name: str, version: str) -> tuple[Archive, bool]:
    """A version's file, and whether it had to be fetched; raises as `download` does."""
    lower = name.lower()
    if not entries.NAME.fullmatch(name):
        raise Missing(_none(name, version))
    entry = entries.find(names.index_path(lower))
    present = {line.version: line.checksum for line in lines.parsed(bytes(entry.body))}
    checksum = present.get(version)
    if not version or checksum is None:
        raise Missing(_none(name, version))
    kept = Archive.objects.filter(name=lower, version=version, sha256=checksum)
    archive = kept.first()
    if archive is None:
        return _fetched(entry, name, version, checksum), True
    if archive.asked_at < timezone.now() - DAY:  # once in a day, so that reading hardly ever writes
        kept.update(asked_at=timezone.now())
    return archive, False


def lock_of(sha256: str) -> AbstractContextManager[bool]:
    """Whoever fetches or deletes the bytes holds it."""
    return locks.held(f"mirror archive {sha256}", settings.MIRROR_TIMEOUT)


def _fetched(entry: Entry, name: str, version: str, checksum: str) -> Archive:
    """Fetch it, once for all who wait; nothing is kept that is not what the index says."""
    lower = name.lower()
    with lock_of(checksum) as mine:
        kept = Archive.objects.filter(name=lower, version=version, sha256=checksum).first()
        if kept is not None:
            return kept
        if settings.MIRROR_OFFLINE:
            raise Missing(f"{name} {version} is not in this mirror, which asks nobody (REGISTRY_MIRROR_OFFLINE).")
        if not mine:
            raise UpstreamFault("The mirror is waiting for its upstream; try again.")
        try:
            blob = _received(entry, name, version, checksum)
        except Fault as error:
            incidents.record(Incident.Kind.FAULT, f"{lower}@{version}", str(error))
            raise UpstreamFault(f"The mirror's upstream fails: {error}.") from error
        archive, _ = Archive.objects.get_or_create(
            name=lower,
            version=version,
            sha256=checksum,
            defaults={"size": blob.size, "upstream": entry.upstream},
        )
        return archive


def _received(entry: Entry, name: str, version: str, checksum: str) -> blobs.Blob:
    with tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(settings.FILE_UPLOAD_TEMP_DIR)) as file:
        status = upstreams.named(entry.upstream).archive(name, version, checksum, file)
        if status != 200:
            raise Missing(_none(name, version))
        if blobs.sha256_of(file) != checksum:
            incidents.record(Incident.Kind.WRONG_BYTES, f"{name.lower()}@{version}", f"not {checksum}")
            raise Fault("it sends other bytes than its index says")
        return blobs.put(file, store=STORE)


def _none(name: str, version: str) -> str:
    return f"There is no version {version[:80]!r} of a crate {name[:80]!r} in the mirror."
