"""`manage.py addclient NAME`: add a client of the file registry."""

from argparse import ArgumentParser
from typing import Any

from files import clients
from files.management.client_commands import ACTOR, KeyCommand
from files.models import Rights


class Command(KeyCommand):
    help = "Add a client of the file registry, with the key that it encrypts challenges with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--read-only", action="store_true", help="let it list and fetch files, and change nothing")
        parser.add_argument(
            "--root",
            action="append",
            default=[],
            metavar="DIR",
            help="directory from which it may register files; can be repeated",
        )
        parser.add_argument("--description", default="", metavar="D")
        parser.add_argument("--maintainer", default="", metavar="M")
        parser.add_argument("--email", default="", metavar="E")

    def run(self, name: str, options: dict[str, Any]) -> None:
        key, encoding = self.read_key(options)
        details = {field: options[field] for field in ("description", "maintainer", "email")}
        rights = Rights.READ if options["read_only"] else Rights.WRITE
        client = clients.add_client(name, key, actor=ACTOR, rights=rights, roots=options["root"], **details)
        self.report(f"Added the client {client}, which may {client.get_rights_display()}.", key, encoding)
