"""A checker of index files: none may be older than what was acknowledged before the request for it began.

Writers publish, yank and unyank, each in a crate of its own, and note when each change began and was acknowledged.
Readers note when they began and ended, and what they saw. All clocks are the monotonic one of this machine.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from random import Random

from crates.names import index_path
from tests.support import packing
from tests.support.servers import Server

SETTINGS = {"REGISTRY_PUBLISH_LIMIT_PER_10_SECONDS": "0", "REGISTRY_CRATE_CHANGES_PER_MINUTE": "0"}
RETRY_SECONDS = 0.1

State = tuple[int, bool]  # how many versions an index file has, and whether the first is yanked


@dataclass
class Change:
    """A change from `begun` on, at the latest since `acknowledged`."""

    state: State
    begun: float
    acknowledged: float = float("inf")


@dataclass(frozen=True)
class Read:
    crate: int
    begun: float
    ended: float
    state: State
    status: int


@dataclass
class Checker:
    """Writers and readers of the nodes of one registry, and what they have seen."""

    nodes: Sequence[Server]
    token: str
    writers: int = 2
    readers: int = 3
    changes: list[list[Change]] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    kills: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self, seconds: float, seconds_between_kills: float) -> None:
        """Write and read for some time, and kill a worker of any node now and then."""
        self.changes = [[] for _ in range(self.writers)]
        self.is_over = threading.Event()
        for crate in range(self.writers):
            self.change(crate, Random(crate))  # so that there is something to read
        threads = [threading.Thread(target=self.write, args=[crate]) for crate in range(self.writers)]
        threads += [threading.Thread(target=self.read, args=[number]) for number in range(self.readers)]
        for thread in threads:
            thread.start()
        random, end = Random(0), time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(seconds_between_kills, max(end - time.monotonic(), 0)))
            if workers := random.choice(self.nodes).workers():
                os.kill(random.choice(workers), signal.SIGKILL)
                self.kills += 1
        self.is_over.set()
        for thread in threads:
            thread.join()

    def violations(self) -> list[str]:
        """Return the reads that saw a state older than the last acknowledged one, or one that never was."""
        wrong = list(self.failures)
        for read in self.reads:
            changes = self.changes[read.crate]
            oldest = max((n for n, change in enumerate(changes) if change.acknowledged < read.begun), default=0)
            allowed = [change.state for change in changes[oldest:] if change.begun < read.ended]
            if read.state not in allowed:
                wrong.append(f"{read.status} of crate {read.crate} at {read.begun:.4f}: {read.state}, not {allowed}")
        return wrong

    def summary(self) -> str:
        writes, unchanged = sum(map(len, self.changes)), sum(read.status == 304 for read in self.reads)
        return (
            f"{len(self.reads)} reads ({unchanged} answered by 304), {writes} writes, {self.kills} kills, "
            f"{len(self.violations())} violations"
        )

    def write(self, crate: int) -> None:
        random = Random(crate)
        while not self.is_over.is_set():
            self.change(crate, random)

    def change(self, crate: int, random: Random) -> None:
        """Make one change, and repeat it until it is acknowledged: a killed worker may have made it, or not."""
        changes = self.changes[crate]
        versions, is_yanked = changes[-1].state if changes else (0, False)
        if not versions or random.random() < 0.3:
            change = Change((versions + 1, is_yanked), time.monotonic())
            name, number = crate_name(crate), f"1.0.{versions}"
            body = packing.frame(packing.metadata(name, number), packing.crate(name, number))
            request = ("PUT", "/api/v1/crates/new", body)
        else:
            change = Change((versions, not is_yanked), time.monotonic())
            method, action = ("PUT", "unyank") if is_yanked else ("DELETE", "yank")
            request = (method, f"/api/v1/crates/{crate_name(crate)}/1.0.0/{action}", b"")
        changes.append(change)
        while True:
            status, text = self.send(random.choice(self.nodes), *request)
            if status == 200 or "already" in text:
                change.acknowledged = time.monotonic()
                return
            if status not in (0, 503):
                self.failures.append(f"a write got {status}: {text}")
                return
            time.sleep(RETRY_SECONDS)

    def send(self, node: Server, method: str, path: str, body: bytes) -> tuple[int, str]:
        """Return the status and the body of an answer; 0 if the connection broke."""
        connection = HTTPConnection("127.0.0.1", node.port, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": self.token})
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, HTTPException):
            return 0, ""
        finally:
            connection.close()

    def read(self, number: int) -> None:
        """Read on a connection that is kept alive, as long as no worker is killed."""
        random, states = Random(f"reader {number}"), dict[str, State]()
        while not self.is_over.is_set():
            connection = HTTPConnection("127.0.0.1", random.choice(self.nodes).port, timeout=60)
            with suppress(OSError, HTTPException):
                for _ in range(200):
                    self.read_once(connection, random.randrange(self.writers), random, states)
                    if self.is_over.is_set():
                        break
            connection.close()

    def read_once(self, connection: HTTPConnection, crate: int, random: Random, states: dict[str, State]) -> None:
        tags = [tag for tag in list(states)[-3:] if tag.startswith(f"{crate} ")]
        headers = {"If-None-Match": random.choice(tags).partition(" ")[2]} if tags and random.random() < 0.5 else {}
        begun = time.monotonic()
        connection.request("GET", f"/index/{index_path(crate_name(crate))}", headers=headers)
        response = connection.getresponse()
        body, ended = response.read(), time.monotonic()
        key = f"{crate} {response.headers['ETag']}"
        if response.status == 200:
            lines = body.splitlines()
            states[key] = (len(lines), bool(json.loads(lines[0])["yanked"]))
        elif response.status != 304 or key not in states:
            self.failures.append(f"a read got {response.status}")
            return
        self.reads.append(Read(crate, begun, ended, states[key], response.status))


def crate_name(crate: int) -> str:
    return f"checked{crate}"
