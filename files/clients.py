"""Clients and their keys. Only the answer that creates a key shows it; then only the registry can decrypt it."""

import functools
import secrets
from collections.abc import Sequence

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from files import ciphers, local_files, names
from files.models import Client, ClientKey, Rights, Session
from registry_site import audit
from registry_site.encryption import decrypt, encrypt
from registry_site.errors import Conflict, Invalid, NotFound

PURPOSE = "file client keys"
DEFAULT_KEY_SIZE = 32  # bytes
EDITABLE_FIELDS = ("rights", "roots", "description", "maintainer", "email")


def generate_key(size: int = DEFAULT_KEY_SIZE) -> bytes:
    """Return a random key of `size` bytes."""
    return secrets.token_bytes(size)


def add_client(
    name: str,
    key: bytes,
    *,
    actor: AbstractBaseUser | str,
    rights: Rights = Rights.WRITE,
    roots: Sequence[str] = (),
    **details: str,
) -> Client:
    """Add a client with a key, and return it. It may register files from `roots`; from everywhere if there are none.

    `details` are its description, maintainer and email. Raises `Invalid`, and `Conflict` for a taken name.
    """
    names.check_client_name(name)
    client = Client(name=name, rights=rights, roots="\n".join(roots), **details)
    _validate(client, EDITABLE_FIELDS)
    try:
        with transaction.atomic():
            client.save(force_insert=True)
            _store_key(client, key)
            audit.record(actor, audit.Action.CLIENT_ADD, client)
    except IntegrityError as error:
        raise Conflict(f"There is a client {name} already.") from error
    return client


def get_client(name: str) -> Client:
    """Return the client of this name; raise `NotFound`."""
    client = Client.objects.filter(name=name).first()
    if client is None:
        raise NotFound(f"There is no client {name!r}.")
    return client


def rotate_key(client: Client, key: bytes, *, actor: AbstractBaseUser | str) -> None:
    """Replace a client's key, and end all its sessions."""
    with transaction.atomic():
        current = Client.lock_for_update(client.pk)
        _store_key(current, key)
        ended = Session.objects.live().filter(client=current).end()
        audit.record(actor, audit.Action.CLIENT_ROTATE, current, sessions_ended=ended)


def set_active(client: Client, *, active: bool, actor: AbstractBaseUser | str) -> bool:
    """Enable a client, or disable it and end all its sessions; return False if nothing changed."""
    with transaction.atomic():
        current = Client.lock_for_update(client.pk)
        if current.is_active == active:
            return False
        # Before `is_active` is false, for the sessions of a disabled client do not count as live.
        ended = Session.objects.live().filter(client=current).end()
        current.is_active = active
        current.save(update_fields=["is_active"])
        action = audit.Action.CLIENT_ENABLE if active else audit.Action.CLIENT_DISABLE
        audit.record(actor, action, current, sessions_ended=ended)
    return True


def end_sessions(client: Client, *, actor: AbstractBaseUser | str) -> int:
    """End all live sessions of a client, and return their number."""
    with transaction.atomic():
        ended = Session.objects.live().filter(client=Client.lock_for_update(client.pk)).end()
        if ended:
            audit.record(actor, audit.Action.CLIENT_SESSIONS, client, sessions_ended=ended)
    return ended


def end_session(session: Session, *, actor: AbstractBaseUser | str) -> bool:
    """End one session; return False if it has ended before."""
    with transaction.atomic():
        client = Client.lock_for_update(session.client_id)
        ended = bool(Session.objects.filter(pk=session.pk).end())
        if ended:
            start = f"{session.created_at:%Y-%m-%d %H:%M}"
            audit.record(actor, audit.Action.CLIENT_SESSIONS, client, session=start)
    return ended


def update_client(client: Client, fields: Sequence[str], *, actor: AbstractBaseUser | str) -> None:
    """Store these fields of a client as they are on the object; raise `Invalid`."""
    if not fields:
        return
    _validate(client, fields)
    with transaction.atomic():
        Client.lock_for_update(client.pk)
        client.save(update_fields=fields)
        audit.record(actor, audit.Action.CLIENT_CHANGE, client, fields=list(fields))


def decrypt_key(secret: str) -> bytes:
    """Return the bytes of a stored key."""
    return bytes.fromhex(decrypt(PURPOSE, secret))


@functools.cache
def dummy_secret() -> str:
    """Return a stored key of nobody, for unknown clients: the time of an answer must not reveal which names exist."""
    return encrypt(PURPOSE, generate_key().hex())


def _validate(client: Client, fields: Sequence[str]) -> None:
    # Only these fields: a root removed from the settings later must not block a change of the others.
    if "roots" in fields:
        client.roots = local_files.join_directories(client.roots.split("\n") if client.roots else ())
    try:
        client.clean_fields(exclude={field.name for field in Client._meta.fields}.difference(fields))
    except ValidationError as error:
        sentences = (f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items())
        raise Invalid(" ".join(sentences)) from error


def _store_key(client: Client, key: bytes) -> None:
    ciphers.check_key(key)
    values = {"secret": encrypt(PURPOSE, key.hex()), "bits": len(key) * 8, "created_at": timezone.now()}
    ClientKey.objects.update_or_create(client=client, cipher=ciphers.AES_CBC, defaults=values)
