"""What `manage.py serve` looks at before it serves."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from registry_site.management.commands.serve import has_unapplied_migrations


@pytest.mark.django_db
def test_missing_migrations_are_noticed_by_their_names() -> None:
    executor = MigrationExecutor(connection)
    assert has_unapplied_migrations() is bool(executor.migration_plan(executor.loader.graph.leaf_nodes())) is False
    [(app, name)] = executor.loader.graph.leaf_nodes("crates")
    MigrationRecorder(connection).record_unapplied(app, name)
    assert has_unapplied_migrations()
