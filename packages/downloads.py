"""Downloads of package archives."""

import re
from functools import partial

from django.http import HttpRequest, HttpResponseBase

from accounts.models import User
from packages import download_counts, lookup
from packages.models import Release
from registry_site.errors import NotFound
from registry_site.http.downloads import deliver
from registry_site.storage import blobs

# Characters that separate paths or that a system forbids in names of files; `%` because some clients decode it.
UNSAFE = re.compile(r'[/\\:*?"<>|%]')
MAX_STEM = 251  # bytes, so that the name of a file has 255 at most


def archive_filename(release: Release) -> str:
    """Return a name for the archive on any disk: `@scope/name` 1:2.3-1 → `scope-name-1-2.3-1.tgz`, as npm has it."""
    stem = UNSAFE.sub("-", f"{release.package.name.removeprefix('@')}-{release.version}")
    return f"{stem.encode()[:MAX_STEM].decode(errors='ignore')}.tgz"


def download(request: HttpRequest, user: User | None, namespace: str, name: str, version: str) -> HttpResponseBase:
    """Return the archive of a version that `user` may read; raises `NotFound` and `Unavailable`."""
    release = lookup.get_release(user, namespace, name, version)
    if not release.sha256:
        raise NotFound(f"{release} has no archive.", code="archive_missing")
    return deliver(
        request,
        blobs.Blob(release.sha256, release.size),
        filename=archive_filename(release),
        modified=release.published_at,
        # Caches must revalidate: the package can become private, and a snapshot can be replaced.
        cache_control="private, no-cache",
        count_download=partial(download_counts.releases.count, release.pk),
    )
