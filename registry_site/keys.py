"""The secret key of this registry, kept in a file of its own outside the database."""

import os
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

MINIMUM_LENGTH = 50


def secret_key(path: Path) -> str:
    """The key in `path`, at least 50 characters; raises `ImproperlyConfigured` when there is none that serves."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"The secret key cannot be read from {path}: {error}.") from error
    if len(key) < MINIMUM_LENGTH:
        raise ImproperlyConfigured(
            f"The secret key in {path} is too short: {len(key)} characters, {MINIMUM_LENGTH} are needed."
        )
    return key


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
