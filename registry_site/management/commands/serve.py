"""`manage.py serve`: set up what is missing, then become the server."""

import secrets
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from registry_site.cargo_config import cargo_config
from registry_site.server.app import Server
from registry_site.settings import REGISTRY

FIRST_ADMINISTRATOR = "admin"
MAX_CANDIDATES = 100  # staff may have reserved all names that begin so


class Command(BaseCommand):
    # Settings are checked as they are read, and code by its tests; `manage.py check` looks at both and at the database.
    requires_system_checks = ()
    help = "Migrate the database, create the first administrator when there is none, and serve with gunicorn."

    def handle(self, *args: Any, **options: Any) -> None:
        self.warn_about_settings()
        try:
            if has_unapplied_migrations():
                self.stdout.write("Setting up the database …")
                call_command("migrate", verbosity=0, interactive=False)
            if settings.PASSWORD_LOGIN:
                self.create_first_administrator()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {str(error).strip()}") from error
        self.stdout.write(f"\nPut this into .cargo/config.toml:\n\n{cargo_config()}")
        self.stdout.write(f"Serving {settings.PUBLIC_URL} on {settings.BIND_HOST}:{settings.BIND_PORT} …")
        self.stdout.flush()
        connections.close_all()  # a connection to the database cannot be shared with the workers
        if any("bucket_name" in storage.get("OPTIONS", {}) for storage in settings.STORAGES.values()):
            self.check_storage()
        Server().run()

    def check_storage(self) -> None:
        """Warn of a storage that does not work, in a process beside the server: a hanging one must not delay it."""
        command = [sys.executable, sys.argv[0], "checkstorage"]
        subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command

    def warn_about_settings(self) -> None:
        for name in REGISTRY.unknown_names():
            self.stderr.write(f"{name} is no setting of this version and has no effect.", self.style.WARNING)
        if settings.EMAIL_VERIFICATION and not settings.EMAIL_HOST:
            self.stderr.write(
                "REGISTRY_EMAIL_URL is not set: mails, with their links, go to this log.", self.style.WARNING
            )
        if not settings.PASSWORD_LOGIN and not settings.OIDC_ADMIN_GROUPS:
            self.stderr.write(
                "REGISTRY_OIDC_ADMIN_GROUPS is not set: nobody who signs in administers.", self.style.WARNING
            )

    def create_first_administrator(self) -> None:
        users = get_user_model().objects
        if users.filter(is_superuser=True).exists():
            return
        candidates = (f"{FIRST_ADMINISTRATOR}{number or ''}" for number in range(MAX_CANDIDATES))
        name = next(filter(users.is_name_free, candidates), FIRST_ADMINISTRATOR)
        password = secrets.token_urlsafe(15)
        call_command("createuser", name, admin=True, password=password)
        self.stdout.write(f"The first administrator (shown only now):\n  name      {name}")
        self.stdout.write(f"  password  {password}\n  admin     {settings.PUBLIC_URL}/admin/")


def has_unapplied_migrations() -> bool:
    """Return whether a migration is not in the database, by the names of the files alone, which are not imported."""
    applied = MigrationRecorder(connection).applied_migrations()
    return any(
        (app.label, migration.name) not in applied
        for app in apps.get_app_configs()
        if (name := MigrationLoader.migrations_module(app.label)[0]) and find_spec(name)
        for migration in iter_modules(import_module(name).__path__)
    )
