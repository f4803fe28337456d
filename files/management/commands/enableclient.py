"""`manage.py enableclient NAME`: enable a disabled client of the file registry."""

from typing import Any

from files import clients
from files.management.client_commands import ACTOR, ClientCommand


class Command(ClientCommand):
    help = "Enable a disabled client of the file registry, with the key that it had."

    def run(self, name: str, options: dict[str, Any]) -> None:
        client = clients.get_client(name)
        is_changed = clients.set_active(client, active=True, actor=ACTOR)
        self.stdout.write(f"{'The' if is_changed else 'Before already, the'} client {client} is enabled.")
