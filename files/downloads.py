"""Downloads: the bytes of registered and uploaded files."""

import mimetypes
from datetime import UTC, datetime
from functools import partial

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from files import download_counts, local_files
from files.models import File
from registry_site.errors import NotFound
from registry_site.http.downloads import Content, deliver
from registry_site.storage import blobs

MIME_TYPES = mimetypes.MimeTypes()  # of the standard library, not of /etc/mime.types: the same on every machine
DEFAULT_TYPE = "application/octet-stream"


def download(request: HttpRequest, pk: int, client_id: int) -> HttpResponseBase:
    """Return the response with the bytes of a file for a client; dead files are served if the settings allow it.

    Raises `NotFound`, `Unavailable`, and `local_files.FileChanged` for a file on the disk that was changed.
    """
    files = File.objects.all() if settings.SERVE_DEAD_FILES else File.objects.live()
    file = files.filter(pk=pk).first()
    if file is None:
        raise NotFound(f"There is no file with id {pk}.")
    content: Content
    if file.sha256:
        content = blobs.Blob(file.sha256, file.size)
        name, modified = file.serve_path, file.modified_at
    else:
        content = local_files.LocalFile(file.path, file.size, file.mtime_ns)
        name, modified = file.path, datetime.fromtimestamp(file.mtime_ns / 1e9, UTC)
        local_files.open_unchanged(content).close()  # a 304 and a HEAD must not vouch for a changed file
    name = name.rpartition("/")[2]
    content_type, encoding = MIME_TYPES.guess_type(name)
    if content_type is None or encoding:  # a compressed text is no text
        content_type = DEFAULT_TYPE
    elif content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    return deliver(
        request,
        content,
        filename=name,
        modified=modified,
        cache_control="private, no-cache",
        content_type=content_type,
        count_download=partial(download_counts.files.count, pk, client_id),
    )
