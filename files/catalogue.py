"""The catalogue of files: adding, changing, removing. Each change is in the history."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from files import history, local_files, names
from files.actors import Actor
from files.models import Action, Clock, File
from registry_site.errors import Conflict, Malformed, NotFound, TooLarge
from registry_site.storage import blobs

BATCH = 500  # files that are held at once


class NoSuchFile(NotFound):
    """There is no live entry of this id."""

    def __init__(self, pk: int) -> None:
        super().__init__(f"File with id {pk} does not exist.")


@dataclass(frozen=True)
class Upload:
    """The bytes of a file, of which `size` were announced; `content` is seekable."""

    content: IO[bytes]
    size: int


@dataclass(frozen=True)
class Source:
    """Where the bytes of a file are: the columns that say it."""

    path: str
    size: int
    mtime_ns: int = 0
    sha256: str = ""


def add(
    actor: Actor,
    serve_path: str = "",
    path: str | None = None,
    upload: Upload | None = None,
    **about: Any,
) -> File:
    """Register a file on the server's disk, or one that is uploaded; `about` is category, aired, expires_at.

    Raises `Malformed`, `Invalid`, `Conflict` for a serve path that a live file has, `PermissionDenied` and
    `Unavailable`.
    """
    actor.require_write()
    if upload is None:
        _require("path", path)  # the original looks at it first
    _require("serve_path", serve_path)
    names.check_serve_path(serve_path)
    _refuse_taken(serve_path)
    source = _source(actor, path, upload)
    with transaction.atomic():
        actor.revalidate_and_lock()
        (now,) = Clock.tick()
        file = File(serve_path=serve_path, uploaded_at=now, modified_at=now, **asdict(source), **about)
        _save(file)
        history.of_files([file], Action.ADD, actor.name)
    return file


def update(actor: Actor, pk: int, path: str | None = None, upload: Upload | None = None, **changes: Any) -> File:
    """Change a live file: its bytes by `path` or `upload`; serve_path, category, aired, expires_at by name.

    What stays as it was is no change. Raises `NoSuchFile` and whatever `add` raises.
    """
    actor.require_write()
    present = _live(pk)
    if "serve_path" in changes:
        names.check_serve_path(changes["serve_path"])
        _refuse_taken(changes["serve_path"], besides=pk)
    if path == present.path and present.sha256:  # an upload's own, which says nothing new
        path = None
    if path is not None or upload is not None:
        changes |= asdict(_source(actor, path, upload))
    with transaction.atomic():
        actor.revalidate_and_lock()
        file = _live(pk, held=True)
        changed = [name for name, value in changes.items() if getattr(file, name) != value]
        if changed:
            for name in changed:
                setattr(file, name, changes[name])
            (file.modified_at,) = Clock.tick()
            _save(file, [*changed, "modified_at"])
            history.of_files([file], Action.UPDATE, actor.name, changed)
    return file


def remove(actor: Actor, pk: int) -> None:
    """Mark a live file as dead; its row and its bytes stay. Raises `NoSuchFile` and `PermissionDenied`."""
    actor.require_write()
    with transaction.atomic():
        actor.revalidate_and_lock()
        _end([_live(pk, held=True)], Action.DELETE, actor)


def end_all(actor: Actor, files: QuerySet[File], action: Action) -> int:
    """Those of many that are alive are dead from now on → how many; in short transactions that others come between."""
    actor.require_write()
    total, count = 0, BATCH
    while count == BATCH:
        with transaction.atomic():
            actor.revalidate_and_lock()
            live = File.objects.select_for_update(no_key=True).filter(pk__in=files.values("pk"), alive=True)
            count = _end(list(live.order_by("id")[:BATCH]), action, actor)
        total += count
    return total


def _end(files: Sequence[File], action: Action, actor: Actor) -> int:
    """Inside a transaction that holds these live files."""
    if files:
        for file, now in zip(files, Clock.tick(len(files)), strict=True):
            file.alive, file.modified_at = False, now
        File.objects.bulk_update(files, ["alive", "modified_at"])
        history.of_files(files, action, actor.name)
    return len(files)


def _require(name: str, value: str | None) -> None:
    if not value:
        raise Malformed(f"`{name}` must be specified")


def _live(pk: int, *, held: bool = False) -> File:
    files = File.objects.select_for_update(no_key=True) if held else File.objects.all()
    file = files.filter(pk=pk, alive=True).first()
    if file is None:
        raise NoSuchFile(pk)
    return file


def _refuse_taken(serve_path: str, besides: int | None = None) -> None:
    """Before anything is stored; two at once are told apart by the constraint."""
    at_it = File.objects.filter(serve_path=serve_path, alive=True)
    if any(pk != besides for pk in at_it.values_list("pk", flat=True)):
        raise _taken(serve_path)


def _taken(serve_path: str) -> Conflict:
    return Conflict(f"File at serve_path {serve_path} already exists.")


def _save(file: File, fields: list[str] | None = None) -> None:
    try:
        with transaction.atomic():
            file.save(update_fields=fields)
    except IntegrityError as error:
        raise _taken(file.serve_path) from error


def _source(actor: Actor, path: str | None, upload: Upload | None) -> Source:
    if path is not None and upload is not None:
        raise Malformed("Give `path`, of a file on the disk of the server, or upload a `file`: not both.")
    if upload is None:
        _require("path", path)
        found = local_files.find(path or "", actor.roots())
        return Source(found.path, found.size, mtime_ns=found.mtime_ns)
    if upload.size > settings.MAX_FILE_SIZE:
        raise TooLarge(f"The file has {upload.size} bytes; at most {settings.MAX_FILE_SIZE} are taken here.")
    blob = blobs.put(upload.content)
    return Source(f"upload:{blob.sha256}", blob.size, sha256=blob.sha256)
