"""Downloads of package archives."""

from django.http import HttpRequest, HttpResponseBase

from accounts.models import User
from packages import lookup
from registry_site.errors import NotFound
from registry_site.http.downloads import deliver
from registry_site.storage import blobs


def download(request: HttpRequest, user: User | None, namespace: str, name: str, version: str) -> HttpResponseBase:
    """Return the archive of a version that `user` may read; raises `NotFound` and `Unavailable`."""
    release = lookup.get_release(user, namespace, name, version)
    if not release.sha256:
        raise NotFound(f"{release} has no archive.", code="archive_missing")
    return deliver(
        request,
        blobs.Blob(release.sha256, release.size),
        filename=f"{release.package.name}-{release.version}.tgz",
        modified=release.published_at,
        # Caches must revalidate: the package can become private, and a snapshot can be replaced.
        cache_control="private, no-cache",
    )
