"""Migrations to the states of former releases, and back."""

from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def migrate(*targets: tuple[str, str]) -> Any:
    """Migrate to `targets`, or to the newest state, and return the models of then."""
    executor = MigrationExecutor(connection)
    return executor.migrate(targets or executor.loader.graph.leaf_nodes()).apps


def models_at(migration: tuple[str, str]) -> Any:
    """Return the models as they were after a migration, without migrating."""
    return MigrationExecutor(connection).loader.project_state(migration).apps
