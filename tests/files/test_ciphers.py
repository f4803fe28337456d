"""AES against other implementations of it, and the many ways to write down a ciphertext or a key."""

import base64
import secrets
import subprocess
from textwrap import wrap
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given, settings
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


def blanks_for_plus(raw: bytes) -> bytes:
    """What a form makes of a `+` that was sent as it is."""
    return base64.b64encode(raw).replace(b"+", b" ")


WRITINGS = {
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
    "plus as a blank": blanks_for_plus,
}


# --- encrypt -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected", [BARE, base64.b64decode(BASE64), unquote_to_bytes(FORM)])
def test_vector_of_the_contract(expected: bytes) -> None:
    assert ciphers.encrypt(KEY, IV, TEXT) == expected + bytes.fromhex(PADDING)


def test_forms_of_the_vector_are_one() -> None:
    assert (base64.b64encode(BARE).decode(), quote_from_bytes(BARE, safe="")) == (BASE64, FORM)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_openssl_encrypts_the_same(size: int) -> None:
    key, iv, text = secrets.token_bytes(size), secrets.token_bytes(16), secrets.token_hex(32).encode()
    encrypted = ciphers.encrypt(key, iv, text)
    assert encrypted == openssl(key, iv, text)
    assert encrypted[:64] == openssl(key, iv, text, "-nopad")


# --- ciphertext --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [BARE, PADDED], ids=["bare", "padded"])
@pytest.mark.parametrize("writing", WRITINGS)
def test_ciphertext_is_read_in_each_writing(writing: str, raw: bytes) -> None:
    assert ciphers.parse_ciphertext(WRITINGS[writing](raw), 64) == raw


@settings(max_examples=30)
@given(raw=st.binary(min_size=64, max_size=64) | st.binary(min_size=80, max_size=80))
def test_any_ciphertext_is_read_in_every_writing(raw: bytes) -> None:
    assert {ciphers.parse_ciphertext(write(raw), 64) for write in WRITINGS.values()} == {raw}


@pytest.mark.parametrize("size", [0, 1, 15, 16, 63, 65, 79, 81, 96, 128, 1000])
@pytest.mark.parametrize("writing", WRITINGS)
def test_ciphertext_of_another_length_is_none(writing: str, size: int) -> None:
    assert ciphers.parse_ciphertext(WRITINGS[writing](b"\xfb" * size), 64) is None


@pytest.mark.parametrize(
    "text",
    [
        HEX[:-1],
        HEX[:-1] + "g",
        f"0x{HEX}",
        BASE64.replace("/", "!"),
        BASE64[:-3],
        BASE64 + "é",
        f'"{BASE64}"',
        FORM,
    ],
)
def test_what_is_no_ciphertext_is_none(text: str) -> None:
    assert ciphers.parse_ciphertext(text.encode(), 64) is None


@given(junk=st.binary(max_size=200))
def test_junk_is_read_as_a_ciphertext_or_not_at_all(junk: bytes) -> None:
    read = ciphers.parse_ciphertext(junk, 64)
    assert read is None or len(read) in (64, 80)


# --- key ---------------------------------------------------------------------------------------------------------

HOW = {
    "raw": "bytes as they are",
    **{writing: "hexadecimal digits" for writing in ("hex", "upper hex", "hex in lines", "hex in pairs")},
    **{
        writing: "base64"
        for writing in ("base64", "base64 without padding", "url-safe", "url-safe without padding", "base64 in lines")
    },
}


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"], ids=["", "LF", "CRLF"])
@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("writing", HOW)
def test_key_is_read_in_each_writing(writing: str, size: int, end: bytes) -> None:
    raw = bytes(range(224, 224 + size))
    assert ciphers.parse_key(WRITINGS[writing](raw) + end) == (raw, HOW[writing])


def test_key_of_the_original_is_read_as_it_is() -> None:
    assert ciphers.parse_key(KEY) == (KEY, "bytes as they are")


@pytest.mark.parametrize("raw", [b"\n" + b"\xfe" * 15, b"\xfe" * 31 + b"\n", b"\r\n" * 12, bytes(16)])
def test_line_ends_can_belong_to_a_raw_key(raw: bytes) -> None:
    assert ciphers.parse_key(raw) == (raw, "bytes as they are")


@pytest.mark.parametrize("key", [b"This is a key123" * 2, b"a phrase of 32 letters as it is "])
def test_blanks_in_a_phrase_are_no_base64(key: bytes) -> None:
    """Nobody sends a key through a form, which makes blanks of pluses."""
    assert ciphers.parse_key(key) == (key, "bytes as they are")


def test_key_that_can_be_read_twice_is_hexadecimal_first() -> None:
    assert ciphers.parse_key(b"00112233445566778899aabbccddeeff") == (
        bytes.fromhex("00112233445566778899aabbccddeeff"),
        "hexadecimal digits",
    )


@pytest.mark.parametrize("text", [b"", b"\n", b"short", b"\xfe" * 15, b"\xfe" * 33, b"0" * 34, b"!" * 44, b"\0" * 1000])
def test_what_is_no_key_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid, match=r"^This is no AES key: give 16, 24 or 32 bytes, as they are, in hexadecimal"):
        ciphers.parse_key(text)


@pytest.mark.parametrize("size", [0, 15, 17, 23, 25, 31, 33, 64])
def test_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(Invalid, match="This is no AES key"):
        ciphers.check_key(bytes(size))


@pytest.mark.parametrize("size", [16, 24, 32])
def test_key_of_each_size_is_taken(size: int) -> None:
    ciphers.check_key(bytes(size))
