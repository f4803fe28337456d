"""base64 whose padding may be missing, and the digest of a token."""

import hashlib
from collections.abc import Callable

import pytest

from registry_site.encoding import decode_base64, decode_base64url, token_digest


def is_refused(decode: Callable[[str], bytes], text: str) -> bool:
    try:
        decode(text)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("decode", "encoded"), [(decode_base64, "+/8B"), (decode_base64url, "-_8B")], ids=["standard", "urlsafe"]
)
def test_padding_may_be_missing(decode: Callable[[str], bytes], encoded: str) -> None:
    data = bytes.fromhex("fbff01")
    assert decode(encoded) == data
    assert decode(encoded[:3]) == decode(f"{encoded[:3]}=") == data[:2]
    assert decode(encoded[:2]) == decode(f"{encoded[:2]}==") == data[:1]
    assert decode("") == b""


def test_other_text_is_no_base64() -> None:
    for decode, foreign in ((decode_base64, "-_8B"), (decode_base64url, "+/8B")):
        texts = (foreign, "A", "AAAAA", "A=AA", "=AAA", "AA AA", "AAAA\n", "AAé", "AA\udcff")
        assert [text for text in texts if not is_refused(decode, text)] == []


def test_urlsafe_base64_has_two_padding_signs_at_most() -> None:
    assert is_refused(decode_base64url, "AAAA===")


def test_token_digest_is_sha256_of_its_bytes() -> None:
    assert token_digest("entc_x") == hashlib.sha256(b"entc_x").hexdigest()
    assert token_digest(b"\xff\x01".decode("utf-8", "surrogateescape")) == hashlib.sha256(b"\xff\x01").hexdigest()
