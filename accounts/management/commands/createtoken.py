"""`manage.py createtoken NAME`: a further cargo token, for a machine such as a build server."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts import scopes
from accounts.credentials import cargo_tokens
from accounts.models import User
from registry_site.errors import RegistryError


class Command(BaseCommand):
    requires_system_checks = []
    help = "Print a new cargo token of a name of its own; the account's default token stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user")
        parser.add_argument("--name", required=True, help="what it is for, such as ci")
        parser.add_argument("--scope", action="append", choices=scopes.CARGO, help="default: all; can be repeated")
        parser.add_argument("--days", type=int, help="ends after so many days; default: never")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.named(options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}.")
        days = options["days"]
        if days is not None and not 0 < days <= 36500:
            raise CommandError("Give --days from 1 to 36500.")
        expires_at = None if days is None else timezone.now() + timedelta(days=days)
        allowed = tuple(options["scope"] or scopes.CARGO)
        try:
            self.stdout.write(cargo_tokens.create(user, options["name"], allowed, expires_at))
        except RegistryError as error:
            raise CommandError(error.message) from error
