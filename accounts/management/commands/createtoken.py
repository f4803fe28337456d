"""`manage.py createtoken USER`: print a named cargo token, for a machine such as a build server."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from accounts.credentials import cargo_tokens
from accounts.management.account_command import AccountCommand
from accounts.scopes import CARGO_SCOPES, FORMER_NAMES


class Command(AccountCommand):
    help = "Print a new named cargo token; the account's default token stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user")
        scopes = [*(scope.value for scope in CARGO_SCOPES), *FORMER_NAMES]
        parser.add_argument("--name", required=True, help="purpose of the token, such as ci")
        parser.add_argument("--scope", action="append", choices=scopes, help="default: all; can be repeated")
        parser.add_argument(
            "--crate",
            action="append",
            default=[],
            metavar="PATTERN",
            help="a crate that it may change, or the beginning of names and a star, as 'serde*'; default: all crates "
            "of the account; can be repeated",
        )
        parser.add_argument("--days", type=int, help="days until the token expires; default: never")

    def handle(self, *args: Any, **options: Any) -> None:
        user = self.get_user(options["user"])
        days = options["days"]
        if days is not None and not 0 < days <= cargo_tokens.MAX_DAYS:
            raise CommandError(f"Give --days from 1 to {cargo_tokens.MAX_DAYS}.")
        expires_at = None if days is None else timezone.now() + timedelta(days=days)
        allowed = tuple(options["scope"] or CARGO_SCOPES)
        self.stdout.write(cargo_tokens.create(user, options["name"], allowed, expires_at, options["crate"]))
