"""Import of the accounts of other systems, with the password hashes that those systems made.

Each line of a file is a JSON object: `username` and `password_hash`, and optionally `email`, `email_verified` (true or
false), `roles` (a list), `is_admin`, `is_active` and `created_at` (RFC 3339).
"""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from argon2 import extract_parameters
from argon2.exceptions import InvalidHash
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts import emails, names, roles
from accounts.models import Role, User
from accounts.passwords.hashers import PBKDF2PHCHasher
from registry_site import audit
from registry_site.encoding import decode_base64
from registry_site.errors import Conflict, Invalid, RegistryError
from registry_site.http import strict_json

FIELDS = {"username", "password_hash", "email", "email_verified", "roles", "is_admin", "is_active", "created_at"}
# Limits of what a hash may cost to verify: about a second at the first log-in, which replaces it by one of ours.
MAX_MEMORY = 256 * 1024  # KiB
MAX_WORK = 1024 * 1024  # KiB in all passes together
MAX_LANES = 16
MAX_ITERATIONS = 2_000_000  # of PBKDF2, for each block of 32 bytes
# Lower limits of the PHC string format for Argon2, and the versions that argon2-cffi verifies.
MIN_SALT_BYTES = 8
MIN_HASH_BYTES = 12
ARGON2_VERSIONS = (16, 19)


@dataclass(frozen=True)
class ImportedAccount:
    """The account of one line."""

    username: str
    password: str  # the hash in Django's form
    email: str = ""
    email_verified: bool = False
    roles: list[Role] = field(default_factory=list)
    is_admin: bool = False
    is_active: bool = True
    created_at: datetime | None = None
    line: int = 0


def read_accounts(lines: Iterable[str]) -> Iterator[ImportedAccount]:
    """Parse the lines of a file; raises `Invalid` with the number of the bad line."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            account = parse_line(line)
        except RegistryError as error:
            raise Invalid(f"Line {number}: {error.message.rstrip('.')}.") from error
        yield replace(account, line=number)


def create_accounts(accounts: Sequence[ImportedAccount]) -> None:
    """Open all accounts, or none; raises `Conflict` with the line whose name or address is taken, or `Invalid`."""
    with transaction.atomic():
        for account in accounts:
            _create_account(account)


def parse_line(line: str) -> ImportedAccount:
    """Parse the JSON object of one account; raises `Invalid`."""
    # Standard input may hold bytes that are no UTF-8, as lone surrogates; `strict_json` refuses them.
    record = strict_json.loads(line.encode("utf-8", "surrogatepass"))
    if not isinstance(record, dict):
        raise Invalid("it is no JSON object")
    if unknown := sorted(set(record) - FIELDS):
        raise Invalid(f"there is no field {', '.join(unknown)}; there are: {', '.join(sorted(FIELDS))}")
    names.validate(_text(record, "username"))
    return ImportedAccount(
        username=_text(record, "username"),
        password=to_django_hash(_text(record, "password_hash")),
        email=emails.normalize(_text(record, "email")) if record.get("email") else "",
        email_verified=_boolean(record, "email_verified", default=False),
        roles=_roles(record.get("roles", [])),
        is_admin=_boolean(record, "is_admin", default=False),
        is_active=_boolean(record, "is_active", default=True),
        created_at=_time(record.get("created_at")),
    )


def to_django_hash(phc_string: str) -> str:
    """Return a password hash in Django's form; raises `Invalid`, also for a hash that costs too much to verify.

    Accepted are Argon2 and PBKDF2-SHA256 as PHC strings, and such a string in base64, as backup-repository stores it.
    """
    text = phc_string.strip()
    if not text.startswith("$"):
        with suppress(ValueError):  # of base64 and of ASCII; the parsers below refuse the text
            text = base64.b64decode(text, validate=True).decode("ascii")
    text = re.sub(r"=+(?=\$|$)", "", text)  # PHC strings have no padding, but backup-repository's have
    try:
        if text.startswith("$argon2"):
            _check_argon2(text)
            return "argon2" + text
        _check_pbkdf2(text.removeprefix("$"))
        return text.removeprefix("$")
    except (ValueError, InvalidHash) as error:
        raise Invalid("password_hash: it is no Argon2 and no PBKDF2-SHA256 hash as a PHC string") from error


def _check_argon2(text: str) -> None:
    costs = extract_parameters(text)
    salt, digest = (decode_base64(part) for part in text.split("$")[-2:])
    is_possible = costs.time_cost >= 1 <= costs.parallelism and costs.memory_cost >= 8 * costs.parallelism
    is_long_enough = len(salt) >= MIN_SALT_BYTES and len(digest) >= MIN_HASH_BYTES
    if not (is_possible and is_long_enough and costs.version in ARGON2_VERSIONS):
        raise ValueError("no Argon2 would make this")
    work = costs.memory_cost * costs.time_cost
    if costs.memory_cost > MAX_MEMORY or work > MAX_WORK or costs.parallelism > MAX_LANES:
        raise Invalid("password_hash: to verify it would take too much memory or time")


def _check_pbkdf2(text: str) -> None:
    parts = PBKDF2PHCHasher().decode(text)
    digest_length = len(parts["hash"])
    if not parts["iterations"] or parts["length"] != digest_length or digest_length < MIN_HASH_BYTES:
        raise ValueError("no PBKDF2 would make this")
    blocks = -(-digest_length // 32)  # PBKDF2 runs all iterations for each block
    if parts["iterations"] * blocks > MAX_ITERATIONS:
        raise Invalid("password_hash: to verify it would take too much time")


def _create_account(account: ImportedAccount) -> None:
    date_joined = account.created_at or timezone.now()
    try:
        with transaction.atomic():
            user = User.objects.create_with_hash(
                account.username,
                account.email,
                account.password,
                email_verified_at=date_joined if account.email and account.email_verified else None,
                is_active=account.is_active,
                is_staff=account.is_admin,
                is_superuser=account.is_admin,
                date_joined=date_joined,
            )
    except (Conflict, Invalid) as error:
        raise type(error)(f"Line {account.line}: {error.message}") from error
    except IntegrityError as error:
        raise Conflict(f"Line {account.line}: the address {account.email} is taken.") from error
    for role in account.roles:
        roles.grant(user, role, actor=None)
    audit.record(None, audit.Action.USER_IMPORT, user, admin=user.is_superuser)


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise Invalid(f"{name}: a text is needed")
    return value


def _boolean(record: dict[str, Any], name: str, *, default: bool) -> bool:
    value = record.get(name, default)
    if not isinstance(value, bool):
        raise Invalid(f"{name}: true or false is needed")
    return value


def _roles(value: Any) -> list[Role]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise Invalid("roles: a list of names is needed")
    return [roles.parse_role(name) for name in value]


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        time = parse_datetime(value) if isinstance(value, str) else None
        if time is None or timezone.is_naive(time):
            raise ValueError(value)
        return time.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # the year may leave Python's range on the way to UTC
        raise Invalid("created_at: a time such as 2026-01-31T12:00:00Z is needed") from error
