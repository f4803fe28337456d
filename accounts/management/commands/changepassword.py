"""`manage.py changepassword NAME`: set the password of an account."""

import getpass
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from accounts import registration
from accounts.management.account_command import AccountCommand
from accounts.passwords import change


class Command(AccountCommand):
    """Django's command of this name, with our rules for names and passwords, and an event in the audit log."""

    help = "Set the password of an account, which ends all its sessions. The command asks for the password."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        user = self.get_user(options["name"])
        password = sys.stdin.readline().rstrip("\r\n") if options["password_stdin"] else getpass.getpass("Password: ")
        if not options["password_stdin"] and getpass.getpass("Again: ") != password:
            raise CommandError("The two passwords differ; nothing was done.")
        change.store_password(user, password, change.encode_password(user, password), actor=None)
        self.stdout.write(f"Changed the password of {user}.")
        if hint := registration.missing_way_in(user):
            self.stdout.write(hint)
