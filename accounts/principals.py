"""Principals: authenticated users. Every credential of every dialect is checked here, on each request.

The rows of credentials that were live are kept in memory, and dropped as soon as they change, or those of their user,
or a ban or an identity does. So a ban counts from the next request on; see `registry_site.change_feed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import Credential, User, good_standing
from accounts.scopes import Scope
from registry_site.compiled_queries import compiled
from registry_site.errors import PermissionDenied, Revoked, Unauthenticated
from registry_site.http import client_address
from registry_site.memory_cache import MemoryCache, register

NOT_GOOD = "The token is not valid: it is unknown, expired, revoked or of an account that is closed."

LISTED_PATTERNS = 5  # in a message
MAX_CREDENTIALS = 4096  # in memory, about 10 MB

CREDENTIAL_FIELDS = [field.attname for field in Credential._meta.concrete_fields]
USER_FIELDS = [field.attname for field in User._meta.concrete_fields]


class LiveCredential(NamedTuple):
    """The values of a credential that was live, and of its user, which was in good standing."""

    credential: list[Any]
    user: list[Any]


# The tables on which a live credential depends, by kind of change: also what `good_standing` reads.
CREDENTIAL_TABLES = {
    "credential": ["accounts_credential"],
    "user": ["accounts_ban", "accounts_identity", "accounts_user"],
}
live_credentials = register(MemoryCache[tuple[str, str], LiveCredential](CREDENTIAL_TABLES, MAX_CREDENTIALS))


@dataclass(frozen=True)
class Principal:
    """A user and the credential that proves it. Without a credential it is staff in the admin site, or a command."""

    user: User
    credential: Credential | None = None

    def require(self, scope: Scope, crate: str | None = None) -> None:
        """Raise `PermissionDenied` unless the credential allows `scope`, for the crate of this name if there is one.

        Crate patterns limit changes alone: cargo reads the dependencies of a crate with the same token.
        """
        self.require_any(scope)
        credential = self.credential
        if credential is None or not credential.crate_patterns or scope is Scope.READ:
            return
        # A verb that names no crate could change any of them.
        if crate is None or not credential.covers(crate):
            raise PermissionDenied(
                f"The {credential.title} allows {scope} for {listed(credential.crate_patterns)} alone"
                + (f", and {crate[:80]!r} is not among these." if crate else "."),
                code="crate_not_covered",
            )

    def require_any(self, *scopes: Scope) -> None:
        """Raise `PermissionDenied` unless the credential allows one of `scopes`, for some crate at least."""
        credential = self.credential
        if credential is not None and not any(map(credential.allows, scopes)):
            raise PermissionDenied(
                f"The {credential.title} lacks the scope {' or '.join(scopes)}; "
                f"it has: {' '.join(credential.scopes) or 'none'}.",
                code="scope_missing",
            )

    def revalidate_and_lock(self, *others: User) -> None:
        """Check the principal again, and lock its user row until the transaction ends.

        A ban or a revocation then either waits for the commit or precedes it: an upload can take minutes, and
        each acknowledged change was allowed at the moment of its commit. Locks the rows of `others`, too.
        Raises `Unauthenticated`.
        """
        if self.credential is not None and not others:
            # SQLite has one writer at a time, and no locks of rows.
            if connection.features.has_select_for_update:
                locked_user(self.user.pk)
            principal_of(self.credential.kind, self.credential.digest)
            return
        user = lock_accounts(self.user, *others).get(self.user.pk)
        if self.credential is not None:
            principal_of(self.credential.kind, self.credential.digest)
            return
        # Without a credential, the password that was checked before is the proof: it must be the same still.
        is_proven = user is not None and user.password == self.user.password
        if not is_proven or not User.objects.in_good_standing().filter(pk=self.user.pk).exists():
            raise Unauthenticated("The account is closed or banned, or its password has changed meanwhile.")


@compiled
def locked_user(pk: int) -> QuerySet[User, int]:
    users: QuerySet[User] = User.objects.select_for_update(no_key=True)
    return users.filter(pk=pk).order_by().values_list("pk", flat=True)


def lock_accounts(*users: User) -> dict[int, User]:
    """Lock the rows of users until the transaction ends, and return their present states by their keys."""
    # User rows are locked first, before crates and namespaces, and in order of their keys: no deadlocks.
    keys = {user.pk for user in users}
    locked = User.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk")
    return {user.pk: user for user in locked}


def listed(patterns: Sequence[str]) -> str:
    """Return the first of some crate patterns for a message, and how many more there are."""
    rest = len(patterns) - LISTED_PATTERNS
    return ", ".join(patterns[:LISTED_PATTERNS]) + (f" and {rest} more" if rest > 0 else "")


def principal_of(kind: str, digest: str) -> Principal:
    """Return the principal whose credential has this kind and SHA-256.

    Raises `Revoked` unless the credential is live, and its user in good standing and within the allowed networks.
    """
    # A transaction reads the rows: what it decides holds at its commit, under the locks that it has.
    values = None if connection.in_atomic_block else live_credentials.get((kind, digest))
    if values is None:
        values = _read(kind, digest)
    # Rows of its own for each request, for a request changes them.
    user = User.from_db(DEFAULT_DB_ALIAS, USER_FIELDS, values.user)
    credential = Credential.from_db(
        DEFAULT_DB_ALIAS,
        CREDENTIAL_FIELDS,
        [value.copy() if isinstance(value, list) else value for value in values.credential],
    )
    credential.user = user
    if not user.is_allowed_from(client_address.client_ip()):
        raise Revoked(NOT_GOOD)
    if credential.kind in Credential.SESSION_KINDS:
        user.session = credential
    return Principal(user, credential)


def _read(kind: str, digest: str) -> LiveCredential:
    """Read the rows of a live credential, in one query, and keep them in memory; raises `Revoked`."""
    ticket = live_credentials.ticket()
    row = next(iter(standing_credentials(kind, digest, timezone.now())), None)
    if row is None:
        raise Revoked(NOT_GOOD)
    values = LiveCredential(list(row[: len(CREDENTIAL_FIELDS)]), list(row[len(CREDENTIAL_FIELDS) :]))
    credential = Credential.from_db(DEFAULT_DB_ALIAS, CREDENTIAL_FIELDS, values.credential)
    if not credential.is_live:
        raise Revoked(NOT_GOOD)
    tags = [("credential", digest), ("user", str(credential.user_id))]
    end = credential.expires_at.timestamp() if credential.expires_at else None
    live_credentials.put((kind, digest), values, ticket, tags, good_until=end)
    return values


@compiled
def standing_credentials(kind: str, digest: str, now: datetime) -> QuerySet[Credential, tuple[Any, ...]]:
    # In no order: a digest is unique.
    rows = Credential.objects.filter(good_standing("user__", now), kind=kind, digest=digest).order_by()
    return rows.values_list(*CREDENTIAL_FIELDS, *(f"user__{field}" for field in USER_FIELDS))
