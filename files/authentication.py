"""Authentication of clients in DRF views: `request.user` is the client, `request.auth` its session."""

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
from registry_site.http.parsers import MAX_BODY_BYTES, parse_form

TOKEN_IN_LARGE_BODY = f"{sessions.NOT_FOUND}: so large a body comes with session_token in the query or a header."


def request_parameters(request: Request) -> dict[str, Any]:
    """Return the parameters of query and body, in any encoding; the body wins. Raises `Malformed`."""
    if not isinstance(request.data, Mapping):
        raise Malformed("The body must be a form or a JSON object.")
    body = request.data.dict() if hasattr(request.data, "dict") else request.data
    return {**query_parameters(request), **body}


def query_parameters(request: Request) -> dict[str, str]:
    # WSGI hands the bytes of the query over as Latin-1 (PEP 3333).
    return parse_form(request.META.get("QUERY_STRING", "").encode("latin-1"))


class SessionToken(BaseAuthentication):
    """`session_token` in the query or the body, or `Authorization: Bearer …`, which the logs of proxies leave out."""

    def authenticate(self, request: Request) -> tuple[Client, Session] | None:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        # A large body is an upload. It is parsed only once the client is authenticated: strangers must not fill disks.
        is_large = int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES
        parameters = query_parameters(request) if is_large else request_parameters(request)
        token = bearer.strip() if scheme.lower() == "bearer" else parameters.get("session_token")
        if not token and is_large:
            raise Unauthenticated(TOKEN_IN_LARGE_BODY)
        if not token:
            return None
        session = sessions.authenticate(str(token), parameters.get("client_name"))
        return session.client, session

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="files"'


class HasSession(BasePermission):
    """Clients with a session. The verbs of the catalogue check the client's rights."""

    def is_open(self, method: str) -> bool:
        return False

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.auth is None:
            raise Unauthenticated(sessions.NOT_FOUND)
        return True


class AllowAny(BasePermission):
    """Access for everybody: the handshake, which opens a session."""

    def is_open(self, method: str) -> bool:
        return True


def request_actor(request: Request) -> Actor:
    """Return the client of a request as an actor, in a view with `HasSession`."""
    return Actor.from_session(cast(Session, request.auth))
