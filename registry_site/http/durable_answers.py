"""Answers that acknowledge something wait until what they rely on is durable; see `registry_site.sqlite.log_sync`."""

from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, connections
from django.http import HttpRequest, HttpResponseBase

from registry_site.http.caching import SAFE_METHODS
from registry_site.sqlite.base import DatabaseWrapper


def wait_for_what_was_read(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware for requests that may find done what they ask for, by a commit that is not durable yet.

    PostgreSQL shows no commit before it is durable. On SQLite a request that has committed something has waited then.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        database = connections[DEFAULT_DB_ALIAS]
        if not isinstance(database, DatabaseWrapper) or request.method in SAFE_METHODS:
            return get_response(request)
        before = database.sync_count
        response = get_response(request)
        if response.status_code < 400 and database.sync_count == before and not database.in_atomic_block:
            database.sync_log()
        return response

    return middleware
