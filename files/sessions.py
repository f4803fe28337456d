"""Sessions of clients: opened by the answer to a challenge, with a fixed end."""

import secrets
from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from files import activity
from files.models import Client, Session
from registry_site.compiled_queries import compiled
from registry_site.encoding import token_digest
from registry_site.errors import Invalid, Unauthenticated
from registry_site.http import client_address

MAX_PER_CLIENT = 100  # live sessions; a new one ends the oldest
NOT_FOUND = "No session found"
TIMED_OUT = "Session timedout"


def limited_duration(seconds: int | None) -> int:
    """Return the duration of a session in seconds, for the requested one; raise `Invalid` if it is not positive."""
    if seconds is not None and seconds < 1:
        raise Invalid("Invalid duration")
    return min(settings.FILE_SESSION_SECONDS if seconds is None else seconds, settings.MAX_FILE_SESSION_SECONDS)


def create_session(client: Client, seconds: int) -> str:
    """Open a session, and return its token of 32 hexadecimal digits; call with the row of the client locked."""
    token, now = secrets.token_hex(16), timezone.now()
    expires_at = now + timedelta(seconds=seconds)
    Session.objects.create(
        client=client,
        digest=token_digest(token),
        peer=client_address.client_ip(),
        created_at=now,
        expires_at=expires_at,
    )
    newest_first = Session.objects.live().filter(client=client).order_by("-created_at", "-pk")
    # A list of ids, because Django cannot update a slice.
    surplus = list(newest_first.values_list("pk", flat=True)[MAX_PER_CLIENT:])
    Session.objects.filter(pk__in=surplus).end()
    return token


def authenticate(token: str, client_name: str | None = None) -> Session:
    """Return the live session of a token; raise `Unauthenticated` without one, or if it is not of `client_name`."""
    session = next(iter(sessions_of(token_digest(token))), None)
    if session is None or client_name not in (None, session.client.name):
        raise Unauthenticated(NOT_FOUND)
    if not session.is_live:
        was_ended = session.ended_at is not None or not session.client.is_active
        raise Unauthenticated(NOT_FOUND if was_ended else TIMED_OUT)
    activity.last_uses.record(session.client)
    return session


@compiled
def sessions_of(digest: str) -> QuerySet[Session]:
    return Session.objects.filter(digest=digest).select_related("client").order_by()


def refresh(session: Session) -> None:
    """Read a session's client from the database again; raise `Unauthenticated` if the session has ended."""
    current = Session.objects.live().filter(pk=session.pk).select_related("client").first()
    if current is None:
        raise Unauthenticated(NOT_FOUND)
    session.client = current.client
