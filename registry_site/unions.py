"""Parts of a union of queries, each cut to its first rows."""

from typing import Any

from django.db.models import QuerySet


def first_rows(rows: QuerySet[Any], number: int) -> QuerySet[Any]:
    """Select the first of ordered rows, in any order: SQLite takes neither order nor limit in a part of a union."""
    first: QuerySet[Any] = rows.model._base_manager.filter(pk__in=rows.values("pk")[:number]).order_by()
    return first
