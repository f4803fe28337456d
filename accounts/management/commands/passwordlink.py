"""`manage.py passwordlink USER`: print a link by which the owner of an account chooses a new password."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from accounts.management.account_command import AccountCommand
from accounts.passwords import reset


class Command(AccountCommand):
    help = "Print a link by which the owner of an account chooses a new password, within an hour and once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.PASSWORD_LOGIN:
            raise CommandError("Passwords are good nowhere (REGISTRY_LOGIN=oidc).")
        self.stdout.write(reset.make_link(self.get_user(options["user"]), actor=None))
