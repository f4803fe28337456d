"""Clients and their keys. A key is shown to whoever makes it, once; then only the registry can read it."""

import functools
import secrets
from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from files import ciphers, history, local_files, names, sessions
from files.models import Action, Client, ClientKey, Rights, Session
from registry_site.encryption import decrypt, encrypt
from registry_site.errors import Conflict, Invalid, NotFound

PURPOSE = "file client keys"
KEY_SIZE = 32  # bytes


def new_key(size: int = KEY_SIZE) -> bytes:
    """A random key of so many bytes."""
    return secrets.token_bytes(size)


def add(
    name: str,
    key: bytes,
    *,
    actor: str,
    rights: Rights = Rights.WRITE,
    allowed: Sequence[str] = (),
    **about: str,
) -> Client:
    """A client with a key, which may register files from the `allowed` directories; from all, if there are none.

    `about` is its description, maintainer and e-mail address. Raises `Invalid`, and `Conflict` for a taken name.
    """
    names.check_client(name)
    client = Client(name=name, rights=rights, roots="\n".join(allowed), **about)
    _check(client)
    try:
        with transaction.atomic():
            client.save(force_insert=True)
            _store(client, key)
            history.of_client(client, Action.ADD_CLIENT, actor)
    except IntegrityError as error:
        raise Conflict(f"There is a client {name} already.") from error
    return client


def named(name: str) -> Client:
    """Raises `NotFound`."""
    client = Client.objects.filter(name=name).first()
    if client is None:
        raise NotFound(f"There is no client {name!r}.")
    return client


def rotate(client: Client, key: bytes, *, actor: str) -> None:
    """Another key in the place of the former, whose sessions end at once."""
    with transaction.atomic():
        held = _held(client)
        _store(held, key)
        ended = sessions.end_all(held)
        history.of_client(held, Action.ROTATE_KEY, actor, f"{ended} sessions ended")


def set_active(client: Client, *, active: bool, actor: str) -> bool:
    """Let a client in again, or shut it out and end its sessions at once; False when it was so before."""
    with transaction.atomic():
        held = _held(client)
        if held.is_active == active:
            return False
        ended = sessions.end_all(held)
        held.is_active = active
        held.save(update_fields=["is_active"])
        history.of_client(
            held, Action.ENABLE_CLIENT if active else Action.DISABLE_CLIENT, actor, f"{ended} sessions ended"
        )
    return True


def end_sessions(client: Client, *, actor: str) -> int:
    """How many there were."""
    with transaction.atomic():
        ended = sessions.end_all(_held(client))
        if ended:
            history.of_client(client, Action.END_SESSIONS, actor, f"{ended} sessions ended")
    return ended


def end_session(session: Session, *, actor: str) -> bool:
    """False when it had ended before."""
    with transaction.atomic():
        _held(session.client)
        ended = sessions.end(session)
        if ended:
            history.of_client(
                session.client, Action.END_SESSIONS, actor, f"that of {session.created_at:%Y-%m-%d %H:%M}"
            )
    return ended


def change(client: Client, fields: Sequence[str], *, actor: str) -> None:
    """Store these fields of a client as they are now on the object; raises `Invalid`."""
    if not fields:
        return
    _check(client, fields)
    with transaction.atomic():
        _held(client)
        client.save(update_fields=fields)
        history.of_client(client, Action.CHANGE_CLIENT, actor, ", ".join(fields))


def opened(secret: str) -> bytes:
    """The bytes of a key as it is stored."""
    return bytes.fromhex(decrypt(PURPOSE, secret))


@functools.cache
def decoy() -> str:
    """A stored key that nobody has, for who is not known: it takes as long to use."""
    return encrypt(PURPOSE, new_key().hex())


def _check(client: Client, fields: Sequence[str] = ("rights", "roots", "description", "maintainer", "email")) -> None:
    """Only these fields: a root that left the settings later is none of the others' business."""
    if "roots" in fields:
        client.roots = local_files.listed(client.roots.split("\n") if client.roots else ())
    try:
        client.clean_fields(exclude={field.name for field in Client._meta.fields}.difference(fields))
    except ValidationError as error:
        raise Invalid(" ".join(f"{name}: {' '.join(told)}" for name, told in error.message_dict.items())) from error


def _held(client: Client) -> Client:
    return Client.objects.select_for_update(no_key=True).get(pk=client.pk)


def _store(client: Client, key: bytes) -> None:
    ciphers.check_key(key)
    stored = {"secret": encrypt(PURPOSE, key.hex()), "bits": len(key) * 8, "created_at": timezone.now()}
    ClientKey.objects.update_or_create(client=client, cipher=ciphers.AES_CBC, defaults=stored)
