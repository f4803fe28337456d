"""`manage.py resetsecondfactor NAME`: remove the second factor of an account whose owner has lost it."""

from argparse import ArgumentParser
from typing import Any

from accounts.management.account_command import AccountCommand
from accounts.second_factor import authenticators


class Command(AccountCommand):
    help = "Remove the second factor of an account whose owner has lost it: the password alone signs in from then on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        user = self.get_user(options["name"])
        removed = authenticators.reset(user, actor=None)
        self.stdout.write(f"Removed the second factor of {user}." if removed else f"{user} has no second factor.")
