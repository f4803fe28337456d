"""The base of the commands about accounts."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from registry_site.errors import NotFound, RegistryError


class AccountCommand(BaseCommand):
    """A command whose domain errors become one line on standard error instead of a traceback."""

    requires_system_checks = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except RegistryError as error:
            raise CommandError(error.message) from error

    def get_user(self, name: str) -> User:
        """Return the user of this name; raises `CommandError` that repeats the name."""
        try:
            user: User = User.objects.get_named(name)
        except NotFound as error:
            raise CommandError(f"There is no user {name!r}.") from error
        return user
