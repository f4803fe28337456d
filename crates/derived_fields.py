"""What is derived of a crate from its versions: its foremost versions, search words and index file.

While one transaction writes, all others of SQLite wait. So what needs many rows is worked out before the locks are
taken, and once more under them only if another change has come first. A publish needs few, however many there are.
"""

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from crates import counters, dependency_rows, index, names, search, taxonomy
from crates.models import Crate, IndexLine, Version
from registry_site import file_locks, semantic_versions
from registry_site.compiled_queries import compiled
from registry_site.errors import Conflict, Invalid
from registry_site.row_writes import insert, update

QUEUE_SECONDS = 5  # a change that waits longer goes on, which costs time under the locks but is right
SAVED_FIELDS = (
    "max_version",
    "default_version",
    "newest_version",
    "version_count",
    "updated_at",
    "index_size",
    "index_etag",
    "index_modified",
)
BATCH_SIZE = 100  # lines of one statement
COLUMNS = ("number", "yanked", "published_at", "description", "keywords", "categories")


@dataclass(frozen=True)
class ForemostVersions:
    """The versions by which a crate is described; see the fields of `Crate`."""

    max_version: Version | None
    default_version: Version | None
    newest_version: Version | None


@dataclass(frozen=True)
class IndexLines:
    """A change of an index file: lines that it gets, and lines that others replace. Removed versions lose theirs."""

    size: int  # of the whole file, in bytes
    new: dict[Version, str] = field(default_factory=dict)
    replaced: dict[Version, str] = field(default_factory=dict)
    has_removed: bool = False


@dataclass(frozen=True)
class DerivedFields:
    """The fields after a change of a crate whose index file was last modified at `since`."""

    since: datetime
    former_default: Version | None
    foremost: ForemostVersions
    version_count: int
    lines: IndexLines
    index_etag: str


def queue(crate_name: str) -> AbstractContextManager[bool]:
    """Let the changes of one crate on this machine wait for each other before the locks, or each would prepare in vain.

    Enter it before the crate is read, and outside of a transaction.
    """
    return file_locks.file_lock(f"crate {names.canonical(crate_name)}", QUEUE_SECONDS)


def after_publish(crate: Crate, version: Version, line: str) -> DerivedFields:
    """Return the fields after the publish of a version; raises `Invalid` for too large an index file."""
    lines = IndexLines(crate.index_size + len(line), new={version: line})
    require_index_size(crate, lines.size)
    present = _present_foremost(crate)
    foremost = choose_foremost([*present, version])
    etag = index.etag_after(crate.index_etag, line)
    former = _default_of(crate, present)
    return DerivedFields(crate.index_modified, former, foremost, crate.version_count + 1, lines, etag)


def after_yank(crate: Crate, version: Version, *, yanked: bool) -> DerivedFields:
    """Return the fields after a version is yanked or unyanked; raises `Conflict` if it has been removed."""
    changed = copy.copy(version)
    changed.yanked = yanked
    present = _present_foremost(crate)
    former = _default_of(crate, present)
    if not yanked:
        foremost = choose_foremost([*(other for other in present if other != version), changed])
    elif version in present:  # any other may follow
        others = crate.versions.exclude(pk=version.pk).order_by().only("crate", "number", "yanked", "published_at")
        foremost = _with_texts(choose_foremost([*others, changed]))
    else:
        foremost = choose_foremost(present)
    line = IndexLine.objects.filter(pk=version.pk).values_list("text", flat=True).first()
    if line is None:
        raise Conflict(f"{crate} {version.number} has been removed meanwhile.")
    text = index.with_yanked(line, yanked=yanked)
    lines = IndexLines(crate.index_size + len(text) - len(line), replaced={version: text})
    etag = index.etag_after(crate.index_etag, text)
    return DerivedFields(crate.index_modified, former, foremost, crate.version_count, lines, etag)


def from_versions(crate: Crate, versions: QuerySet[Version]) -> DerivedFields:
    """Return the fields of a crate that has these versions from now on.

    Raises `Invalid` for too large a file, and `Conflict` if the versions change meanwhile.
    """
    former = _default_of(crate, _present_foremost(crate))
    candidates = list(versions.order_by().only("number", "yanked", "published_at"))
    foremost = _with_texts(choose_foremost(candidates))
    stored = dict(crate.index_lines.order_by().values_list("pk", "text"))
    rows = versions.filter(index_line=None).order_by("pk").only(*index.COLUMNS).iterator(chunk_size=100)
    new = {version: index.render_line(crate.name, version) for version in rows}
    texts = stored | {version.pk: line for version, line in new.items()}
    keys = sorted(version.pk for version in candidates)
    if not texts.keys() >= set(keys):  # without the crate's lock, other versions can come and go
        raise Conflict(f"{crate} has changed meanwhile; try again.")
    text = "".join(texts[key] for key in keys)
    require_index_size(crate, len(text))
    lines = IndexLines(len(text), new=new, has_removed=not stored.keys() <= set(keys))
    return DerivedFields(crate.index_modified, former, foremost, len(candidates), lines, index.etag(text))


