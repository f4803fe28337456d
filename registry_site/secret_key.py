"""The secret key of this registry, in a file outside of the database, and the keys that are derived from it."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.core.exceptions import ImproperlyConfigured

MIN_LENGTH = 50  # characters, as Django's own check demands


def read_secret_keys(path: Path) -> list[str]:
    """Return the keys in a file, one a line: the present key, then former ones.

    Raises `ImproperlyConfigured` when there is none, or one is too short.
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
    """Derive a key of 32 bytes for one purpose. It reveals neither the secret nor the key of another purpose."""
    return HKDF(SHA256(), 32, salt=None, info=b"entrepot " + purpose.encode()).derive(secret.encode())


def create_secret_key(path: Path) -> None:
    """Write a random key to a file (mode 0600) unless it exists. Raises `ImproperlyConfigured`."""
    try:
        if path.exists():
            return
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # with mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(64) + "\n")
                file.flush()
                os.fsync(file.fileno())
            # A link fails when the file exists: of two processes that start at once, one wins, for both.
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
    except OSError as error:
        raise ImproperlyConfigured(f"The secret key cannot be written to {path}: {error.strerror}.") from error
