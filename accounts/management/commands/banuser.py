"""`manage.py banuser NAME`: close every door to an account."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from accounts import bans
from accounts.models import User
from registry_site.errors import RegistryError


class Command(BaseCommand):
    requires_system_checks = []
    help = "Refuse an account at every door from its next request on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--reason", default="", metavar="R")
        parser.add_argument("--until", metavar="DATE", help="2027-01-31 or 2027-01-31T12:00; default: until unbanned")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.named(options["name"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['name']!r}.")
        until = _moment(options["until"])
        try:
            bans.ban(user, actor=None, reason=options["reason"], until=until)
        except RegistryError as error:
            raise CommandError(error.message) from error
        self.stdout.write(
            f"Banned {user} {'until it is lifted' if until is None else f'until {until:%Y-%m-%d %H:%M %Z}'}."
        )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_datetime(text)
        day = parse_date(text)
    except ValueError as error:
        raise CommandError(f"There is no such date: {text}.") from error
    if moment is None and day is not None:
        moment = datetime(day.year, day.month, day.day)
    if moment is None:
        raise CommandError(f"The date {text!r} is not understood: write 2027-01-31 or 2027-01-31T12:00.")
    try:
        return (moment if timezone.is_aware(moment) else timezone.make_aware(moment)).astimezone(UTC)
    except OverflowError as error:
        raise CommandError(f"The date is too far away: {text}.") from error
