"""`manage.py rotatekey NAME`: another key for a client."""

from typing import Any

from files import clients
from files.management.client_commands import ACTOR, KeyCommand


class Command(KeyCommand):
    help = "Give a client of the file registry another key; the former is good no more, and its sessions end at once."

    def run(self, name: str, options: dict[str, Any]) -> None:
        client = clients.named(name)
        key, how = self.key(options)
        clients.rotate(client, key, actor=ACTOR)
        self.report(f"The client {client} has a new key.", key, how)
