"""Keys on the command line: made up and printed once, or read from a file and never shown."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from files import ciphers, clients
from registry_site.errors import RegistryError

ACTOR = "manage.py"


class ClientCommand(BaseCommand):
    """A command about one client, which it names; what a verb refuses is told in one line."""

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
        parser.add_argument(
            "--bits", type=int, choices=[size * 8 for size in ciphers.KEY_SIZES], default=256, help="of a key made up"
        )

    def key(self, options: dict[str, Any]) -> tuple[bytes, str]:
        """The key, and what to tell about it."""
        place = options["key_file"]
        if place is None:
            key = clients.new_key(options["bits"] // 8)
            return key, f"Key, shown only now: {key.hex()}"
        key, how = ciphers.key(self._read(place))
        return key, f"Key of {len(key) * 8} bits, read as {how}."

    def _read(self, place: str) -> bytes:
        try:
            return sys.stdin.buffer.read(1000) if place == "-" else Path(place).read_bytes()[:1000]
        except OSError as error:
            raise CommandError(f"The key cannot be read from {place}: {error.strerror}.") from error
