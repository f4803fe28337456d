"""AES, compared with OpenSSL, and the encodings of ciphertexts and keys."""

import base64
import secrets
import subprocess
from textwrap import wrap
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from files import ciphers
from registry_site.errors import Invalid

pytestmark = pytest.mark.database_independent

# The contract's test vector.
KEY, IV = b"This is a key123", b"This is an IV456"
TEXT = b"00112233445566778899aabbccddeeff" * 2
HEX = (
    "118a4914bd1cca99b815b5301466333cf05205210ef75a18fede077792a1efd9"
    "e09a9ebdda9831b80d6f9fd2e10c1c45c1e55705c4438ab5b7068fb8849aed2c"
)
BASE64 = "EYpJFL0cypm4FbUwFGYzPPBSBSEO91oY/t4Hd5Kh79ngmp692pgxuA1vn9LhDBxFweVXBcRDirW3Bo+4hJrtLA=="
FORM = (
    "%11%8AI%14%BD%1C%CA%99%B8%15%B50%14f3%3C%F0R%05%21%0E%F7Z%18%FE%DE%07w%92%A1%EF%D9"
    "%E0%9A%9E%BD%DA%981%B8%0Do%9F%D2%E1%0C%1CE%C1%E5W%05%C4C%8A%B5%B7%06%8F%B8%84%9A%ED%2C"
)
PADDING = "8e51f3ce3210c4c9548dde7342a80861"
BARE = bytes.fromhex(HEX)
PADDED = bytes.fromhex(HEX + PADDING)


def openssl(key: bytes, iv: bytes, text: bytes, *options: str) -> bytes:
    cipher = f"-aes-{len(key) * 8}-cbc"
    command = ["openssl", "enc", cipher, "-K", key.hex(), "-iv", iv.hex(), *options]
    return subprocess.run(command, input=text, capture_output=True, check=True).stdout


def base64_with_blanks(raw: bytes) -> bytes:
    """Return base64 as a form decodes it when the client did not escape its `+`."""
    return base64.b64encode(raw).replace(b"+", b" ")


ENCODINGS = {
    "raw": lambda raw: raw,
    "hex": lambda raw: raw.hex().encode(),
    "upper hex": lambda raw: raw.hex().upper().encode(),
    "hex in lines": lambda raw: "\r\n".join(wrap(raw.hex(), 32)).encode(),
    "hex in pairs": lambda raw: raw.hex(" ").encode(),
    "base64": base64.b64encode,
    "base64 without padding": lambda raw: base64.b64encode(raw).rstrip(b"="),
    "url-safe": base64.urlsafe_b64encode,
    "url-safe without padding": lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="),
    "base64 in lines": lambda raw: "\n".join(wrap(base64.b64encode(raw).decode(), 64)).encode() + b"\n",
    "base64 in long lines": lambda raw: "\r\n".join(wrap(base64.b64encode(raw).decode(), 76)).encode() + b"\r\n",
    "plus as a blank": base64_with_blanks,
}


# --- encrypt -----------------------------------------------------------------------------------------------------


def test_encryption_matches_the_contract() -> None:
    for expected in (BARE, base64.b64decode(BASE64), unquote_to_bytes(FORM)):
        assert ciphers.encrypt(KEY, IV, TEXT) == expected + bytes.fromhex(PADDING)
    assert (base64.b64encode(BARE).decode(), quote_from_bytes(BARE, safe="")) == (BASE64, FORM)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_encryption_matches_openssl(size: int) -> None:
    key, iv, text = secrets.token_bytes(size), secrets.token_bytes(16), secrets.token_hex(32).encode()
    encrypted = ciphers.encrypt(key, iv, text)
    assert encrypted == openssl(key, iv, text)
    assert encrypted[:64] == openssl(key, iv, text, "-nopad")


# --- parse_ciphertext --------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(raw=st.binary(min_size=64, max_size=64) | st.binary(min_size=80, max_size=80))
@example(raw=BARE)
@example(raw=PADDED)
def test_ciphertext_is_read_in_each_encoding(raw: bytes) -> None:
    unread = [name for name, encode in ENCODINGS.items() if ciphers.parse_ciphertext(encode(raw), 64) != raw]
    assert unread == []


def test_ciphertext_of_another_length_is_none() -> None:
    cases = [(name, size) for name in ENCODINGS for size in (0, 1, 15, 16, 63, 65, 79, 81, 96, 128, 1000)]
    accepted = [case for case in cases if ciphers.parse_ciphertext(ENCODINGS[case[0]](b"\xfb" * case[1]), 64)]
    assert accepted == []


def test_malformed_ciphertext_is_none() -> None:
    texts = [
        HEX[:-1],
        HEX[:-1] + "g",
        f"0x{HEX}",
        BASE64.replace("/", "!"),
        BASE64[:-3],
        BASE64 + "é",
        f'"{BASE64}"',
        FORM,
    ]
    assert [text for text in texts if ciphers.parse_ciphertext(text.encode(), 64) is not None] == []


@given(junk=st.binary(max_size=200))
def test_parsed_ciphertext_has_a_right_length(junk: bytes) -> None:
    ciphertext = ciphers.parse_ciphertext(junk, 64)
    assert ciphertext is None or len(ciphertext) in (64, 80)


# --- parse_key, check_key -------------------------------------------------------------------------------------------

KEY_ENCODINGS = {
    "raw": "bytes as they are",
    **{name: "hexadecimal digits" for name in ("hex", "upper hex", "hex in lines", "hex in pairs")},
    **{
        name: "base64"
        for name in ("base64", "base64 without padding", "url-safe", "url-safe without padding", "base64 in lines")
    },
}


@pytest.mark.parametrize("name", KEY_ENCODINGS)
def test_key_is_read_in_each_encoding(name: str) -> None:
    for size in (16, 24, 32):
        key = bytes(range(224, 224 + size))
        for line_end in (b"", b"\n", b"\r\n"):
            assert ciphers.parse_key(ENCODINGS[name](key) + line_end) == (key, KEY_ENCODINGS[name])


def test_raw_key_may_end_in_line_ends() -> None:
    for key in (KEY, b"\n" + b"\xfe" * 15, b"\xfe" * 31 + b"\n", b"\r\n" * 12, bytes(16)):
        assert ciphers.parse_key(key) == (key, "bytes as they are")


def test_blanks_in_a_phrase_are_no_base64() -> None:
    """A form would turn pluses of base64 into blanks, but keys are not sent through forms."""
    for key in (b"This is a key123" * 2, b"a phrase of 32 letters as it is "):
        assert ciphers.parse_key(key) == (key, "bytes as they are")


def test_ambiguous_key_is_hexadecimal_first() -> None:
    assert ciphers.parse_key(b"00112233445566778899aabbccddeeff") == (
        bytes.fromhex("00112233445566778899aabbccddeeff"),
        "hexadecimal digits",
    )


def test_malformed_key_is_refused() -> None:
    for text in (b"", b"\n", b"short", b"\xfe" * 15, b"\xfe" * 33, b"0" * 34, b"!" * 44, b"\0" * 1000):
        with pytest.raises(Invalid, match=r"^This is no AES key: give 16, 24 or 32 bytes, as they are, in hexadecimal"):
            ciphers.parse_key(text)


def test_key_has_one_of_three_sizes() -> None:
    for size in (16, 24, 32):
        ciphers.check_key(bytes(size))
    for size in (0, 15, 17, 23, 25, 31, 33, 64):
        with pytest.raises(Invalid, match="This is no AES key"):
            ciphers.check_key(bytes(size))
