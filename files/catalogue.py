"""The catalogue of files: verbs that add, change and remove entries. Each change is in the audit log.

Locks are taken in one order: the client (`Actor.revalidate_and_lock`), the files, the sequence of changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from files import local_files, names
from files.actors import Actor
from files.models import ChangeSequence, File
from registry_site import audit
from registry_site.audit import Action
from registry_site.errors import Conflict, Malformed, NotFound, PermissionDenied, TooLarge
from registry_site.models import AuditEvent
from registry_site.storage import stored_blobs

BATCH_SIZE = 500  # files that one transaction locks


class NoSuchFile(NotFound):
    """A live file with this id does not exist."""

    def __init__(self, pk: int) -> None:
        super().__init__(f"File with id {pk} does not exist.")


class FieldRequired(Malformed):
    """A field is missing or empty."""

    def __init__(self, name: str) -> None:
        super().__init__(f"`{name}` must be specified")


class ServePathTaken(Conflict):
    """A live file has this serve path."""

    def __init__(self, serve_path: str) -> None:
        super().__init__(f"File at serve_path {serve_path} already exists.")


@dataclass(frozen=True)
class Upload:
    """An uploaded file: a seekable stream, and the size that the client announced."""

    content: IO[bytes]
    size: int


@dataclass(frozen=True)
class ContentSource:
    """The columns of a file that say where its bytes are."""

    path: str
    size: int
    mtime_ns: int = 0
    sha256: str = ""


def add_file(
    actor: Actor,
    serve_path: str = "",
    path: str | None = None,
    upload: Upload | None = None,
    **details: Any,
) -> File:
    """Register a file on the server's disk or an uploaded one; `details` are category, aired and expires_at.

    Raises `Malformed`, `Invalid`, `ServePathTaken`, `PermissionDenied` and `Unavailable`.
    """
    actor.require_write()
    if upload is None and not path:  # before the serve path, as the original registry does
        raise FieldRequired("path")
    if not serve_path:
        raise FieldRequired("serve_path")
    _check_serve_path(serve_path)
    source = _store_content(actor, path, upload)
    with transaction.atomic():
        actor.revalidate_and_lock()
        (now,) = ChangeSequence.next()
        file = File(serve_path=serve_path, uploaded_at=now, modified_at=now, **asdict(source), **details)
        file.uploaded_by = actor.name if source.sha256 else ""
        _save(file)
        _record(actor, Action.FILE_ADD, [file])
    return file


def update_file(actor: Actor, pk: int, path: str | None = None, upload: Upload | None = None, **changes: Any) -> File:
    """Change a live file: its bytes by `path` or `upload`, and serve_path, category, aired or expires_at by name.

    A value that stays the same is no change. Raises `NoSuchFile`, the errors of `add_file`, and `PermissionDenied` for
    a file outside of the client's directories.
    """
    actor.require_write()
    before = _get_live_file(pk)
    _require_may_change(actor, before)
    if "serve_path" in changes:
        _check_serve_path(changes["serve_path"], own_pk=pk)
    if path == before.path and before.sha256:  # a client sends an upload's own `upload:…` back: no path on the disk
        path = None
    if path is not None or upload is not None:
        changes |= asdict(_store_content(actor, path, upload))
    with transaction.atomic():
        actor.revalidate_and_lock()
        file = _get_live_file(pk, lock=True)
        _require_may_change(actor, file)
        changed = [name for name, value in changes.items() if getattr(file, name) != value]
        if changed:
            for name in changed:
                setattr(file, name, changes[name])
            (file.modified_at,) = ChangeSequence.next()
            if "sha256" in changed:
                file.uploaded_by = actor.name if file.sha256 else ""
            _save(file, [*changed, "uploaded_by", "modified_at"])
            _record(actor, Action.FILE_UPDATE, [file], fields=changed)
    return file


def mark_dead(actor: Actor, pk: int) -> None:
    """Mark a live file as dead; its row and its bytes stay. Raises `NoSuchFile` and `PermissionDenied`."""
    actor.require_write()
    with transaction.atomic():
        actor.revalidate_and_lock()
        _mark_locked_files_dead([_get_live_file(pk, lock=True)], Action.FILE_DELETE, actor)


def mark_all_dead(actor: Actor, files: QuerySet[File], action: Action) -> int:
    """Mark those files as dead that are alive, and return their number; raise `PermissionDenied`."""
    actor.require_write()
    total, count = 0, BATCH_SIZE
    # Short transactions, so that other writers of SQLite, which has one at a time, come between.
    while count == BATCH_SIZE:
        with transaction.atomic():
            actor.revalidate_and_lock()
            live = File.objects.live().filter(pk__in=files.values("pk")).order_by("id")[:BATCH_SIZE]
            count = _mark_locked_files_dead(list(live.select_for_update(no_key=True)), action, actor)
        total += count
    return total


def _mark_locked_files_dead(files: Sequence[File], action: Action, actor: Actor) -> int:
    for file in files:
        _require_may_change(actor, file)
    if files:
        for file, now in zip(files, ChangeSequence.next(len(files)), strict=True):
            file.alive, file.modified_at = False, now
        File.objects.bulk_update(files, ["alive", "modified_at"])
        _record(actor, action, files)
    return len(files)


def _record(actor: Actor, action: Action, files: Iterable[File], **detail: Any) -> None:
    """Record the same change of several files, each at the time that is its `modified_at` now."""
    audit.record_all([audit.new_event(actor.author, action, file, at=file.modified_at, **detail) for file in files])


def _require_may_change(actor: Actor, file: File) -> None:
    """Raise `PermissionDenied` unless the file lies in a directory of the actor, or is an upload of its own."""
    roots = actor.allowed_roots()
    if roots is None:
        return
    if file.sha256:
        # An upload lies in no directory. A client that has changed it before was allowed to; the log forgets the old
        # changes, but the file keeps its author.
        events = AuditEvent.objects.filter(object_type=File._meta.label_lower, object_id=file.pk)
        is_allowed = file.uploaded_by == actor.name or events.filter(actor=None, actor_name=actor.name).exists()
    else:
        is_allowed = local_files.is_beneath(file.path, roots)
    if not is_allowed:
        raise PermissionDenied(
            f"The client {actor.name} may change its own uploads and the files beneath {', '.join(roots)} only."
        )


def _get_live_file(pk: int, *, lock: bool = False) -> File:
    files = File.objects.select_for_update(no_key=True) if lock else File.objects.all()
    file = files.live().filter(pk=pk).first()
    if file is None:
        raise NoSuchFile(pk)
    return file


def _check_serve_path(serve_path: str, own_pk: int = 0) -> None:
    """Raise `Malformed`, or `ServePathTaken` if another live file has it.

    This comes before any bytes are stored. Two requests at the same moment both pass; the constraint stops one.
    """
    names.check_serve_path(serve_path)
    if File.objects.live().filter(serve_path=serve_path).exclude(pk=own_pk).exists():
        raise ServePathTaken(serve_path)


def _save(file: File, fields: list[str] | None = None) -> None:
    if file.sha256 and (fields is None or "sha256" in fields):
        stored_blobs.hold(file.sha256)
    try:
        with transaction.atomic():  # a savepoint: after an error PostgreSQL refuses all but a rollback
            file.save(update_fields=fields)
    except IntegrityError as error:
        raise ServePathTaken(file.serve_path) from error


def _store_content(actor: Actor, path: str | None, upload: Upload | None) -> ContentSource:
    if path is not None and upload is not None:
        raise Malformed("Give `path`, of a file on the disk of the server, or upload a `file`: not both.")
    if upload is None:
        if not path:
            raise FieldRequired("path")
        file = local_files.get_local_file(path, actor.allowed_roots())
        return ContentSource(file.path, file.size, mtime_ns=file.mtime_ns)
    if upload.size > settings.MAX_FILE_SIZE:
        raise TooLarge(f"The file has {upload.size} bytes; at most {settings.MAX_FILE_SIZE} are taken here.")
    blob = stored_blobs.put(upload.content)
    return ContentSource(f"upload:{blob.sha256}", blob.size, sha256=blob.sha256)
