"""A checker of index files and tokens: nothing may count that was ended before a request began.

Writers publish, yank and unyank, each in a crate of its own, and note when each change began and was acknowledged.
Somebody logs in again and again, which ends the token before. Readers, with and without these tokens, note when they
began and ended, and what they saw. All clocks are the monotonic one of this machine.
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
from tests.support.servers import PASSWORD, Server

SETTINGS = {"REGISTRY_PUBLISH_LIMIT_PER_10_SECONDS": "0", "REGISTRY_CRATE_CHANGES_PER_MINUTE": "0"}
RETRY_SECONDS = 0.1
SECONDS_BETWEEN_LOG_INS = 0.1
OWNER = "owner"  # of the tokens that end

State = tuple[int, bool]  # how many versions an index file has, and whether the first is yanked


@dataclass
class Change:
    """A change from `begun` on, at the latest since `acknowledged`."""

    state: State
    begun: float
    acknowledged: float = float("inf")


@dataclass
class Token:
    """A token that is good until `ended` at least, and no longer once this is acknowledged."""

    text: str
    ended: float = float("inf")
    acknowledged: float = float("inf")


@dataclass(frozen=True)
class TokenUse:
    token: Token
    begun: float
    ended: float
    is_refused: bool


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
    tokens: list[Token] = field(default_factory=list)
    uses: list[TokenUse] = field(default_factory=list)
    kills: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self, seconds: float, seconds_between_kills: float) -> None:
        """Write and read for some time, and kill a worker of any node now and then."""
        self.changes = [[] for _ in range(self.writers)]
        self.is_over = threading.Event()
        for crate in range(self.writers):
            self.change(crate, Random(crate))  # so that there is something to read
        self.tokens = [Token(self.nodes[0].sign_up(OWNER))]
        threads = [threading.Thread(target=self.log_in)]
        threads += [threading.Thread(target=self.write, args=[crate]) for crate in range(self.writers)]
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
        """Return the reads that saw a state older than the last acknowledged one, or one that never was.

        And those that a token has opened after its end, or has not before.
        """
        wrong = list(self.failures)
        for use in self.uses:
            if use.ended < use.token.ended if use.is_refused else use.token.acknowledged < use.begun:
                wrong.append(f"a token at {use.begun:.4f} was {'refused' if use.is_refused else 'good'}: {use.token}")
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
            f"{len(self.tokens) - 1} tokens ended, {sum(use.is_refused for use in self.uses)} requests refused, "
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

    def log_in(self) -> None:
        """Log in again and again; each answer ends the token before, also that of an answer that got lost."""
        while not self.is_over.wait(SECONDS_BETWEEN_LOG_INS):
            self.tokens[-1].ended = min(self.tokens[-1].ended, time.monotonic())
            body = json.dumps({"password": PASSWORD}).encode()
            status, text = self.send(Random().choice(self.nodes), "POST", f"/ktra/api/v1/login/{OWNER}", body)
            if status == 200:
                self.tokens[-1].acknowledged = time.monotonic()
                self.tokens.append(Token(json.loads(text)["token"]))
            elif status not in (0, 503):
                self.failures.append(f"a log-in got {status}: {text}")

    def send(self, node: Server, method: str, path: str, body: bytes) -> tuple[int, str]:
        """Return the status and the body of an answer; 0 if the connection broke."""
        connection = HTTPConnection("127.0.0.1", node.port, timeout=60)
        try:
            headers = {"Authorization": self.token, "Content-Type": "application/json"}
            connection.request(method, path, body, headers)
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
        token = random.choice(self.tokens[-2:]) if random.random() < 0.6 else None
        if token:
            headers["Authorization"] = token.text
        begun = time.monotonic()
        connection.request("GET", f"/index/{index_path(crate_name(crate))}", headers=headers)
        response = connection.getresponse()
        body, ended = response.read(), time.monotonic()
        if token:
            self.uses.append(TokenUse(token, begun, ended, response.status == 401))
            if response.status == 401:
                return
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
