"""Actors: a client with its session, a member of staff or a command that changes files."""

from dataclasses import dataclass
from typing import Self

from django.contrib.auth.base_user import AbstractBaseUser

from files import sessions
from files.models import Client, Rights, Session
from registry_site.errors import PermissionDenied


@dataclass(frozen=True)
class Actor:
    """The author of a change. Clients have a `session` and its limits; staff and commands may do everything.

    No client has the `name` of a member of staff, so that none may change what staff have uploaded.
    """

    name: str
    session: Session | None = None
    user: AbstractBaseUser | None = None

    @classmethod
    def from_session(cls, session: Session) -> Self:
        return cls(session.client.name, session)

    @classmethod
    def from_staff(cls, user: AbstractBaseUser) -> Self:
        return cls(f"staff {user.get_username()}", user=user)

    @property
    def author(self) -> AbstractBaseUser | str:
        """Whom the audit log names."""
        return self.user or self.name

    def allowed_roots(self) -> list[str] | None:
        """Return the directories from which the actor may register files; None for all."""
        return self.session.client.roots.split("\n") if self.session and self.session.client.roots else None

    def require_write(self) -> None:
        """Raise `PermissionDenied` for a client that may only read."""
        if self.session and self.session.client.rights != Rights.WRITE:
            raise PermissionDenied(f"The client {self.session.client} may only read.")

    def revalidate_and_lock(self) -> None:
        """Check session, client and rights again, and keep them so until the transaction ends.

        The lock on the client comes before those on files and on the sequence of changes, in every verb.
        Raises `Unauthenticated` and `PermissionDenied`.
        """
        if self.session is None:
            return
        Client.lock_for_update(self.session.client_id)
        sessions.refresh(self.session)
        self.require_write()
