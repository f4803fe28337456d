"""Texts that begin with another, found by the index of their column in either database."""

from django.db import connection
from django.db.models import Q

LAST_CHARACTER = "\U0010ffff"


def begins(column: str, text: str) -> Q:
    """Return the condition that a column begins with a text, in the same case."""
    # SQLite compares bytes, so that a range is a prefix, and has no index for LIKE. PostgreSQL compares by a locale.
    if connection.vendor == "sqlite":
        return Q(**{f"{column}__gte": text, f"{column}__lt": text + LAST_CHARACTER})
    return Q(**{f"{column}__startswith": text})
