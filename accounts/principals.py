"""Principals: authenticated users. Every credential of every dialect is checked here, on each request."""

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.models import Credential, User, good_standing
from accounts.scopes import Scope
from registry_site.errors import PermissionDenied, Revoked, Unauthenticated
from registry_site.http import client_address

NOT_GOOD = "The token is not valid: it is unknown, expired, revoked or of an account that is closed."

LISTED_PATTERNS = 5  # in a message


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
        # User rows are locked first, before crates and namespaces, and in order of their keys: no deadlocks.
        user_ids = {self.user.pk, *(user.pk for user in others)}
        locked = User.objects.select_for_update(no_key=True).filter(pk__in=user_ids).order_by("pk")
        user = {row.pk: row for row in locked}.get(self.user.pk)
        if self.credential is not None:
            principal_of(self.credential.kind, self.credential.digest)
            return
        # Without a credential, the password that was checked before is the proof: it must be the same still.
        is_proven = user is not None and user.password == self.user.password
        if not is_proven or not User.objects.in_good_standing().filter(pk=self.user.pk).exists():
            raise Unauthenticated("The account is closed or banned, or its password has changed meanwhile.")


def listed(patterns: Sequence[str]) -> str:
    """Return the first of some crate patterns for a message, and how many more there are."""
    rest = len(patterns) - LISTED_PATTERNS
    return ", ".join(patterns[:LISTED_PATTERNS]) + (f" and {rest} more" if rest > 0 else "")


def principal_of(kind: str, digest: str) -> Principal:
    """Return the principal whose credential has this kind and SHA-256.

    Raises `Revoked` unless the credential is live, and its user in good standing and within the allowed networks.
    """
    # One query, with no cache: a ban counts from the next request on.
    credentials = Credential.objects.select_related("user").filter(good_standing("user__"), kind=kind, digest=digest)
    credential = next(iter(credentials.order_by()), None)  # a digest is unique, so that the order is a waste
    if credential is None or not credential.is_live:
        raise Revoked(NOT_GOOD)
    if not credential.user.is_allowed_from(client_address.client_ip()):
        raise Revoked(NOT_GOOD)
    if credential.kind in Credential.SESSION_KINDS:
        credential.user.session = credential
    return Principal(credential.user, credential)
