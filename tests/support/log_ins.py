"""The log-ins by password of all APIs."""

import json
from typing import Any

from django.test import Client

from tests.support.cast import PASSWORD

# Of alice, by path; each tries the password that is there.
LOG_INS: dict[str, dict[str, str]] = {
    "/ktra/api/v1/login/alice": {"password": PASSWORD},
    "/ktra/api/v1/change_password/alice": {"old_password": PASSWORD, "new_password": "battery staple"},
    "/api/stable/auth/login": {"username": "alice", "password": PASSWORD},
    "/v1/user/login": {"login": "alice", "password": PASSWORD},
    "/login": {"username": "alice", "password": PASSWORD},
}


def post_json(path: str, body: dict[str, str], code: str = "") -> Any:
    """Send JSON, and a code in `X-OTP` if there is one."""
    headers = {"X-OTP": code} if code else {}
    return Client(headers=headers).post(path, json.dumps(body), content_type="application/json")
