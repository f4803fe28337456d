"""Encryption of secrets that have to be shown again, under keys that are not in the database."""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from registry_site.errors import Unavailable
from registry_site.secret_key import derive_key


def encrypt(purpose: str, text: str) -> str:
    """Encrypt a text under the present key. Each purpose has a key of its own."""
    return fernet(purpose).encrypt(text.encode()).decode("ascii")


def decrypt(purpose: str, encrypted: str) -> str:
    """Decrypt a text under the present key or a former one. Raises `Unavailable` when none of them fits."""
    try:
        return fernet(purpose).decrypt(encrypted.encode("ascii")).decode()
    except InvalidToken as error:
        raise Unavailable("A stored secret was encrypted under a key that REGISTRY_SECRET_KEY_FILE lacks.") from error


def fernet(purpose: str) -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)  # encrypts with the first, decrypts with any
    return MultiFernet([Fernet(base64.urlsafe_b64encode(derive_key(key, purpose))) for key in keys])
