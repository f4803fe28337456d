"""`manage.py unbanuser NAME`: open the doors to an account again."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import bans
from accounts.models import User


class Command(BaseCommand):
    requires_system_checks = []
    help = "Lift the ban of an account."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.named(options["name"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['name']!r}.")
        lifted = bans.unban(user, actor=None)
        self.stdout.write(f"Unbanned {user}." if lifted else f"{user} was not banned.")
