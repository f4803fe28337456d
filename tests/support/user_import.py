"""Lines of files for `manage.py importusers`."""

import json
from typing import Any

import argon2

from tests.support.cast import PASSWORD


def argon2id(password: str = PASSWORD, salt_len: int = 16, **costs: Any) -> str:
    """Hash a password as a PHC string of Argon2id, cheaply unless a test asks for other costs."""
    hasher = argon2.PasswordHasher(**{"time_cost": 1, "memory_cost": 64, "parallelism": 1, **costs})
    return hasher.hash(password, salt=bytes(range(salt_len)))


GOOD = argon2id()


def import_line(username: str = "alice", **fields: Any) -> str:
    """Write the line of one account, whose password is `PASSWORD`."""
    return json.dumps({"username": username, "password_hash": GOOD, **fields})
