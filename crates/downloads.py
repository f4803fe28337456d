"""Downloads of `.crate` files."""

from functools import partial

from django.http import HttpRequest, HttpResponseBase

from crates import download_counts, names, removal
from crates.models import Version
from registry_site.errors import Gone, NotFound
from registry_site.http.downloads import deliver, immutable_for_readers
from registry_site.storage import blobs


def download(request: HttpRequest, name: str, number: str) -> HttpResponseBase:
    """Respond with the file of a version, yanked or not; raises `NotFound`, `Gone` and `Unavailable`."""
    version = (
        Version.with_removed.filter(crate__canonical_name=names.canonical(name), number=number)
        .only("checksum", "size", "published_at", "number", "crate__name", "removed_at", "removal_reason")
        .select_related("crate")
        .first()
    )
    if version is None:
        raise NotFound(f"There is no version {number[:80]!r} of a crate {name[:80]!r} here.")
    if version.removed_at is not None:
        raise Gone(removal.sentence(version))
    return deliver(
        request,
        blobs.Blob(version.checksum, version.size),
        filename=f"{version.crate.name}-{version.number}.crate",
        modified=version.published_at,
        cache_control=immutable_for_readers(),
        count_download=partial(download_counts.versions.count, version.pk),
    )
