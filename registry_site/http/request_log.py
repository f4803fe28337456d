"""The id of each request, and one line of the log for a request that was refused, slow or crashed."""

import logging
import re
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from secrets import token_hex
from typing import Any

from django.conf import settings
from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject, empty

from registry_site.http import client_address
from registry_site.logs import log_event, request_id
from registry_site.models import AuditEvent
from registry_site.signals import event_recorded

HEADER = "X-Request-ID"
WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{8,64}")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
SLOW_SECONDS = 1.0
MAX_PATH_LENGTH = 300

_notes: ContextVar[dict[str, Any] | None] = ContextVar("notes", default=None)


def annotate(**fields: Any) -> None:
    """Add fields to the line of the current request; with an `event`, the line is written in any case."""
    notes = _notes.get()
    if notes is not None:
        notes |= fields


def annotate_refusal(status: int, code: str, message: str) -> None:
    """Add the code of a refusal to the line of the current request, and the sentence of a failure that is ours.

    A full disk, or a limit on threads that wait, has no other line that says why.
    """
    annotate(code=code, **({"cause": message} if status >= 500 else {}))


class RequestLogMiddleware:
    """Middleware that gives the request its id, answers with it in `X-Request-ID`, and writes the request's line."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        id_token, notes_token = request_id.set(id_of(request)), _notes.set({})
        start = time.monotonic()
        try:
            response = self.get_response(request)
            response[HEADER] = request_id.get()
            log_request(request, response.status_code, time.monotonic() - start)
            return response
        finally:
            _notes.reset(notes_token)
            request_id.reset(id_token)


def id_of(request: HttpRequest) -> str:
    """Return the id from a trusted proxy, or a new one: a client could choose the id of another's request."""
    forwarded = request.headers.get(HEADER, "")
    peer = client_address.parse_address(request.META.get("REMOTE_ADDR", ""))
    is_trusted = peer is not None and client_address.is_within(peer, settings.TRUSTED_PROXIES)
    return forwarded if is_trusted and WELL_FORMED.fullmatch(forwarded) else token_hex(16)


def log_request(request: HttpRequest, status: int, seconds: float) -> None:
    """Write the line of a request, unless all is well."""
    notes = _notes.get() or {}
    event, level = classify(request, status, seconds, notes)
    if event:
        fields = {
            "method": request.method,
            "path": path_of(request),
            "status": status,
            "user": user_of(request),
            "ip": client_address.client_ip(),
            "duration_ms": round(seconds * 1000),
        }
        notes.pop("event", None)
        log_event(event, level, **fields, **notes)


def classify(request: HttpRequest, status: int, seconds: float, notes: dict[str, Any]) -> tuple[str, int]:
    """Return the event and the level of a request's line; an empty event for a line that nobody needs."""
    if "exc_info" in notes:
        return "crash", logging.ERROR
    if "event" in notes:
        return notes["event"], logging.INFO
    if status >= 500:
        return "failed", logging.WARNING
    # Some refusals have the status 200, in the dialect of files.
    if status >= 400 or "code" in notes:
        return "refused", logging.DEBUG if request.method in SAFE_METHODS else logging.INFO
    return ("slow", logging.WARNING) if seconds > SLOW_SECONDS else ("", logging.NOTSET)


def path_of(request: HttpRequest) -> str | None:
    """Return the path without secrets: the token of a link is masked, and an unknown path is not logged at all."""
    match = request.resolver_match
    if match is None:
        return None
    path = request.path
    if "token" in match.kwargs:
        path = path.replace(match.kwargs["token"], "…")
    return path[:MAX_PATH_LENGTH]


def user_of(request: HttpRequest) -> str | None:
    """Return the name of the account or the file client, if the request has been authenticated."""
    user = getattr(request, "user", None)
    if isinstance(user, SimpleLazyObject) and user.__dict__["_wrapped"] is empty:
        return None  # to look it up would cost a query
    return str(user) if getattr(user, "is_authenticated", False) else None


@receiver(got_request_exception)
def log_crash(**kwargs: Any) -> None:
    """Add the exception to the line of the request, or log it at once outside of this middleware."""
    if _notes.get() is None:
        log_event("crash", logging.ERROR, exc_info=sys.exc_info())
    else:
        annotate(exc_info=sys.exc_info())


@receiver(event_recorded)
def log_audit_event(event: AuditEvent, **kwargs: Any) -> None:
    """Log sign-ins, bans, publishes and all other changes, after their commit; those of a command are in no log."""
    if event.request_id:
        log_event(event.action, actor=event.actor_name, target=event.target, ip=event.ip_address)
