"""`manage.py enableclient NAME`: let a machine in to the files again."""

from typing import Any

from files import clients
from files.management.client_commands import ACTOR, ClientCommand


class Command(ClientCommand):
    help = "Let a disabled client of the file registry in again, with the key that it had."

    def run(self, name: str, options: dict[str, Any]) -> None:
        client = clients.named(name)
        done = clients.set_active(client, active=True, actor=ACTOR)
        self.stdout.write(f"{'The' if done else 'Before already, the'} client {client} is enabled.")
