"""`manage.py createuser NAME`: open an account."""

import getpass
import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import registration, roles
from accounts.credentials import cargo_tokens
from accounts.models import User
from registry_site.errors import RegistryError


class Command(BaseCommand):
    requires_system_checks = []
    stealth_options = ("password",)
    help = "Open an account; asks for the password, or makes one up and prints it when there is nobody to ask."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
        parser.add_argument("--email", default="", metavar="E")
        parser.add_argument("--admin", action="store_true", help="may do everything in the admin site")
        parser.add_argument("--role", action="append", default=[], metavar="R", help="give a role; can be repeated")
        parser.add_argument("--token", action="store_true", help="print a cargo token for the account")

    def handle(self, *args: Any, **options: Any) -> None:
        # `password` is no option of the command line, where others could read it; `call_command` can give it.
        given = options.get("password")
        password, made_up = (given, False) if given else self._password(options["password_stdin"])
        try:
            granted = [roles.role_of(name) for name in options["role"]]
            user = registration.register(
                options["name"], password, options["email"], admin=options["admin"], granted=granted
            )
            token = cargo_tokens.replace_default(user) if options["token"] else None
        except RegistryError as error:
            raise CommandError(error.message) from error
        self._report(user, password if made_up else None, token)

    def _password(self, from_stdin: bool) -> tuple[str, bool]:
        if from_stdin:
            return sys.stdin.readline().rstrip("\r\n"), False
        if not sys.stdin.isatty():
            return secrets.token_urlsafe(15), True
        first = getpass.getpass("Password (empty: make one up): ")
        if not first:
            return secrets.token_urlsafe(15), True
        if getpass.getpass("Again: ") != first:
            raise CommandError("The two passwords differ; nothing was done.")
        return first, False

    def _report(self, user: User, password: str | None, token: str | None) -> None:
        # With --token, standard output holds the token alone, for `TOKEN=$(manage.py createuser … --token)`.
        news = self.stderr if token else self.stdout
        news.write(f"Created {user}.", lambda text: text)
        if password is not None:
            news.write(f"Password: {password}", lambda text: text)
        if token is not None:
            self.stdout.write(token)
