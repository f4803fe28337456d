"""`manage.py createuser NAME`: open an account."""

import getpass
import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import transaction

from accounts import ranks, registration, roles
from accounts.credentials import cargo_tokens
from accounts.management.account_command import AccountCommand
from accounts.models import User
from accounts.ranks import Rank


class Command(AccountCommand):
    # No option of the command line, where other users of the machine could read it; `call_command` can pass it.
    stealth_options = ("password",)
    help = (
        "Open an account. The command asks for the password; without a terminal, it prints a random one. With "
        "REGISTRY_LOGIN=oidc there is none: linkidentity lets the account in."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
        parser.add_argument("--email", default="", metavar="E")
        parser.add_argument("--admin", action="store_true", help="may do everything in the admin site")
        parser.add_argument("--rank", choices=Rank.values, help="a member of staff with the rights of this group")
        parser.add_argument("--role", action="append", default=[], metavar="R", help="grant a role; can be repeated")
        parser.add_argument("--token", action="store_true", help="print a cargo token for the account")

    def handle(self, *args: Any, **options: Any) -> None:
        password = options.get("password") or read_password(options["password_stdin"])
        is_random = password is None and settings.PASSWORD_LOGIN
        if is_random:
            password = secrets.token_urlsafe(15)
        user = open_account(password, options)
        token = cargo_tokens.rotate_default(user).text if options["token"] else None
        # With --token, standard output carries the token alone, for `TOKEN=$(manage.py createuser … --token)`.
        messages = self.stderr if token else self.stdout
        messages.write(f"Created {user}.", lambda text: text)
        if is_random:
            messages.write(f"Password: {password}", lambda text: text)
        if hint := registration.missing_way_in(user):
            messages.write(hint, lambda text: text)
        if token is not None:
            self.stdout.write(token)


def open_account(password: str | None, options: dict[str, Any]) -> User:
    """Open the account with its roles and its rank, or not at all."""
    granted_roles = [roles.parse_role(name) for name in options["role"]]
    with transaction.atomic():
        user = registration.register(
            options["name"], password, options["email"], admin=options["admin"], granted_roles=granted_roles
        )
        if options["rank"]:
            ranks.set_rank(user, Rank(options["rank"]), actor=None)
    return user


def read_password(from_stdin: bool) -> str | None:
    """Read a password from standard input or a terminal; None for a random one, or none where it is good nowhere."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty() or not settings.PASSWORD_LOGIN:
        return None
    password = getpass.getpass("Password (empty: make one up): ")
    if password and getpass.getpass("Again: ") != password:
        raise CommandError("The two passwords differ; nothing was done.")
    return password or None
