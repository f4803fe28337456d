"""`manage.py unbanuser NAME`: lift the ban of an account."""

from argparse import ArgumentParser
from typing import Any

from accounts import bans
from accounts.management.account_command import AccountCommand


class Command(AccountCommand):
    help = "Lift the ban of an account."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        user = self.get_user(options["name"])
        is_lifted = bans.unban(user, actor=None)
        self.stdout.write(f"Unbanned {user}." if is_lifted else f"{user} was not banned.")
