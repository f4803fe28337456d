"""Accounts of other systems, brought along with the passwords that their holders know.

Each line of the file is a JSON object: `username` and `password_hash`, and, where they are known, `email`,
`email_verified` (true or false), `roles` (a list), `is_admin`, `is_active` and `created_at` (RFC 3339).
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts import audit, emails, names, roles
from accounts.hashers import PBKDF2PHCHasher
from accounts.models import Role, User
from registry_site import strict_json
from registry_site.errors import Conflict, Invalid, RegistryError

FIELDS = {"username", "password_hash", "email", "email_verified", "roles", "is_admin", "is_active", "created_at"}
ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=[0-9]+)?\$m=([0-9]{1,8}),t=([0-9]{1,4}),p=([0-9]{1,3})\$[A-Za-z0-9+/]{11,88}\$[A-Za-z0-9+/]{16,88}"
)
# What a hash may cost at the first log-in; after that it is one of ours.
MOST_MEMORY = 256 * 1024  # KiB
MOST_PASSES = 64
MOST_LANES = 16
MOST_ITERATIONS = 10_000_000


@dataclass(frozen=True)
class Account:
    """One line, understood."""

    username: str
    password: str  # as Django keeps it
    email: str = ""
    email_verified: bool = False
    roles: list[Role] = field(default_factory=list)
    is_admin: bool = False
    is_active: bool = True
    created_at: datetime | None = None


def parse(line: str) -> Account:
    """Raises `Invalid` with what is wrong with the line."""
    given = strict_json.loads(line.encode("utf-8", "surrogatepass"))
    if not isinstance(given, dict):
        raise Invalid("it is no JSON object")
    if unknown := sorted(set(given) - FIELDS):
        raise Invalid(f"there is no field {', '.join(unknown)}; there are: {', '.join(sorted(FIELDS))}")
    names.validate(_text(given, "username"))
    created_at = given.get("created_at")
    return Account(
        username=_text(given, "username"),
        password=encoded(_text(given, "password_hash")),
        email=emails.normalized(_text(given, "email")) if given.get("email") else "",
        email_verified=_flag(given, "email_verified", default=False),
        roles=_roles(given.get("roles", [])),
        is_admin=_flag(given, "is_admin", default=False),
        is_active=_flag(given, "is_active", default=True),
        created_at=None if created_at is None else _moment(created_at),
    )


def encoded(hashed: str) -> str:
    """The hash in Django's form. Known are Argon2 and PBKDF2-SHA256 as PHC strings, and the former in base64 as
    backup-repository keeps it. Raises `Invalid`, for what would cost too much to verify, too.
    """
    text = hashed.strip()
    if not text.startswith("$"):
        text = _unwrapped(text)
    argon2 = ARGON2.fullmatch(re.sub(r"=+(?=\$|$)", "", text))
    if argon2:
        memory, passes, lanes = map(int, argon2.groups())
        if memory > MOST_MEMORY or passes > MOST_PASSES or lanes > MOST_LANES:
            raise Invalid("password_hash: to verify it would take too much memory or time")
        return "argon2" + argon2[0]
    pbkdf2 = PBKDF2PHCHasher.pattern.fullmatch(text[1:])
    if pbkdf2:
        if int(pbkdf2[1]) > MOST_ITERATIONS:
            raise Invalid("password_hash: to verify it would take too much time")
        return text[1:]
    raise Invalid("password_hash: it is no Argon2 and no PBKDF2-SHA256 hash as a PHC string")


def read(lines: Iterable[str]) -> Iterable[Account]:
    """The accounts of a file, one after another; raises `Invalid` and names the line."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield parse(line)
        except RegistryError as error:
            raise Invalid(f"Line {number}: {error.message}.") from error


def save(accounts: Iterable[Account]) -> int:
    """Open them all, or none; gives how many. Raises `Conflict` for a name or an address that is taken."""
    count = 0
    with transaction.atomic():
        for account in accounts:
            _open(account)
            count += 1
    return count


def _open(account: Account) -> None:
    joined = account.created_at or timezone.now()
    try:
        with transaction.atomic():
            user = User.objects.open(
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
        raise Conflict(f"{account.username}: the name or the e-mail address is taken") from error
    for role in account.roles:
        roles.grant(user, role, actor=None)
    audit.record(None, "user.import", str(user), admin=user.is_superuser)


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
    return [roles.role_of(name) for name in value]


def _moment(value: Any) -> datetime:
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or timezone.is_naive(moment):
        raise Invalid("created_at: a time such as 2026-01-31T12:00:00Z is needed")
    return moment


def _unwrapped(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return text
