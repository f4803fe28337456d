"""`manage.py rotatekey NAME`: replace the key of a client."""

from typing import Any

from files import clients
from files.management.client_commands import ACTOR, KeyCommand


class Command(KeyCommand):
    help = "Replace the key of a client of the file registry. The old key and the sessions of the client end at once."

    def run(self, name: str, options: dict[str, Any]) -> None:
        client = clients.get_client(name)
        key, encoding = self.read_key(options)
        clients.rotate_key(client, key, actor=ACTOR)
        self.report(f"The client {client} has a new key.", key, encoding)
