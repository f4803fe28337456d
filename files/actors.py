"""Who changes a file: a client by its session, a member of staff, a command."""

from dataclasses import dataclass

from files import sessions
from files.models import Client, Rights, Session
from registry_site.errors import PermissionDenied


@dataclass(frozen=True)
class Actor:
    """`session` only of a client: others may do everything."""

    name: str
    session: Session | None = None

    @classmethod
    def of(cls, session: Session) -> "Actor":
        return cls(session.client.name, session)

    def roots(self) -> list[str] | None:
        """The directories from which it may register files; None for all."""
        return self.session.client.roots.split("\n") if self.session and self.session.client.roots else None

    def require_write(self) -> None:
        """Raises `PermissionDenied`."""
        if self.session and self.session.client.rights != Rights.WRITE:
            raise PermissionDenied(f"The client {self.session.client} may only read.")

    def revalidate_and_lock(self) -> None:
        """Inside a transaction: its session, client and rights are looked at again, and stay so until the end.

        Raises `Unauthenticated` and `PermissionDenied`.
        """
        if self.session is None:
            return
        Client.objects.select_for_update(no_key=True).get(pk=self.session.client_id)
        sessions.again(self.session)
        self.require_write()
