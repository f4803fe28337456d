"""`manage.py importusers FILE`: open the accounts of another system, with the passwords they have."""

import sys
from argparse import ArgumentParser
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import user_import
from registry_site.errors import RegistryError


class Command(BaseCommand):
    requires_system_checks = []
    help = "Open an account for each line of a file, or none at all; the README says what a line looks like."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="JSON lines in UTF-8; - for standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["file"]
        try:
            with nullcontext(sys.stdin) if name == "-" else Path(name).open(encoding="utf-8") as lines:
                accounts = list(user_import.read(lines))  # all are looked at before the first is written
            user_import.save(accounts)
        except RegistryError as error:
            raise CommandError(f"{error.message} Nothing was imported.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{name} cannot be read: {error}. Nothing was imported.") from error
        self.stdout.write(f"Imported {len(accounts)} accounts.")
