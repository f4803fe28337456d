"""Accounts of other systems, brought along with the passwords that their holders know.

Each line of the file is a JSON object: `username` and `password_hash`, and, where they are known, `email`,
`email_verified` (true or false), `roles` (a list), `is_admin`, `is_active` and `created_at` (RFC 3339).
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
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
# What a hash may cost at the first log-in, about a second; after that it is one of ours.
MAX_MEMORY = 256 * 1024  # KiB
MAX_WORK = 1024 * 1024  # KiB in all passes together
MAX_LANES = 16
MIN_SALT_BYTES = 8  # bytes
MIN_HASH_BYTES = 12
ARGON2_VERSIONS = (16, 19)
MAX_ITERATIONS = 2_000_000  # for each block of 32 bytes


@dataclass(frozen=True)
class ImportedAccount:
    """One line, understood."""

    username: str
    password: str  # as Django keeps it
    email: str = ""
    email_verified: bool = False
    roles: list[Role] = field(default_factory=list)
    is_admin: bool = False
    is_active: bool = True
    created_at: datetime | None = None
    line: int = 0


def parse_line(line: str) -> ImportedAccount:
    """Raises `Invalid` with what is wrong with the line."""
    given = strict_json.loads(line.encode("utf-8", "surrogatepass"))
    if not isinstance(given, dict):
        raise Invalid("it is no JSON object")
    if unknown := sorted(set(given) - FIELDS):
        raise Invalid(f"there is no field {', '.join(unknown)}; there are: {', '.join(sorted(FIELDS))}")
    names.validate(_text(given, "username"))
    created_at = given.get("created_at")
    return ImportedAccount(
        username=_text(given, "username"),
        password=to_django_hash(_text(given, "password_hash")),
        email=emails.normalize(_text(given, "email")) if given.get("email") else "",
        email_verified=_flag(given, "email_verified", default=False),
        roles=_roles(given.get("roles", [])),
        is_admin=_flag(given, "is_admin", default=False),
        is_active=_flag(given, "is_active", default=True),
        created_at=None if created_at is None else _moment(created_at),
    )


def to_django_hash(hashed: str) -> str:
    """The hash in Django's form. Known are Argon2 and PBKDF2-SHA256 as PHC strings, and the former in base64 as
    backup-repository keeps it. Raises `Invalid`, for what would cost too much to verify, too.
    """
    text = hashed.strip()
    if not text.startswith("$"):
        text = _unwrapped(text)
    text = re.sub(r"=+(?=\$|$)", "", text)
    try:
        return _argon2(text) if text.startswith("$argon2") else _pbkdf2(text.removeprefix("$"))
    except (ValueError, InvalidHash) as error:
        raise Invalid("password_hash: it is no Argon2 and no PBKDF2-SHA256 hash as a PHC string") from error


def _argon2(text: str) -> str:
    known = extract_parameters(text)
    salt, hashed = (decode_base64(part) for part in text.split("$")[-2:])
    sound = known.time_cost >= 1 <= known.parallelism and known.memory_cost >= 8 * known.parallelism
    if not sound or len(salt) < MIN_SALT_BYTES or len(hashed) < MIN_HASH_BYTES or known.version not in ARGON2_VERSIONS:
        raise ValueError("no Argon2 would make this")
    work = known.memory_cost * known.time_cost
    if known.memory_cost > MAX_MEMORY or work > MAX_WORK or known.parallelism > MAX_LANES:
        raise Invalid("password_hash: to verify it would take too much memory or time")
    return "argon2" + text


def _pbkdf2(text: str) -> str:
    known = PBKDF2PHCHasher().decode(text)
    if not known["iterations"] or known["length"] != len(known["hash"]) or len(known["hash"]) < MIN_HASH_BYTES:
        raise ValueError("no PBKDF2 would make this")
    if known["iterations"] * -(-known["length"] // 32) > MAX_ITERATIONS:
        raise Invalid("password_hash: to verify it would take too much time")
    return text


def read_accounts(lines: Iterable[str]) -> Iterator[ImportedAccount]:
    """The accounts of a file, one after another; raises `Invalid` and names the line."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            account = parse_line(line)
        except RegistryError as error:
            raise Invalid(f"Line {number}: {error.message.rstrip('.')}.") from error
        yield replace(account, line=number)


def create_accounts(accounts: Sequence[ImportedAccount]) -> None:
    """Open them all, or none; raises `Conflict` for a name or an address that is taken, and names the line."""
    with transaction.atomic():
        for account in accounts:
            _open(account)


def _open(account: ImportedAccount) -> None:
    joined = account.created_at or timezone.now()
    try:
        with transaction.atomic():
            user = User.objects.create_with_hash(
                account.username,
                account.email,
                account.password,
                email_verified_at=joined if account.email and account.email_verified else None,
                is_active=account.is_active,
                is_staff=account.is_admin,
                is_superuser=account.is_admin,
                date_joined=joined,
            )
    except IntegrityError as error:
        is_address = account.email and User.objects.with_email(account.email).exists()
        taken = f"address {account.email}" if is_address else f"name {account.username}"
        raise Conflict(f"Line {account.line}: the {taken} is taken.") from error
    for role in account.roles:
        roles.grant(user, role, actor=None)
    audit.record(None, audit.Action.USER_IMPORT, user, admin=user.is_superuser)


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise Invalid(f"{name}: a text is needed")
    return value


def _flag(given: dict[str, Any], name: str, *, default: bool) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise Invalid(f"{name}: true or false is needed")
    return value


def _roles(value: Any) -> list[Role]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise Invalid("roles: a list of names is needed")
    return [roles.parse_role(name) for name in value]


def _moment(value: Any) -> datetime:
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
        if moment is None or timezone.is_naive(moment):
            raise ValueError(value)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid("created_at: a time such as 2026-01-31T12:00:00Z is needed") from error


def _unwrapped(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return text
