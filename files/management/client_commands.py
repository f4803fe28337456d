"""Keys on the command line: made up and printed once, or read from a file and never shown."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from files import ciphers, clients
from registry_site.errors import RegistryError

ACTOR = "manage.py"
LONGEST = 1000  # bytes of a key as somebody wrote it down


class ClientCommand(BaseCommand):
    """A command about one client, which it names; what a verb refuses is told in one line."""

    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.run(options["name"], options)
        except RegistryError as error:
            raise CommandError(error.message) from error

    def run(self, name: str, options: dict[str, Any]) -> None:
        raise NotImplementedError


class KeyCommand(ClientCommand):
    """One that sets the key."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--generate", action="store_true", help="make up a key and print it, once (the default)")
        source.add_argument("--key-file", metavar="F", help="read the key from a file; - is standard input")
        sizes = [size * 8 for size in ciphers.KEY_SIZES]
        parser.add_argument("--bits", type=int, choices=sizes, help="of a key that is made up; default: 256")

    def key(self, options: dict[str, Any]) -> tuple[bytes, str]:
        """The key, and how it was read; of one that is made up, nothing."""
        place = options["key_file"]
        if place is None:
            return clients.new_key((options["bits"] or 256) // 8), ""
        if options["bits"]:
            raise CommandError("--bits is for a key that is made up, and --key-file names one that is there.")
        return ciphers.key(self._read(place))

    def report(self, deed: str, key: bytes, how: str) -> None:
        """A key that was made up stands alone on standard output, for `manage.py addclient … > KEYFILE`."""
        if how:
            self.stdout.write(f"{deed}\nKey of {len(key) * 8} bits, read as {how}.")
            return
        self.stderr.write(f"{deed}\nIts key, which is shown only now:", lambda text: text)
        self.stdout.write(key.hex())

    def _read(self, place: str) -> bytes:
        try:
            if place == "-":
                return sys.stdin.buffer.read(LONGEST)
            with Path(place).open("rb") as file:
                return file.read(LONGEST)
        except OSError as error:
            raise CommandError(f"The key cannot be read from {place}: {error.strerror}.") from error
