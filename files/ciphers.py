"""AES in CBC mode, and the encodings in which keys and ciphertexts arrive. Pure."""

import re

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from registry_site.encoding import decode_base64
from registry_site.errors import Invalid

AES_CBC = "AES_CBC"  # the name of the cipher in a challenge
KEY_SIZES = (16, 24, 32)  # bytes
BLOCK_SIZE = 16  # bytes
RAW_BYTES = "bytes as they are"
INVALID_KEY = "This is no AES key: give 16, 24 or 32 bytes, as they are, in hexadecimal digits or in base64."


def encrypt(key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """Encrypt a plaintext of whole blocks with PKCS#7 padding.

    The padding is then a block of its own: the result without its last block is the ciphertext without padding.
    """
    padder = PKCS7(AES.block_size).padder()
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def parse_ciphertext(encoded: bytes, length: int) -> bytes | None:
    """Decode a ciphertext of `length` bytes, or of one block more for its padding; return None for anything else.

    It comes raw, in hexadecimal digits or in base64. The length tells which: no two encodings share one.
    """
    lengths = (length, length + BLOCK_SIZE)
    if len(encoded) in lengths:
        return encoded
    candidates = (_from_hex(encoded), _from_base64(encoded.replace(b" ", b"+")))  # forms decode + to a space
    return next((raw for raw in candidates if raw and len(raw) in lengths), None)


def parse_key(encoded: bytes) -> tuple[bytes, str]:
    """Decode a key, and return it with the name of its encoding; raise `Invalid` if it is no AES key.

    Some texts are valid in several encodings. Hexadecimal digits come first, then base64, then raw bytes.
    """
    stripped = encoded.strip(b"\r\n")  # an editor ends the file with a line end; a raw key may end so itself
    candidates = (
        (_from_hex(stripped), "hexadecimal digits"),
        (_from_base64(stripped), "base64"),
        (encoded, RAW_BYTES),
        (stripped, RAW_BYTES),
    )
    for key, encoding in candidates:
        if key and len(key) in KEY_SIZES:
            return key, encoding
    raise Invalid(INVALID_KEY)


def check_key(key: bytes) -> None:
    """Raise `Invalid` for bytes that are no AES key."""
    if len(key) not in KEY_SIZES:
        raise Invalid(INVALID_KEY)


def _from_hex(text: bytes) -> bytes | None:
    digits = b"".join(text.split())
    return bytes.fromhex(digits.decode("ascii")) if re.fullmatch(rb"([0-9A-Fa-f]{2})+", digits) else None


def _from_base64(text: bytes) -> bytes | None:
    """Decode standard or URL-safe base64, with or without padding."""
    one_line = text.translate(bytes.maketrans(b"-_", b"+/"), delete=b"\r\n")
    try:
        return decode_base64(one_line.decode("ascii"))
    except ValueError:
        return None
