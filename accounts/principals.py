"""The one choke point: whoever wants something passes here, on every request, at every door."""

from dataclasses import dataclass

from accounts.models import Credential, User
from registry_site.errors import Denied, Unauthenticated

NOT_GOOD = "The token is not valid: it is unknown, expired, revoked or of an account that is closed."


@dataclass(frozen=True)
class Principal:
    """A user and how they proved it; without a credential it is staff in the admin."""

    user: User
    credential: Credential | None = None

    def require(self, scope: str) -> None:
        """Raises `Denied` unless the credential allows `scope`."""
        if self.credential is not None and scope not in self.credential.scopes.split():
            raise Denied(f"This token does not allow to {scope}; it allows: {self.credential.scopes or 'nothing'}.")

    def hold(self) -> None:
        """Inside a transaction: look again, and keep bans and revocations out until its end.

        An upload can take minutes. What is acknowledged was allowed at the moment of its commit.
        Raises `Unauthenticated`.
        """
        held = User.objects.select_for_update(no_key=True).filter(pk=self.user.pk).first()
        if self.credential is not None:
            principal_of(self.credential.digest)
            return
        proven = held is not None and held.password == self.user.password
        if not proven or not User.objects.in_good_standing().filter(pk=self.user.pk).exists():
            raise Unauthenticated("The account is closed or banned, or its password has changed meanwhile.")


def principal_of(digest: str) -> Principal:
    """Who holds the credential with this SHA-256; raises `Unauthenticated` unless it and its user are good now."""
    good = Credential.objects.select_related("user").filter(digest=digest, user__in=User.objects.in_good_standing())
    credential = good.first()
    if credential is None or not credential.is_live:
        raise Unauthenticated(NOT_GOOD)
    return Principal(credential.user, credential)
