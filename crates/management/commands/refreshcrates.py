"""`manage.py refreshcrates`: read stored `.crate` files again for the facts that newer rules take from them."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from crates import refreshing
from registry_site.errors import Invalid, Lost, Unavailable

PROGRESS_SECONDS = 5


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Read the .crate files of versions that were published under older rules. It is safe beside publishes, and can "
        "be stopped at any time: the next run goes on from there."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", help="all versions, also those of the present rules")

    def handle(self, *args: Any, **options: Any) -> None:
        self.total = refreshing.count_versions(everything=options["all"])
        self.read = self.refreshed = 0
        self.failures: list[str] = []
        self.printed_at = time.monotonic()
        for page in refreshing.pages(everything=options["all"]):
            before = self.refreshed
            try:
                for version in page:
                    self.refresh(version)
            except Unavailable as error:
                raise CommandError(f"{self.progress()} {error.message} Run it again to go on.") from error
            finally:
                if self.refreshed > before:
                    refreshing.record(self.refreshed - before)
        self.stdout.write(self.progress())
        if self.failures:
            raise CommandError("\n".join([f"{len(self.failures)} cannot be read:", *self.failures]))

    def refresh(self, version: Any) -> None:
        try:
            self.refreshed += refreshing.refresh(version)
        except (Invalid, Lost) as error:
            self.failures.append(f"{version}: {error.message}")
        self.read += 1
        if time.monotonic() > self.printed_at + PROGRESS_SECONDS:
            self.printed_at = time.monotonic()
            self.stdout.write(self.progress())
            self.stdout.flush()

    def progress(self) -> str:
        return f"{self.read} of {self.total} versions read, {self.refreshed} have new facts."
