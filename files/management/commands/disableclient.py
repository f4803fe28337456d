"""`manage.py disableclient NAME`: disable a client of the file registry."""

from typing import Any

from files import clients
from files.management.client_commands import ACTOR, ClientCommand


class Command(ClientCommand):
    help = "Disable a client of the file registry and end its sessions, at once. Its key is kept."

    def run(self, name: str, options: dict[str, Any]) -> None:
        client = clients.get_client(name)
        is_changed = clients.set_active(client, active=False, actor=ACTOR)
        self.stdout.write(f"{'The' if is_changed else 'Before already, the'} client {client} is disabled.")
