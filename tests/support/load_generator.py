"""A load generator: many clients of a mirror with a faulty upstream, each of which checks its responses."""

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from random import Random

from crates.names import index_path
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.mirror_store import query
from tests.support.servers import Server

SETTINGS = {"REGISTRY_MIRROR_TIMEOUT": "1", "REGISTRY_MIRROR_INDEX_TTL": "1", "REGISTRY_WORKERS": "2"}
# For any response: index file, config.json and crate have a second each, and may wait for a slot.
MAX_SECONDS = 10
FAULT_MEMORY_SECONDS = 1.5  # after which these settings let the mirror forget any fault
REFUSALS = (404, 502, 503)


@dataclass(frozen=True)
class Outcome:
    """The result of one request; `wrong` says why it is not allowed, or is empty."""

    kind: str
    result: str
    seconds: float
    wrong: str = ""


@dataclass(frozen=True)
class Reply:
    """A response; `status` is 0 when the connection broke."""

    status: int
    headers: HTTPMessage
    body: bytes
    started: float
    seconds: float


class LoadGenerator:
    """Clients of a running mirror. A seed decides what they request."""

    def __init__(self, server: Server, upstream: FaultyUpstream, seed: int) -> None:
        self.server, self.upstream, self.seed = server, upstream, seed
        self.names = list(upstream.editions)
        self.tags: dict[tuple[str, str], bytes] = {}  # the index file by crate and ETag
        self.newest = dict.fromkeys(self.names, 0)  # the newest edition of each crate that any client got
        self.kills: list[float] = []
        self.lock = threading.Lock()

    def request_at_random(self, requests: int, *, clients: int, kills: int) -> list[Outcome]:
        """Send so many random requests; meanwhile publish upstream, and kill so many workers."""
        kill_at = {requests * (kill + 1) // (kills + 1) for kill in range(kills)}

        def run(number: int) -> Outcome:
            random = Random(f"{self.seed} {number}")
            if number % 20 == 0:
                self.upstream.publish_next(random.choice(self.names), random)
            if number in kill_at:
                self._kill()
            return self._request_any(random)

        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(run, range(requests)))

    def request_everything(self, *, clients: int) -> list[str]:
        """End the faults of upstream, request everything, and return what is not served in its newest edition."""
        self.upstream.share = 0
        time.sleep(FAULT_MEMORY_SECONDS)
        with ThreadPoolExecutor(clients) as pool:
            outcomes = [*pool.map(self._request_index, self.names)]
            outcomes += pool.map(lambda key: self._request_crate(*key), list(self.upstream.files))
        outdated = [name for name in self.names if self.newest[name] + 1 != len(self.upstream.editions[name])]
        return [str(outcome) for outcome in outcomes if outcome.wrong or outcome.result != "200"] + outdated

    def find_unknown_rows(self) -> list[str]:
        """Return the rows of the mirror's database whose content upstream never had."""
        index_files = query(self.server, "SELECT name, body FROM mirror_cachedindexfile WHERE status = 200")
        crates = query(self.server, "SELECT name, version, size FROM mirror_cachedcrate")
        return [name for name, body in index_files if bytes(body) not in self.upstream.editions.get(name, [])] + [
            f"{name}@{version}"
            for name, version, size in crates
            if len(self.upstream.files.get((name, version), b"")) != size
        ]

    def _request_any(self, random: Random) -> Outcome:
        name, version = random.choice(list(self.upstream.files))
        kind = random.random()
        if kind < 0.35:
            return self._request_index(name)
        if kind < 0.5:
            tags = [tag for owner, tag in list(self.tags) if owner == name]
            return self._request_index(name, random.choice(tags or [""]))
        if kind < 0.53:
            return self._request_index(f"nobody{random.randrange(100)}")
        if kind < 0.8:
            return self._request_crate(name, version)
        size = len(self.upstream.files[name, version])
        if kind < 0.92:
            start = random.randrange(size)
            return self._request_crate(name, version, start, random.randint(start, size - 1))
        return self._abort_crate(name, version, random.choice([0, size // 2]))

    def _request_index(self, name: str, tag: str = "") -> Outcome:
        before, kind = self.newest.get(name, 0), "index file, If-None-Match" if tag else "index file"
        reply = self._get(f"/mirror/index/{index_path(name)}", {"If-None-Match": tag} if tag else {})
        if reply.status not in (200, 304):
            return self._check_refusal(kind, reply)
        etag = reply.headers.get("ETag", "")
        body = self.tags.get((name, etag), b"") if reply.status == 304 else reply.body
        editions = self.upstream.editions.get(name, [])
        wrong = ""
        if body not in editions:
            wrong = f"{name}: no index file that ever was: {body[-60:]!r}"
        elif editions.index(body) < before:
            wrong = f"{name}: an older index file than before"
        elif self.tags.setdefault((name, etag), body) != body or (reply.status == 304 and etag != tag):
            wrong = f"{name}: the tag of another index file"
        else:
            with self.lock:
                self.newest[name] = max(self.newest[name], editions.index(body))
        return self._check_time(kind, reply, wrong)

    def _request_crate(self, name: str, version: str, start: int = 0, end: int | None = None) -> Outcome:
        """Request a crate, or its bytes from `start` to `end`."""
        good, is_part = self.upstream.files[name, version], end is not None
        kind = "crate, Range" if is_part else "crate"
        reply = self._get(_download_path(name, version), {"Range": f"bytes={start}-{end}"} if is_part else {})
        if reply.status not in (200, 206):
            return self._check_refusal(kind, reply)
        expected = (206, good[start : end + 1]) if end is not None else (200, good)
        wrong = "" if (reply.status, reply.body) == expected else f"{name}@{version}: other bytes"
        return self._check_time(kind, reply, wrong)

    def _abort_crate(self, name: str, version: str, size: int) -> Outcome:
        kind, good = "crate, broken off", self.upstream.files[name, version]
        reply = self._get(_download_path(name, version), max_bytes=size)
        if reply.status != 200:
            return self._check_refusal(kind, reply)
        return self._check_time(kind, reply, "" if good.startswith(reply.body) else f"{name}@{version}: other bytes")

    def _check_refusal(self, kind: str, reply: Reply) -> Outcome:
        if reply.status == 0:
            # A busy machine takes its time to close the connections of a killed worker.
            is_killed = any(reply.started - 5 < kill < reply.started + reply.seconds for kill in list(self.kills))
            return Outcome(kind, "lost by a kill", reply.seconds, "" if is_killed else "no answer")
        wrong = (
            ""
            if reply.status in REFUSALS and _is_cargo_error(reply.body)
            else f"no clear refusal: {reply.body[:100]!r}"
        )
        return self._check_time(kind, reply, wrong)

    def _check_time(self, kind: str, reply: Reply, wrong: str) -> Outcome:
        late = "" if reply.seconds < MAX_SECONDS else "too late"
        return Outcome(kind, str(reply.status), reply.seconds, wrong or late)

    def _get(self, path: str, headers: Mapping[str, str] | None = None, max_bytes: int | None = None) -> Reply:
        """Return the response, or only its first bytes: then the client closes the connection."""
        started = time.monotonic()
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=3 * MAX_SECONDS)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            response = connection.getresponse()
            body = response.read(max_bytes if response.status == 200 else None)
            return Reply(response.status, response.headers, body, started, time.monotonic() - started)
        except (OSError, HTTPException):
            return Reply(0, HTTPMessage(), b"", started, time.monotonic() - started)
        finally:
            connection.close()

    def _kill(self) -> None:
        """Kill a worker, as the system does when memory runs out; its master starts another."""
        worker = self.server.workers()[0]
        self.kills.append(time.monotonic())  # before it: clients notice at once
        os.kill(worker, signal.SIGKILL)


def _download_path(name: str, version: str) -> str:
    return f"/ktra/api/v1/mirror/{name}/{version}/download"


def _is_cargo_error(body: bytes) -> bool:
    """Return whether a body is one error with a sentence that cargo can print."""
    try:
        (error,) = json.loads(body)["errors"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(error["detail"], str) and bool(error["detail"])