def require_index_size(crate: Crate, size: int) -> None:
    """Raise `Invalid` for an index file of so many bytes, if cargo should not fetch it again and again."""
    if size > index.MAX_FILE_SIZE:
        raise Invalid(
            f"The index file of {crate} would have {size} bytes; at most {index.MAX_FILE_SIZE} are taken. "
            "Publish this version under another name."
        )


def choose_foremost(versions: Iterable[Version]) -> ForemostVersions:
    """Choose the foremost of all versions of a crate, or of those that were it before a change and the changed one."""
    candidates = list(versions)
    usable = [version for version in candidates if not version.yanked]
    return ForemostVersions(
        max_version=max(usable, key=lambda version: semantic_versions.parse(version.number), default=None),
        default_version=max(candidates, key=_preference, default=None),
        newest_version=max(
            usable, key=lambda version: (version.published_at, version.pk or float("inf")), default=None
        ),
    )


def save(
    crate: Crate,
    prepared: DerivedFields | None,
    derive: Callable[[Crate], DerivedFields],
    words: dict[str, Any] | None = None,
) -> None:
    """Save the fields of a locked crate, in the transaction that changes a version; `words` are those of a new one.

    Fields that were prepared before another change are derived again.
    """
    is_current = prepared is not None and prepared.since == crate.index_modified
    fields = prepared if prepared is not None and is_current else derive(crate)
    foremost, is_new = fields.foremost, crate.is_new
    was_usable, former_count = crate.max_version_id is not None, crate.version_count
    crate.max_version, crate.newest_version = foremost.max_version, foremost.newest_version
    crate.default_version = foremost.default_version
    crate.version_count = fields.version_count
    crate.index_size, crate.index_etag = fields.lines.size, fields.index_etag
    # Last-Modified has whole seconds. Two changes in one second must not share it, or a client would keep the older
    # text: so it goes at least one second further each time. Until that time comes, the header is not sent.
    crate.updated_at = timezone.now()
    now = crate.updated_at.replace(microsecond=0)
    crate.index_modified = now if is_new else max(now, crate.index_modified + timedelta(seconds=1))
    update(crate, SAVED_FIELDS)
    _save_lines(crate, fields.lines)
    if foremost.default_version != fields.former_default:
        if not is_new:
            dependency_rows.set_current(fields.former_default, foremost.default_version)
        taxonomy.assign(crate, fields.former_default, foremost.default_version)
    search.update_words(crate, words, is_new=is_new)
    counters.usable_crates.add((crate.max_version is not None) - was_usable, crate.pk)
    counters.versions.add(crate.version_count - former_count, crate.pk)


def _save_lines(crate: Crate, lines: IndexLines) -> None:
    for version, text in lines.replaced.items():
        IndexLine.objects.filter(pk=version.pk).update(text=text)
    if lines.has_removed:
        crate.index_lines.filter(version__removed_at__isnull=False).delete()
    rows = [IndexLine(version=version, crate=crate, text=text) for version, text in lines.new.items()]
    if len(rows) == 1:
        insert(rows[0])
    else:
        IndexLine.objects.bulk_create(rows, batch_size=BATCH_SIZE)


def _present_foremost(crate: Crate) -> list[Version]:
    """Return the foremost versions of a crate before a change, which may have removed some of them."""
    if crate.is_new:
        return []
    keys = (crate.max_version_id, crate.default_version_id, crate.newest_version_id)
    return _three_versions(*(key or 0 for key in keys))  # no version has the key 0


@compiled
def _three_versions(first: int, second: int, third: int) -> QuerySet[Version]:
    return Version.with_removed.filter(pk__in=[first, second, third]).order_by().only(*COLUMNS)


def _with_texts(foremost: ForemostVersions) -> ForemostVersions:
    """Read the texts of a few versions that were chosen without them among thousands."""
    chosen = (foremost.max_version, foremost.default_version, foremost.newest_version)
    rows = Version.with_removed.only(*COLUMNS).in_bulk([version.pk for version in chosen if version is not None])
    return ForemostVersions(*(None if version is None else rows[version.pk] for version in chosen))


def _default_of(crate: Crate, versions: Iterable[Version]) -> Version | None:
    return next((version for version in versions if version.pk == crate.default_version_id), None)


def _preference(version: Version) -> Any:
    number = semantic_versions.parse(version.number)
    return not version.yanked, number.prerelease is None, number
