"""The record of who did what, and from where: written in the same transaction as the deed."""

from typing import Any

from accounts.models import AuditEvent, User
from registry_site.http import client_address

OPERATOR = "operator"  # the shell of the server: there is no account behind it


def record(actor: User | None, action: str, target: str, **detail: Any) -> None:
    """Add a row; `detail` holds what is needed to understand the deed later, and never a secret."""
    name = OPERATOR if actor is None else actor.username
    AuditEvent.objects.create(
        actor=actor, actor_name=name, action=action, target=target, peer=client_address.client_ip(), detail=detail
    )
