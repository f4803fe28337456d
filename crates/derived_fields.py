"""Fields of a crate that are derived from its versions: the newest version, the search text and the index file.

An index file can have megabytes, and while one transaction writes, all others of SQLite wait. So the fields after a
change are worked out before the locks are taken, and once more under them only if another change has come first.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from crates import index, names
from crates.models import Crate, Version
from registry_site import file_locks, semantic_versions
from registry_site.errors import Invalid

QUEUE_SECONDS = 5  # a change that waits longer goes on, which costs time under the locks but is right


@dataclass(frozen=True)
class DerivedFields:
    """The fields after a change of a crate whose index file was last modified at `since`."""

    since: datetime
    newest: Version | None
    index_text: str
    index_etag: str


def queue(crate_name: str) -> AbstractContextManager[bool]:
    """Let the changes of one crate on this machine wait for each other before the locks, or each would prepare in vain.

    Enter it before the crate is read, and outside of a transaction.
    """
    return file_locks.file_lock(f"crate {names.canonical(crate_name)}", QUEUE_SECONDS)


def after_publish(crate: Crate, version: Version) -> DerivedFields:
    """Return the fields after the publish of a version; raises `Invalid` for too large an index file."""
    text = crate.index_text + index.render_line(crate.name, version)
    if len(text) > index.MAX_FILE_SIZE:
        raise Invalid(
            f"The index file of {crate} would have {len(text)} bytes; at most {index.MAX_FILE_SIZE} are taken. "
            "Publish this version under another name."
        )
    return DerivedFields(crate.index_modified, _higher(crate.newest, version), text, index.etag(text))


def after_yank(crate: Crate, version: Version, *, yanked: bool) -> DerivedFields:
    """Return the fields after a version is yanked or unyanked."""
    if not yanked:
        newest: Version | None = _higher(crate.newest, version)
    elif crate.newest_id == version.pk:
        newest = _highest_usable(crate, version)
    else:
        newest = crate.newest
    text = index.replace_yanked(crate.index_text, crate.name, version.number, yanked=yanked)
    return DerivedFields(crate.index_modified, newest, text, index.etag(text))


def save(crate: Crate, prepared: DerivedFields | None, derive: Callable[[Crate], DerivedFields]) -> None:
    """Save the fields of a locked crate, in the transaction that changes a version.

    Fields that were prepared before another change are derived again.
    """
    is_current = prepared is not None and prepared.since == crate.index_modified
    fields = prepared if prepared is not None and is_current else derive(crate)
    newest, is_first = fields.newest, not crate.index_etag
    words = [crate.name, newest.description, *newest.keywords] if newest else [crate.name]
    crate.newest = newest
    crate.search_text = names.canonical(" ".join(words))
    crate.index_text, crate.index_etag = fields.index_text, fields.index_etag
    # Last-Modified has whole seconds. Two changes in one second must not share it, or a client would keep the older
    # text: so it goes at least one second further each time. Until that time comes, the header is not sent.
    now = timezone.now().replace(microsecond=0)
    crate.index_modified = now if is_first else max(now, crate.index_modified + timedelta(seconds=1))
    crate.save(update_fields=["newest", "search_text", "index_text", "index_etag", "index_modified"])


def _higher(newest: Version | None, version: Version) -> Version:
    if newest is None:
        return version
    return max(newest, version, key=lambda candidate: semantic_versions.parse(candidate.number))


def _highest_usable(crate: Crate, without: Version) -> Version | None:
    """Return the highest version that is not yanked, `without` one."""
    numbers = crate.versions.filter(yanked=False).exclude(pk=without.pk).order_by().values_list("number", "pk")
    highest = max(numbers, key=lambda row: semantic_versions.parse(row[0]), default=None)
    return None if highest is None else Version.objects.get(pk=highest[1])
