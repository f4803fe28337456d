"""AES in CBC mode, and the many ways to write down a key or a ciphertext. Pure."""

import re

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from registry_site.encoding import decode_base64
from registry_site.errors import Invalid

AES_CBC = "AES_CBC"  # as the challenge names it
KEY_SIZES = (16, 24, 32)  # bytes
BLOCK = 16  # bytes
RAW = "bytes as they are"
NO_KEY = "This is no AES key: give 16, 24 or 32 bytes, as they are, in hexadecimal digits or in base64."


def encrypt(key: bytes, iv: bytes, text: bytes) -> bytes:
    """The ciphertext of `text` with PKCS#7 padding; what stands before its last block is that without padding.

    `text` has a multiple of 16 bytes, so the padding is a whole block.
    """
    padder = PKCS7(AES.block_size).padder()
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    return encryptor.update(padder.update(text) + padder.finalize()) + encryptor.finalize()


def ciphertext(given: bytes, length: int) -> bytes | None:
    """The ciphertext of `length` bytes, or one block more, that is given raw, in hexadecimal digits or in base64.

    None for what is neither. Lengths tell which it is: no two of them can be mistaken for each other.
    """
    lengths = (length, length + BLOCK)
    if len(given) in lengths:
        return given
    readings = (_from_hex(given), _from_base64(given.replace(b" ", b"+")))  # a form has decoded the +
    return next((raw for raw in readings if raw and len(raw) in lengths), None)


def key(given: bytes) -> tuple[bytes, str]:
    """A key as somebody wrote it down → its bytes, and how it was read; raises `Invalid`.

    A text that can be read in two ways is read in the first of: hexadecimal digits, base64, as it is.
    """
    bare = given.strip(b"\r\n")
    readings = ((_from_hex(bare), "hexadecimal digits"), (_from_base64(bare), "base64"), (given, RAW), (bare, RAW))
    for raw, how in readings:
        if raw and len(raw) in KEY_SIZES:
            return raw, how
    raise Invalid(NO_KEY)


def check_key(raw: bytes) -> None:
    """Raises `Invalid` for bytes that are no AES key."""
    if len(raw) not in KEY_SIZES:
        raise Invalid(NO_KEY)


def _from_hex(text: bytes) -> bytes | None:
    digits = b"".join(text.split())
    return bytes.fromhex(digits.decode("ascii")) if re.fullmatch(rb"([0-9A-Fa-f]{2})+", digits) else None


def _from_base64(text: bytes) -> bytes | None:
    """Standard or URL-safe, with or without padding."""
    one_line = text.translate(bytes.maketrans(b"-_", b"+/"), delete=b"\r\n")
    try:
        return decode_base64(one_line.decode("ascii"))
    except ValueError:
        return None
