"""What must be shown again is encrypted here, under keys that are not in the database."""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from registry_site.errors import Unavailable
from registry_site.secret_key import derive_key


def encrypt(purpose: str, text: str) -> str:
    """`text` under the present key; what was encrypted for one purpose cannot be read for another."""
    return _fernet(purpose).encrypt(text.encode()).decode("ascii")


def decrypt(purpose: str, encrypted: str) -> str:
    """The text again, under the present key or a former one; raises `Unavailable` when none of them fits."""
    try:
        return _fernet(purpose).decrypt(encrypted.encode("ascii")).decode()
    except InvalidToken as error:
        raise Unavailable("A stored secret was encrypted under a key that REGISTRY_SECRET_KEY_FILE lacks.") from error


def _fernet(purpose: str) -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(derive_key(key, purpose))) for key in keys])
