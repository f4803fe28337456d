"""Maintenance: the statistics of SQLite. Unfinished files are tested in tests/files."""

import pytest
from django.db import connection

from accounts.models import User
from registry_site.purge import refresh_statistics
from registry_site.signals import purge_requested


def test_purge_refreshes_the_statistics(alice: User) -> None:
    assert "Statistics are up to date." in [report for _, report in purge_requested.send(sender=None)]


@pytest.mark.only_sqlite  # PostgreSQL refreshes its statistics itself
def test_statistics_of_sqlite_cover_new_rows(alice: User) -> None:
    refresh_statistics()
    with connection.cursor() as cursor:
        tables = cursor.execute("SELECT DISTINCT tbl FROM sqlite_stat1").fetchall()
    assert ("accounts_namereservation",) in tables
