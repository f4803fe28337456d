"""Recovery codes: each replaces a lost second factor once. Only their digests are stored.

A code has 79 random bits. So its digest needs no salt and no slow hash, like that of a token.
"""

import secrets

from django.db import transaction
from django.db.models import Max

from accounts.models import RecoveryCode, User
from registry_site import audit
from registry_site.encoding import token_digest

COUNT = 10
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # without letters and digits that look alike
LENGTH = 16
GROUP = 4


def make(user: User, *, first: bool = False) -> list[str]:
    """Make new codes, which end the former ones, and return them. The caller has locked the user's row.

    The `first` ones come with the first authenticator.
    """
    codes = [new_code() for _ in range(COUNT)]
    RecoveryCode.objects.filter(user=user).delete()
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, digest=token_digest(bare(code))) for code in codes)
    audit.record(user, audit.Action.SECOND_FACTOR_MAKE_CODES, user, count=COUNT, first=first)
    return codes


def new_code() -> str:
    letters = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(letters[start : start + GROUP] for start in range(0, LENGTH, GROUP))


def bare(code: str) -> str:
    """Return a code as it is hashed: people type it with or without hyphens and blanks, in any case."""
    return "".join(code.split()).replace("-", "").lower()


def use(user: User, code: str) -> bool:
    """Use a bare code up; return whether it was one. Of many requests at once, one alone deletes its row."""
    if len(code) != LENGTH or not set(code) <= set(ALPHABET):
        return False
    with transaction.atomic():
        deleted, _ = RecoveryCode.objects.filter(user=user, digest=token_digest(code)).delete()
        if deleted:
            audit.record(user, audit.Action.SECOND_FACTOR_USE_CODE, user, left=count(user))
    return deleted > 0


def count(user: User) -> int:
    """Return how many codes are left."""
    return user.recovery_codes.count()


def newest_key(user: User) -> int:
    """Return the primary key of the newest code, or 0. The form for new codes carries it."""
    return user.recovery_codes.aggregate(newest=Max("pk"))["newest"] or 0
