"""App keys, and the tokens that sign a request with one."""

import base64
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from accounts.credentials import app_keys
from accounts.models import User
from accounts.principals import Principal


@dataclass(frozen=True)
class KeyPair:
    appid: str
    appsecret: str


def issue_key(user: User, kind: str = "ALL") -> KeyPair:
    key = app_keys.issue(Principal(user), kind)
    return KeyPair(key.appid, key.appsecret)


def urlsafe_base64(data: bytes | str) -> str:
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).decode()


def sign_request(
    key: KeyPair,
    body: bytes = b"",
    *,
    at: str | None = None,
    random: str | None = None,
    algorithm: str = "sha1",
    coded: Callable[[bytes | str], str] = urlsafe_base64,
) -> str:
    """A token as the newer document of yapkg makes it; `at` and `random` as they stand in it."""
    at = coded(str(int(time.time()))) if at is None else at
    random = coded(secrets.token_bytes(16)) if random is None else random
    unsigned = f"{at}:{random}:{coded(body)}"
    return f"{key.appid}:{coded(hmac.digest(key.appsecret.encode(), unsigned.encode(), algorithm))}:{unsigned}"


def sign_empty_request(pair: dict[str, str]) -> str:
    """A token for a request without a body."""
    parts = [str(int(time.time())).encode(), secrets.token_bytes(16), b""]
    signed = ":".join(base64.urlsafe_b64encode(part).decode() for part in parts)
    signature = hmac.digest(pair["appsecret"].encode(), signed.encode(), "sha1")
    return f"{pair['appid']}:{base64.urlsafe_b64encode(signature).decode()}:{signed}"
