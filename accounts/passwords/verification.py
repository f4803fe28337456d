"""The check of a password, with the same work for every account and for none: its time tells nothing about the account.

A hash that another system made may take another time than ours, until the first log-in replaces it. So while there are
such hashes, each check computes one of each kind: the account's own, and blank ones of all other kinds.
"""

from functools import lru_cache

from django.contrib.auth.hashers import (
    UNUSABLE_PASSWORD_PREFIX,
    BasePasswordHasher,
    check_password,
    get_hasher,
    is_password_usable,
)
from django.contrib.auth.hashers import verify_password as verify_with_hasher
from django.core.cache import cache

from accounts.models import User

# An import comes from one system or two. More kinds than that would make each check too expensive.
MAX_IMPORTED_KINDS = 2
CACHE_SECONDS = 60  # for which the kinds that were imported are remembered


def verify_password(password: str, encoded: str | None) -> tuple[bool, bool]:
    """Check a password against a hash, or against None for an unknown account → (is it right, is the hash outdated)."""
    kinds = _list_kinds()
    result = False, False
    if encoded and is_password_usable(encoded):
        result = verify_with_hasher(password, encoded)
        kinds = [kind for kind in kinds if _costs(kind) != _costs(encoded)]
    for kind in kinds:
        check_password(password, kind)
    return result


def _list_kinds() -> list[str]:
    """Return a blank hash of each kind in use: of ours, and of those that other systems made."""
    own = _own_kind(get_hasher())
    imported = cache.get_or_set(f"imported-hashes:{own}", lambda: _find_imported_kinds(own), CACHE_SECONDS)
    return [own, *(imported or [])]


@lru_cache
def _own_kind(hasher: BasePasswordHasher) -> str:
    return _blank(hasher.encode("", hasher.salt()))


def _find_imported_kinds(own: str) -> list[str]:
    foreign = User.objects.exclude(password="").exclude(password__startswith=UNUSABLE_PASSWORD_PREFIX)
    kinds = [own]
    while len(kinds) <= MAX_IMPORTED_KINDS:
        foreign = foreign.exclude(password__startswith=_costs(kinds[-1]))
        encoded = foreign.values_list("password", flat=True).order_by().first()
        if encoded is None:
            break
        kinds.append(_blank(encoded))
    return kinds[1:]


def _costs(encoded: str) -> str:
    """Return the part of a hash before the salt: the algorithm and what it costs."""
    return encoded.rsplit("$", 2)[0] + "$"


def _blank(encoded: str) -> str:
    """Return a hash of the same costs without its salt and its digest, which no password has."""
    return _costs(encoded) + "$".join("A" * len(secret) for secret in encoded.rsplit("$", 2)[1:])
