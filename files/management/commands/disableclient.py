"""`manage.py disableclient NAME`: shut a machine out of the files."""

from typing import Any

from files import clients
from files.management.client_commands import ACTOR, ClientCommand


class Command(ClientCommand):
    help = "Shut a client of the file registry out and end its sessions, at once; its key is kept."

    def run(self, name: str, options: dict[str, Any]) -> None:
        client = clients.named(name)
        done = clients.set_active(client, active=False, actor=ACTOR)
        self.stdout.write(f"{'The' if done else 'Before already, the'} client {client} is disabled.")
