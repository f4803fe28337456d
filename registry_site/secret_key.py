"""The secret key of this registry, kept in a file of its own outside the database, and what is derived from it."""

import os
import secrets
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.core.exceptions import ImproperlyConfigured

MIN_LENGTH = 50


def read_secret_keys(path: Path) -> list[str]:
    """The keys in `path`, one in a line: the present one, then former ones, each of at least 50 characters.

    Raises `ImproperlyConfigured` when there is none that serves.
    """
    try:
        keys = [line.strip() for line in path.read_text(encoding="ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"The secret key cannot be read from {path}: {error}.") from error
    shortest = min(map(len, keys), default=0)
    if shortest < MIN_LENGTH:
        raise ImproperlyConfigured(
            f"The secret key in {path} is too short: {shortest} characters, {MIN_LENGTH} are needed."
        )
    return keys


def derive_key(secret: str, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose, from which neither the secret nor another purpose's key can be told."""
    return HKDF(SHA256(), 32, salt=None, info=b"entrepot " + purpose.encode()).derive(secret.encode())


def create_secret_key(path: Path) -> None:
    """Write a random key to `path` (mode 0600) unless it is there; of two processes at once one wins, for both."""
    try:
        if not path.exists():
            _write_key(path)
    except OSError as error:
        raise ImproperlyConfigured(f"The secret key cannot be written to {path}: {error.strerror}.") from error


def _write_key(path: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(64) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        os.unlink(temporary)
