"""Index files, joined from their lines."""

from dataclasses import dataclass
from datetime import datetime

from crates import names
from crates.models import IndexLine


@dataclass(frozen=True)
class IndexFile:
    text: str
    etag: str
    modified: datetime


def read(path: str) -> IndexFile | None:
    """Return the index file of the crate at a path, which cargo may spell in any case; None without present versions.

    One statement reads all, so that the validators are those of these lines.
    """
    lines = IndexLine.objects.filter(crate__index_path=names.normalize_index_path(path), crate__removed_at=None)
    columns = ("text", "crate__index_etag", "crate__index_modified")
    rows = list(lines.order_by("version_id").values_list(*columns))
    return IndexFile("".join(text for text, _, _ in rows), *rows[0][1:]) if rows else None
