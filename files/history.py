"""What was done to files and clients, and by whom; written in the transaction that does it."""

from collections.abc import Iterable

from django.utils import timezone

from files.models import Action, Client, File, History
from registry_site.http import client_address


def of_files(files: Iterable[File], action: Action, actor: str, fields: Iterable[str] = ()) -> None:
    """At the time that each of the files has as that of its last change."""
    detail, peer = ", ".join(fields), client_address.client_ip()
    History.objects.bulk_create(
        History(
            at=file.modified_at,
            actor=actor,
            action=action,
            file=file,
            target=f"{file.pk} {file.serve_path}",
            detail=detail,
            peer=peer,
        )
        for file in files
    )


def of_client(client: Client, action: Action, actor: str, detail: str = "") -> None:
    History.objects.create(
        at=timezone.now(),
        actor=actor,
        action=action,
        client=client,
        target=client.name,
        detail=detail,
        peer=client_address.client_ip(),
    )
