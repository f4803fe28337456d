"""Encryption: decrypted only under the keys of this registry and for the same purpose."""

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from registry_site.encryption import decrypt, encrypt
from registry_site.errors import Unavailable
from registry_site.secret_key import derive_key, read_secret_keys

OLD, NEW = "o" * 50, "n" * 50
REFUSED = r"^A stored secret was encrypted under a key that REGISTRY_SECRET_KEY_FILE lacks\.$"


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []


# --- encrypt and decrypt -----------------------------------------------------------------------------------------


def test_text_is_decrypted() -> None:
    texts = ["", "s3cret", "пароль", "\0\n", "x" * 10_000, "🗝"]
    assert [text for text in texts if decrypt("app keys", encrypt("app keys", text)) != text] == []


def test_ciphertext_hides_the_text() -> None:
    encrypted = encrypt("app keys", "correct horse battery staple")
    assert "correct" not in encrypted
    assert "horse" not in encrypted


def test_ciphertext_is_ascii() -> None:
    assert encrypt("app keys", "пароль").isascii()


def test_ciphertext_differs_each_time() -> None:
    assert len({encrypt("app keys", "s3cret") for _ in range(20)}) == 20


def test_other_purpose_cannot_decrypt() -> None:
    with pytest.raises(Unavailable, match=REFUSED):
        decrypt("mail passwords", encrypt("app keys", "s3cret"))


def test_former_key_still_decrypts(settings: Any) -> None:
    encrypted = encrypt("app keys", "s3cret")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, ["x" * 50, OLD]
    assert decrypt("app keys", encrypted) == "s3cret"


def test_present_key_encrypts(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    encrypted = encrypt("app keys", "s3cret")
    settings.SECRET_KEY_FALLBACKS = []
    assert decrypt("app keys", encrypted) == "s3cret"


def test_removed_key_makes_secrets_unavailable(settings: Any) -> None:
    encrypted = encrypt("app keys", "s3cret")
    settings.SECRET_KEY = NEW
    with pytest.raises(Unavailable, match=REFUSED):
        decrypt("app keys", encrypted)


def test_altered_ciphertext_is_refused() -> None:
    for position in (0, 12, 40, -2):
        encrypted = list(encrypt("app keys", "s3cret"))
        encrypted[position] = "A" if encrypted[position] != "A" else "B"
        with pytest.raises(Unavailable, match=REFUSED):
            decrypt("app keys", "".join(encrypted))


def test_junk_is_refused() -> None:
    for junk in ("", "s3cret", "=" * 100, "gAAAAA"):
        with pytest.raises(Unavailable, match=REFUSED):
            decrypt("app keys", junk)


# --- Key file ----------------------------------------------------------------------------------------------------


def test_present_key_precedes_former_keys(tmp_path: Path) -> None:
    for content in (f"{NEW}\n{OLD}\n", f"{NEW}\n{OLD}", f"{NEW}\r\n{OLD}\r\n", f"\n  {NEW}  \n\n\t{OLD}\n\n"):
        (tmp_path / "key").write_bytes(content.encode())
        assert read_secret_keys(tmp_path / "key") == [NEW, OLD]


def test_each_key_is_long_enough(tmp_path: Path) -> None:
    for content in (f"{NEW}\n{'x' * 49}\n", f"{'x' * 49}\n{NEW}\n", f"{NEW}\nold\n{OLD}\n"):
        (tmp_path / "key").write_text(content)
        with pytest.raises(ImproperlyConfigured, match="is too short") as refused:
            read_secret_keys(tmp_path / "key")
        assert NEW not in str(refused.value)


# --- derive_key --------------------------------------------------------------------------------------------------


def test_derived_key_is_deterministic() -> None:
    assert derive_key(NEW, "app keys") == derive_key(NEW, "app keys")
    assert len(derive_key(NEW, "app keys")) == 32


def test_derived_keys_differ_by_purpose_and_secret() -> None:
    derived = {derive_key(secret, purpose) for secret in (OLD, NEW) for purpose in ("app keys", "app key", "", "json")}
    assert len(derived) == 8


def test_derived_key_is_the_same_in_all_versions() -> None:
    """Secrets that an older version has encrypted stay readable."""
    assert derive_key("k" * 50, "app keys").hex() == "4df58f9b000cf5b177e1b661a1b4362b96a84f0d4d156d5adc9db6d480030d43"
