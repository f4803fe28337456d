"""Requests that are sent at the same time to a running server."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from threading import Barrier
from typing import Any, TypeVar

from tests.support.servers import Server

T = TypeVar("T")


@dataclass(frozen=True)
class Response:
    status: int
    body: dict[str, Any]

    @property
    def token(self) -> str:
        return str(self.body["token"])


def send_json(server: Server, method: str, path: str, body: Any = None, token: str = "") -> Response:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return Response(answer.status, json.loads(answer.read()))
    finally:
        connection.close()


def post_to_ktra(server: Server, action: str, name: str, **body: str) -> Response:
    return send_json(server, "POST", f"/ktra/api/v1/{action}/{name}", body)


def run_concurrently(racers: Sequence[Callable[[], T]]) -> list[T]:
    """Call all racers at the same moment, each in a thread, and return their results."""
    barrier = Barrier(len(racers))

    def race(racer: Callable[[], T]) -> T:
        barrier.wait()
        return racer()

    with ThreadPoolExecutor(len(racers)) as pool:
        return list(pool.map(race, racers))


def count_statuses(answers: list[Response]) -> dict[int, int]:
    return dict(Counter(answer.status for answer in answers))
