"""Codes that people type as their second factor: of an authenticator app, or recovery codes."""

import re

from accounts.models import User
from accounts.second_factor import apps, recovery_codes
from accounts.second_factor.throttle import CodeThrottle
from registry_site.errors import WrongCode

APP_CODE = re.compile(r"[0-9]{6}")
MAX_LENGTH = 64  # of what is typed


def use(user: User, code: str) -> None:
    """Use a code up. Raises `WrongCode`, and `TooManyRequests` after too many wrong ones."""
    text = recovery_codes.bare(code[:MAX_LENGTH])
    with CodeThrottle(user):
        if not (apps.use_code(user, text) if APP_CODE.fullmatch(text) else recovery_codes.use(user, text)):
            raise WrongCode("This code is wrong, or it was used before.")
