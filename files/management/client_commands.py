"""Base classes of the commands about clients: their arguments, their errors, and keys.

A key is generated and printed once, or read from a file and never printed.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from files import ciphers, clients
from registry_site.errors import RegistryError

ACTOR = "manage.py"
MAX_KEY_FILE_BYTES = 1000


class ClientCommand(BaseCommand):
    """A command about the client NAME."""

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
    """A command that sets the client's key."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--generate", action="store_true", help="generate a key and print it, once (the default)")
        source.add_argument("--key-file", metavar="F", help="read the key from a file; - is standard input")
        sizes = [size * 8 for size in ciphers.KEY_SIZES]
        parser.add_argument("--bits", type=int, choices=sizes, help="size of a generated key; default: 256")

    def read_key(self, options: dict[str, Any]) -> tuple[bytes, str]:
        """Return the key and the name of its encoding, which is empty for a generated key.

        Raises `CommandError` and `Invalid`.
        """
        path = options["key_file"]
        if path is None:
            return clients.generate_key((options["bits"] or 256) // 8), ""
        if options["bits"]:
            raise CommandError("--bits is for a key that is made up, and --key-file names one that is there.")
        try:
            if path == "-":
                return ciphers.parse_key(sys.stdin.buffer.read(MAX_KEY_FILE_BYTES))
            with Path(path).open("rb") as file:
                return ciphers.parse_key(file.read(MAX_KEY_FILE_BYTES))
        except OSError as error:
            raise CommandError(f"The key cannot be read from {path}: {error.strerror}.") from error

    def report(self, message: str, key: bytes, encoding: str) -> None:
        """Print a message about the key; a generated key goes alone to standard output, for `… > KEYFILE`."""
        if encoding:
            self.stdout.write(f"{message}\nKey of {len(key) * 8} bits, read as {encoding}.")
            return
        self.stderr.write(f"{message}\nIts key, which is shown only now:", lambda text: text)  # in no red
        self.stdout.write(key.hex())
