"""`manage.py importusers FILE`: open the accounts of another system, with their passwords."""

import sys
from argparse import ArgumentParser
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from accounts import user_import
from accounts.management.account_command import AccountCommand
from registry_site.errors import RegistryError


class Command(AccountCommand):
    help = "Open an account for each line of a file, or none at all; docs/operating.md describes the lines."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="JSON lines in UTF-8; - for standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        path = options["file"]
        try:
            with nullcontext(sys.stdin) if path == "-" else Path(path).open(encoding="utf-8") as lines:
                # All lines are read before the first account is written: the database is locked only briefly.
                accounts = list(user_import.read_accounts(lines))
            user_import.create_accounts(accounts)
        except RegistryError as error:
            raise CommandError(f"{error.message} Nothing was imported.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read: {error}. Nothing was imported.") from error
        self.stdout.write(f"Imported {len(accounts)} accounts.")
        if not settings.PASSWORD_LOGIN:
            self.stdout.write(
                "Passwords are good nowhere (REGISTRY_LOGIN=oidc): link each by manage.py linkidentity NAME SUBJECT."
            )
