"""Handing out the bytes of files."""

import mimetypes
from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from files import local_files
from files.models import File
from registry_site.errors import NotFound
from registry_site.http.downloads import Content, deliver
from registry_site.storage import blobs

MIME = mimetypes.MimeTypes()  # what the standard library knows, on every machine alike
UNKNOWN = "application/octet-stream"


def download(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The bytes of a file, dead or alive, unless dead ones are not served here.

    Raises `NotFound`, `roots.Changed` for a file on the disk that is not what was registered, and `Unavailable`.
    """
    files = File.objects.all() if settings.SERVE_DEAD_FILES else File.objects.filter(alive=True)
    file = files.filter(pk=pk).first()
    if file is None:
        raise NotFound(f"There is no file with id {pk}.")
    content = content_of(file)
    name = (file.serve_path if file.sha256 else file.path).rpartition("/")[2]
    return deliver(
        request,
        content,
        filename=name,
        modified=_written_at(file),
        cache_control="private, no-cache",
        content_type=_type_of(name),
    )


def content_of(file: File) -> Content:
    """What its entry says that it is; raises `NotFound` and `roots.Changed` for a file on the disk that is not."""
    if file.sha256:
        return blobs.Blob(file.sha256, file.size)
    found = local_files.Found(file.path, file.size, file.mtime_ns)
    local_files.open_found(found).close()
    return found


def _written_at(file: File) -> datetime:
    return file.modified_at if file.sha256 else datetime.fromtimestamp(file.mtime_ns / 1e9, UTC)


def _type_of(name: str) -> str:
    """By the end of the name; a compressed text is no text."""
    guessed, encoding = MIME.guess_type(name)
    if guessed is None or encoding:
        return UNKNOWN
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed
