"""`manage.py verifyaudit`: prove that no sealed event of the audit log was changed, added or deleted."""

from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from registry_site import audit_seals
from registry_site.audit_verification import FileVerification, Verification

MAX_PROBLEMS = 100  # printed


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Seal the audit log, and recompute its seals. Exit with 1, and name what was changed, added or deleted, "
        "unless the log is whole."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from", dest="first", type=int, default=1, metavar="N", help="begin at seal N, and trust the one before"
        )
        parser.add_argument(
            "--digest", default="", metavar="HEX", help="require a seal with this digest, which the log noted earlier"
        )
        parser.add_argument("--file", type=Path, metavar="PATH", help="verify a file of exported seals instead")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["file"]:
            self.verify_file(options["file"])
        else:
            self.verify(max(options["first"], 1), options["digest"])

    def verify(self, first: int, digest: str) -> None:
        audit_seals.seal_all()
        verification = Verification(first, digest)
        self.report(verification.problems())
        self.stdout.write(f"{verification.seals} seals of {verification.events} events are whole.")
        if verification.exported:
            files = ", ".join(verification.files)
            self.stdout.write(f"{verification.exported} events more were exported; verify {files} with --file.")
        self.stdout.write(f"Seal {verification.number} has the digest {verification.digest}.")

    def verify_file(self, path: Path) -> None:
        verification = FileVerification(path)
        self.report(verification.problems())
        first, last = verification.first, verification.last
        if first is None or last is None:
            raise CommandError(f"{path} has no seals.")
        self.stdout.write(
            f"Seals {first.number} to {last.number} of {verification.events} events are whole.\n"
            f"Seal {last.number} has the digest {last.digest}."
        )

    def report(self, problems: Iterator[str]) -> None:
        """Print problems; raise `CommandError` if there are any."""
        printed = list(islice(problems, MAX_PROBLEMS + 1))
        if not printed:
            return
        for problem in printed[:MAX_PROBLEMS]:
            self.stderr.write(problem)
        more = " and more" if len(printed) > MAX_PROBLEMS else ""
        raise CommandError(f"The audit log is not whole: {len(printed[:MAX_PROBLEMS])} problems{more}.")
