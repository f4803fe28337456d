"""Downloads of `.crate` files. Where the bytes of a version are is kept in memory; see `registry_site.change_feed`."""

from datetime import datetime
from functools import partial
from typing import NamedTuple

from django.http import HttpRequest, HttpResponseBase

from crates import download_counts, names, removal
from crates.models import Crate, Version
from registry_site.errors import Gone, NotFound
from registry_site.http.downloads import deliver, immutable_for_readers
from registry_site.memory_cache import MemoryCache, Tag, register
from registry_site.server.response_cache import keep_download, rely_on
from registry_site.storage import blobs

MAX_FILES = 10_000  # in memory, about 5 MB


class CrateFile(NamedTuple):
    """The file of a version that is not removed."""

    version_id: int
    blob: blobs.Blob
    filename: str
    published_at: datetime


TABLES = {"mirror": [Crate._meta.db_table], "version": [Version._meta.db_table]}
crate_files = register(MemoryCache[tuple[str, str], CrateFile](TABLES, MAX_FILES))
for kind, tables in TABLES.items():
    rely_on(kind, tables)


def download(request: HttpRequest, name: str, number: str) -> HttpResponseBase:
    """Respond with the file of a version, yanked or not; raises `NotFound`, `Gone` and `Unavailable`."""
    key = names.canonical(name), number
    file = crate_files.get(key) or _find(name, number)
    count_download = partial(download_counts.versions.count, file.version_id)
    response = deliver(
        request,
        file.blob,
        filename=file.filename,
        modified=file.published_at,
        cache_control=immutable_for_readers(),
        count_download=count_download,
    )
    if file.filename != filename_of(name, number):  # of other spellings there are too many to keep them
        return response
    return keep_download(request, response, file.blob, *tags_of(file, key[0]), count_download=count_download)


def filename_of(name: str, number: str) -> str:
    return f"{name}-{number}.crate"


def tags_of(file: CrateFile, canonical_name: str) -> list[Tag]:
    """Return what ends the memory of a file: a change of its version or of its crate."""
    return [("version", str(file.version_id)), ("mirror", canonical_name)]


def _find(name: str, number: str) -> CrateFile:
    """Read where the file of a version is, and keep it in memory; raises `NotFound` and `Gone`."""
    ticket, canonical_name = crate_files.ticket(), names.canonical(name)
    version = (
        Version.with_removed.filter(crate__canonical_name=canonical_name, number=number)
        .only("checksum", "size", "published_at", "number", "crate__name", "removed_at", "removal_reason")
        .select_related("crate")
        .first()
    )
    if version is None:
        raise NotFound(f"There is no version {number[:80]!r} of a crate {name[:80]!r} here.")
    if version.removed_at is not None:
        raise Gone(removal.sentence(version))
    blob = blobs.Blob(version.checksum, version.size)
    file = CrateFile(version.pk, blob, filename_of(version.crate.name, version.number), version.published_at)
    crate_files.put((canonical_name, number), file, ticket, tags_of(file, canonical_name))
    return file
