"""Many clients of a mirror whose upstream is faulty: what each was given, and whether it is right."""

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from pathlib import Path
from random import Random

from crates.names import index_path
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.mirror_store import rows
from tests.support.servers import Server

SETTINGS = {"REGISTRY_MIRROR_TIMEOUT": "1", "REGISTRY_MIRROR_INDEX_TTL": "1", "REGISTRY_WORKERS": "2"}
LONGEST = 10  # seconds for any answer: an index file, config.json and a crate have a second each, and may wait in line
FORGOTTEN = 1.5  # seconds after which these settings let nobody remember a fault
REFUSALS = (404, 502, 503)


@dataclass(frozen=True)
class Outcome:
    """What one request came to; `wrong` says why it must not be so."""

    kind: str
    result: str
    seconds: float
    wrong: str = ""


@dataclass(frozen=True)
class Reply:
    """`status` is 0 when the connection broke."""

    status: int
    headers: HTTPMessage
    body: bytes
    began: float
    seconds: float


class Crowd:
    """Clients of a running mirror; what they ask for, a seed decides."""

    def __init__(self, server: Server, upstream: FaultyUpstream, seed: int) -> None:
        self.server, self.upstream, self.seed = server, upstream, seed
        self.names = list(upstream.editions)
        self.tags: dict[tuple[str, str], bytes] = {}  # the index file that goes by a tag
        self.newest = dict.fromkeys(self.names, 0)  # edition of each that anybody was given
        self.kills: list[float] = []
        self.lock = threading.Lock()

    def ask(self, requests: int, *, clients: int, kills: int) -> list[Outcome]:
        """So many at random; meanwhile upstream publishes, and so often a worker is killed."""
        deadly = {requests * (kill + 1) // (kills + 1) for kill in range(kills)}

        def one(number: int) -> Outcome:
            dice = Random(f"{self.seed} {number}")
            if number % 20 == 0:
                self.upstream.publish_next(dice.choice(self.names), dice)
            if number in deadly:
                self._kill()
            return self._any(dice)

        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(one, range(requests)))

    def ask_for_all(self, *, clients: int) -> list[str]:
        """What is wrong once upstream is well again: everything must be there, and the newest of it."""
        self.upstream.share = 0
        time.sleep(FORGOTTEN)
        with ThreadPoolExecutor(clients) as pool:
            outcomes = [*pool.map(self._index, self.names)]
            outcomes += pool.map(lambda key: self._crate(*key), list(self.upstream.files))
        old = [name for name in self.names if self.newest[name] + 1 != len(self.upstream.editions[name])]
        return [str(outcome) for outcome in outcomes if outcome.wrong or outcome.result != "200"] + old

    def strange(self) -> list[str]:
        """What the mirror's database has that upstream never had."""
        entries = rows(self.server, "SELECT name, body FROM mirror_cachedindexfile WHERE status = 200")
        archives = rows(self.server, "SELECT name, version, size FROM mirror_cachedcrate")
        return [name for name, body in entries if bytes(body) not in self.upstream.editions.get(name, [])] + [
            f"{name}@{version}"
            for name, version, size in archives
            if len(self.upstream.files.get((name, version), b"")) != size
        ]

    def _any(self, dice: Random) -> Outcome:
        name, version = dice.choice(list(self.upstream.files))
        kind = dice.random()
        if kind < 0.35:
            return self._index(name)
        if kind < 0.5:
            return self._index(name, dice.choice([tag for known, tag in list(self.tags) if known == name] or [""]))
        if kind < 0.53:
            return self._index(f"nobody{dice.randrange(100)}")
        if kind < 0.8:
            return self._crate(name, version)
        size = len(self.upstream.files[name, version])
        if kind < 0.92:
            start = dice.randrange(size)
            return self._crate(name, version, start, dice.randint(start, size - 1))
        return self._broken_off(name, version, dice.choice([0, size // 2]))

    def _index(self, name: str, tag: str = "") -> Outcome:
        before, kind = self.newest.get(name, 0), "index file, If-None-Match" if tag else "index file"
        reply = self._get(f"/mirror/index/{index_path(name)}", {"If-None-Match": tag} if tag else {})
        if reply.status not in (200, 304):
            return self._refused(kind, reply)
        found = reply.headers.get("ETag", "")
        body = self.tags.get((name, found), b"") if reply.status == 304 else reply.body
        editions = self.upstream.editions.get(name, [])
        wrong = ""
        if body not in editions:
            wrong = f"{name}: no index file that ever was: {body[-60:]!r}"
        elif editions.index(body) < before:
            wrong = f"{name}: an older index file than before"
        elif self.tags.setdefault((name, found), body) != body or (reply.status == 304 and found != tag):
            wrong = f"{name}: the tag of another index file"
        else:
            with self.lock:
                self.newest[name] = max(self.newest[name], editions.index(body))
        return self._timely(kind, reply, wrong)

    def _crate(self, name: str, version: str, start: int = 0, end: int | None = None) -> Outcome:
        """All of it, or its bytes from `start` to `end`."""
        good, part = self.upstream.files[name, version], end is not None
        kind = "crate, Range" if part else "crate"
        reply = self._get(_place(name, version), {"Range": f"bytes={start}-{end}"} if part else {})
        if reply.status not in (200, 206):
            return self._refused(kind, reply)
        expected = (206, good[start : end + 1]) if end is not None else (200, good)
        wrong = "" if (reply.status, reply.body) == expected else f"{name}@{version}: other bytes"
        return self._timely(kind, reply, wrong)

    def _broken_off(self, name: str, version: str, enough: int) -> Outcome:
        kind, good = "crate, broken off", self.upstream.files[name, version]
        reply = self._get(_place(name, version), enough=enough)
        if reply.status != 200:
            return self._refused(kind, reply)
        return self._timely(kind, reply, "" if good.startswith(reply.body) else f"{name}@{version}: other bytes")

    def _refused(self, kind: str, reply: Reply) -> Outcome:
        if reply.status == 0:
            by_kill = any(reply.began - 1 < kill < reply.began + reply.seconds for kill in list(self.kills))
            return Outcome(kind, "lost by a kill", reply.seconds, "" if by_kill else "no answer")
        wrong = "" if reply.status in REFUSALS and _is_told(reply.body) else f"no clear refusal: {reply.body[:100]!r}"
        return self._timely(kind, reply, wrong)

    def _timely(self, kind: str, reply: Reply, wrong: str) -> Outcome:
        late = "" if reply.seconds < LONGEST else "too late"
        return Outcome(kind, str(reply.status), reply.seconds, wrong or late)

    def _get(self, path: str, headers: Mapping[str, str] | None = None, enough: int | None = None) -> Reply:
        """The answer, or its first bytes, after which the client is gone."""
        began = time.monotonic()
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=3 * LONGEST)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            answer = connection.getresponse()
            body = answer.read(enough if answer.status == 200 else None)
            return Reply(answer.status, answer.headers, body, began, time.monotonic() - began)
        except (OSError, HTTPException):
            return Reply(0, HTTPMessage(), b"", began, time.monotonic() - began)
        finally:
            connection.close()

    def _kill(self) -> None:
        """One of the workers, as the system does when memory runs out; its master starts another."""
        master = self.server.process.pid
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        os.kill(int(workers[0]), signal.SIGKILL)
        self.kills.append(time.monotonic())


def _place(name: str, version: str) -> str:
    return f"/ktra/api/v1/mirror/{name}/{version}/download"


def _is_told(body: bytes) -> bool:
    """As cargo shows it."""
    try:
        (error,) = json.loads(body)["errors"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(error["detail"], str) and bool(error["detail"])
