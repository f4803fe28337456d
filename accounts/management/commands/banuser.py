"""`manage.py banuser NAME`: ban an account."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from accounts import bans
from accounts.management.account_command import AccountCommand


class Command(AccountCommand):
    help = "Ban an account: every request with its password, tokens or sessions is refused from now on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--reason", default="", metavar="R")
        parser.add_argument("--until", metavar="DATE", help="2027-01-31 or 2027-01-31T12:00; default: until unbanned")

    def handle(self, *args: Any, **options: Any) -> None:
        user = self.get_user(options["name"])
        until = None if options["until"] is None else parse_end(options["until"])
        bans.ban(user, actor=None, reason=options["reason"], until=until)
        self.stdout.write(
            f"Banned {user} {'until it is lifted' if until is None else f'until {until:%Y-%m-%d %H:%M %Z}'}."
        )


def parse_end(text: str) -> datetime:
    """Return the UTC time of a date or a date with a time; raises `CommandError`.

    A date begins at midnight, and a time without an offset is one of the server's time zone.
    """
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
    except OverflowError as error:  # 9999-12-31T23:59-23:00 lies after the last year that Python knows
        raise CommandError(f"The date is too far away: {text}.") from error
