"""How DRF views learn which client asks: `request.user` is the client, `request.auth` its session."""

from collections.abc import Mapping
from typing import Any, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from files import sessions
from files.actors import Actor
from files.models import Client, Session
from registry_site.errors import Malformed, Unauthenticated
from registry_site.http.parsers import MAXIMUM_BODY, form

IN_LARGE_BODY = f"{sessions.NOT_FOUND}: so large a body comes with session_token in the query or a header."


def parameters(request: Request) -> dict[str, Any]:
    """Those of the query and of the body, whichever way it is encoded; what is in both is taken from the body."""
    if not isinstance(request.data, Mapping):
        raise Malformed("The body must be a form or a JSON object.")
    body = request.data.dict() if hasattr(request.data, "dict") else request.data
    return {**query(request), **body}


def query(request: Request) -> dict[str, str]:
    return form(request.META.get("QUERY_STRING", "").encode("latin-1"))


class SessionToken(BaseAuthentication):
    """`session_token` in the query or the body, or `Authorization: Bearer …`, which no log of a proxy shows."""

    def authenticate(self, request: Request) -> tuple[Client, Session] | None:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        is_large = int(request.META.get("CONTENT_LENGTH") or 0) > MAXIMUM_BODY
        given = query(request) if is_large else parameters(request)
        token = bearer.strip() if scheme.lower() == "bearer" else given.get("session_token")
        if not token and is_large:  # nobody unknown makes us read so much
            raise Unauthenticated(IN_LARGE_BODY)
        if not token:
            return None
        session = sessions.authenticate(str(token), given.get("client_name"))
        return session.client, session

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="files"'


class WithSession(BasePermission):
    """Whoever has a session; what its client may do is decided by the verb that is called."""

    def is_open(self, method: str) -> bool:
        return False

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.auth is None:
            raise Unauthenticated(sessions.NOT_FOUND)
        return True


class Anyone(BasePermission):
    """How one gets a session."""

    def is_open(self, method: str) -> bool:
        return True


def actor(request: Request) -> Actor:
    """Who asks, in a view that only clients with a session reach."""
    return Actor.of(cast(Session, request.auth))
