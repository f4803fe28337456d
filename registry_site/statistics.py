"""What SQLite knows of its tables, so that it chooses the right index; PostgreSQL keeps such statistics itself."""

from typing import Any

from django.db import connection
from django.dispatch import receiver

from registry_site.maintenance import purge_requested


@receiver(purge_requested)
def refresh(**kwargs: Any) -> str:
    """Takes milliseconds: of each index no more than a thousand rows are looked at."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA analysis_limit = 1000")
            cursor.execute("PRAGMA optimize(0x10002)")
    return "Statistics are up to date."
