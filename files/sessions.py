"""Sessions: what a client has from its answer to a challenge until an end that nothing moves."""

import secrets
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from files.models import Client, Session
from registry_site.encoding import token_digest
from registry_site.errors import Invalid, Unauthenticated
from registry_site.http import client_address

MOST_PER_CLIENT = 100  # live at the same time; the oldest make room
NOT_FOUND = "No session found"
TIMED_OUT = "Session timedout"


def clamped(seconds: int | None) -> int:
    """How long a session lasts for which so many seconds are asked; raises `Invalid`."""
    if seconds is not None and seconds < 1:
        raise Invalid("Invalid duration")
    return min(settings.FILE_SESSION_SECONDS if seconds is None else seconds, settings.MAX_FILE_SESSION_SECONDS)


def open_for(client: Client, seconds: int) -> str:
    """Inside a transaction that holds the client: a new session → its token, of 32 hexadecimal digits."""
    token, now = secrets.token_hex(16), timezone.now()
    expires_at = now + timedelta(seconds=seconds)
    Session.objects.create(
        client=client,
        digest=token_digest(token),
        peer=client_address.client_ip(),
        created_at=now,
        expires_at=expires_at,
    )
    live = Session.objects.live().filter(client=client)
    oldest = live.order_by("-created_at", "-pk").values("pk")[MOST_PER_CLIENT:]
    Session.objects.filter(pk__in=list(oldest.values_list("pk", flat=True))).update(ended_at=now)
    return token


def authenticate(token: str, client_name: str | None = None) -> Session:
    """The session of a token, and of that client if one is named; raises `Unauthenticated`."""
    session = Session.objects.filter(digest=token_digest(token)).select_related("client").first()
    if session is None or client_name not in (None, session.client.name):
        raise Unauthenticated(NOT_FOUND)
    if not session.is_live:
        ended = session.ended_at is not None or not session.client.is_active
        raise Unauthenticated(NOT_FOUND if ended else TIMED_OUT)
    return session


def again(session: Session) -> None:
    """Read a session and its client once more; raises `Unauthenticated` when it has ended meanwhile."""
    found = Session.objects.live().filter(pk=session.pk).select_related("client").first()
    if found is None:
        raise Unauthenticated(NOT_FOUND)
    session.client = found.client


def end_all(client: Client) -> int:
    """Inside a transaction that holds the client: how many were live."""
    return Session.objects.live().filter(client=client).update(ended_at=timezone.now())


def end(session: Session) -> bool:
    """False when it had ended before."""
    return bool(Session.objects.filter(pk=session.pk, ended_at=None).update(ended_at=timezone.now()))
