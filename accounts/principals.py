"""The one choke point: whoever wants something passes here, on every request, at every door."""

from dataclasses import dataclass

from accounts.models import Credential, User, good_standing
from registry_site.errors import PermissionDenied, Revoked, Unauthenticated
from registry_site.http import client_address

NOT_GOOD = "The token is not valid: it is unknown, expired, revoked or of an account that is closed."


@dataclass(frozen=True)
class Principal:
    """A user and how they proved it; without a credential it is staff in the admin."""

    user: User
    credential: Credential | None = None

    def require(self, scope: str) -> None:
        """Raises `PermissionDenied` unless the credential allows `scope`."""
        if self.credential is not None and scope not in self.credential.scopes.split():
            raise PermissionDenied(
                f"This {self.credential.get_kind_display()} does not allow to {scope}; "
                f"it allows: {self.credential.scopes or 'nothing'}.",
                code="scope_missing",
            )

    def revalidate_and_lock(self, *others: User) -> None:
        """Inside a transaction: look again, and keep bans and revocations out until its end.

        An upload can take minutes. What is acknowledged was allowed at the moment of its commit. Whatever else is
        held comes in the same order everywhere, so that nobody waits for one another for ever.
        Raises `Unauthenticated`.
        """
        wanted = {self.user.pk, *(user.pk for user in others)}
        users = User.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
        held = {user.pk: user for user in users}.get(self.user.pk)
        if self.credential is not None:
            principal_of(self.credential.kind, self.credential.digest)
            return
        proven = held is not None and held.password == self.user.password
        if not proven or not User.objects.in_good_standing().filter(pk=self.user.pk).exists():
            raise Unauthenticated("The account is closed or banned, or its password has changed meanwhile.")


def principal_of(kind: str, digest: str) -> Principal:
    """Who holds the credential of this kind and SHA-256; raises `Revoked` unless it and its user are good now."""
    found = Credential.objects.select_related("user").filter(good_standing("user__"), kind=kind, digest=digest)
    credential = next(iter(found.order_by()), None)  # a digest is unique
    if credential is None or not credential.is_live or not credential.user.admits(client_address.client_ip()):
        raise Revoked(NOT_GOOD)
    if credential.kind in Credential.SESSIONS:
        credential.user.session = credential
    return Principal(credential.user, credential)
