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


def issue_key(user: User, key_type: str = "ALL") -> KeyPair:
    key = app_keys.issue(Principal(user), key_type)
    return KeyPair(key.appid, key.appsecret)


def urlsafe_base64(data: bytes | str) -> str:
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).decode()


def sign_request(
    key: KeyPair,
    body: bytes = b"",
    *,
    timestamp: str | None = None,
    random: str | None = None,
    algorithm: str = "sha1",
    encode: Callable[[bytes | str], str] = urlsafe_base64,
) -> str:
    """Return a token as the newer document of yapkg makes it; `timestamp` and `random` go into it as they are."""
    timestamp = encode(str(int(time.time()))) if timestamp is None else timestamp
    random = encode(secrets.token_bytes(16)) if random is None else random
    message = f"{timestamp}:{random}:{encode(body)}"
    signature = hmac.digest(key.appsecret.encode(), message.encode(), algorithm)
    return f"{key.appid}:{encode(signature)}:{message}"


def sign_empty_request(pair: dict[str, str]) -> str:
    """Return a token for a request without a body, by a pair as `POST /settings/appids` answers it."""
    return sign_request(KeyPair(pair["appid"], pair["appsecret"]))
