"""Encodings of credentials: base64 with optional padding, and the digest that stands for a token in the database."""

import base64
import hashlib
import re


def decode_base64(text: str) -> bytes:
    """Decode standard base64, with or without its padding. Raises `ValueError`."""
    bare = text.rstrip("=")
    return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)  # binascii.Error is a ValueError


def decode_base64url(text: str) -> bytes:
    """Decode URL-safe base64, with or without its padding. Raises `ValueError`, also for the standard alphabet."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*={0,2}", text):
        raise ValueError("no URL-safe base64")
    return decode_base64(text.replace("-", "+").replace("_", "/"))


def token_digest(token: str) -> str:
    """Return the SHA-256 of a token in hexadecimal digits. A random token needs no salt and no slow hash.

    A token from a form can hold bytes that are not UTF-8, as lone surrogates; they are hashed as those bytes.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
