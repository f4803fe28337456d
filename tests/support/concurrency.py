"""Requests sent at the same time to a running server."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from threading import Barrier
from typing import Any, TypeVar

from django.db import connection, transaction

from tests.support.servers import Server

T = TypeVar("T")


@dataclass(frozen=True)
class Response:
    status: int
    body: Any
    cookies: SimpleCookie = field(default_factory=SimpleCookie)

    @property
    def token(self) -> str:
        return str(self.body["token"])


def send_json(
    server: Server,
    method: str,
    path: str,
    body: Any = None,
    token: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send a request with `token` in `Authorization`, if there is one, and with `headers`."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    authorization = {"Authorization": token} if token else {}
    content = None if body is None else json.dumps(body)
    try:
        connection.request(
            method, path, content, {"Content-Type": "application/json", **authorization, **(headers or {})}
        )
        response = connection.getresponse()
        cookies = SimpleCookie("; ".join(response.headers.get_all("Set-Cookie", [])))
        return Response(response.status, json.loads(response.read()), cookies)
    finally:
        connection.close()


def post_to_ktra(server: Server, action: str, name: str, **body: str) -> Response:
    return send_json(server, "POST", f"/ktra/api/v1/{action}/{name}", body)


def run_concurrently(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Call all of them at the same moment, each in a thread, and return their results."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def call_during(
    change: Callable[[], object], verb: Callable[[], object], further: Callable[[], object] = lambda: None
) -> BaseException | None:
    """Call `verb` in another connection of PostgreSQL before `change` is committed, and return what it raises.

    Once `verb` has an end or waits for a lock, `further` is called in the transaction of `change`, and the commit
    follows.
    """

    def call() -> None:
        try:
            verb()
        finally:
            connection.close()

    def is_waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # or a transaction sees the same again and again
            cursor.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return cursor.fetchone() is not None

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            change()
            future = pool.submit(call)
            wait_until(lambda: future.done() or is_waiting())
            further()
        return future.exception()


def count_statuses(responses: list[Response]) -> dict[int, int]:
    return dict(Counter(response.status for response in responses))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does; fail after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "It has not happened within a minute."
        time.sleep(0.02)
