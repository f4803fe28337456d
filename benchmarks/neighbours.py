"""Hostile clients of a registry, each kind a coroutine that many tasks repeat in one process of its own.

They are cheap, so that the processors of a shared machine stay with the server, and they retry at once.
"""

import asyncio
import json
import random
import re
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection

from crates.names import index_path
from tests.support.servers import PASSWORD

LARGE, HEAVY = "large", "heavy"  # a crate with the largest index file, and one with many bytes
HUNG = "hung-"  # beginning of the names for which upstream never answers
SLOW_BYTES = 2000  # a second
READ_LIMIT = 64 * 1024
UPLOAD_BYTES = 1_000_000_000
CHUNK = bytes(256 * 1024)
NAMES_TO_GUESS = 50
CUT_OFF, OPEN = "cut off", "open"  # what became of connections, beside the statuses of answers
PAUSE = 0.5  # seconds before a peer comes back that was cut off


@dataclass(frozen=True)
class Target:
    """A registry over TLS, and what its neighbours need of it."""

    port: int
    authority: Path
    sources: tuple[str, ...]  # addresses from which the neighbours come
    owner_tokens: tuple[str, ...]  # of the large crate, one for each loop
    file_token: str

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


Outcomes = Counter[str]
Visit = Callable[[Target, Outcomes, int], Awaitable[None]]


# --- Connections -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def dial(target: Target, receive_buffer: int = 0) -> AsyncIterator[socket.socket]:
    """Connect from an address of the neighbours."""
    with socket.socket() as wire:
        if receive_buffer:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        wire.setblocking(False)
        wire.bind((random.choice(target.sources), 0))
        await asyncio.get_running_loop().sock_connect(wire, ("127.0.0.1", target.port))
        yield wire


@asynccontextmanager
async def dial_tls(
    target: Target, protocol: str = "http/1.1", receive_buffer: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    context = ssl.create_default_context(cafile=str(target.authority))
    context.set_alpn_protocols([protocol])
    async with dial(target, receive_buffer) as wire:
        limit = receive_buffer or READ_LIMIT
        reader, writer = await asyncio.open_connection(sock=wire, ssl=context, server_hostname="127.0.0.1", limit=limit)
        if receive_buffer:
            writer.transport.set_read_buffer_limits(high=receive_buffer)  # type: ignore[attr-defined]  # of TLS alone
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


def head(target: Target, method: str, path: str, **headers: object) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"Host": target.host, **headers}.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """Read an answer → (its status, may the connection go on)."""
    answer = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", answer)
    await reader.readexactly(int(length[1]) if length else 0)
    return answer.split(maxsplit=2)[1].decode(), not re.search(rb"(?i)\r\nconnection: close", answer)


async def send_all(target: Target, outcomes: Outcomes, requests: Iterator[bytes]) -> None:
    """Send requests one after another over one connection, as long as it lasts; count their statuses."""
    async with dial_tls(target) as (reader, writer):
        for request in requests:
            writer.write(request)
            status, goes_on = await read_answer(reader)
            outcomes[status] += 1
            if not goes_on:
                return


def json_request(target: Target, path: str, **fields: str) -> bytes:
    body = json.dumps(fields).encode()
    return head(target, "POST", path, Content_Type="application/json", Content_Length=len(body)) + body


# --- Slow peers --------------------------------------------------------------------------------------------------


async def be_silent(target: Target, outcomes: Outcomes, number: int) -> None:
    async with dial(target) as wire:
        await asyncio.get_running_loop().sock_recv(wire, 1)
    outcomes[CUT_OFF] += 1


async def drip(target: Target, outcomes: Outcomes, beginning: bytes, byte: bytes) -> None:
    """Send a byte each second until the server closes the connection."""
    async with dial_tls(target) as (reader, writer):
        writer.write(beginning)
        end = asyncio.ensure_future(reader.read(1))
        while not end.done():
            writer.write(byte)
            await asyncio.wait([end], timeout=1)
    outcomes[CUT_OFF] += 1


async def drip_head(target: Target, outcomes: Outcomes, number: int) -> None:
    await drip(target, outcomes, head(target, "GET", "/health")[:-2] + b"X-Long: ", b"x")


async def drip_body(target: Target, outcomes: Outcomes, number: int) -> None:
    beginning = head(
        target, "POST", "/ktra/api/v1/login/nobody", Content_Type="application/json", Content_Length=100_000
    )
    await drip(target, outcomes, beginning, b" ")


async def read_slowly(target: Target, outcomes: Outcomes, number: int) -> None:
    async with dial_tls(target, receive_buffer=4096) as (reader, writer):
        writer.write(head(target, "GET", f"/dl/{HEAVY}/1.0.0/download"))
        while await reader.read(SLOW_BYTES):
            await asyncio.sleep(1)
    outcomes[CUT_OFF] += 1


async def read_slowly_http2(target: Target, outcomes: Outcomes, number: int) -> None:
    """Take the first window of a download, and then enlarge it by little each second."""
    async with dial_tls(target, "h2") as (reader, writer):
        connection = H2Connection(H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        path = f"/dl/{HEAVY}/1.0.0/download"
        fields = {":method": "GET", ":scheme": "https", ":authority": target.host, ":path": path}
        connection.send_headers(1, list(fields.items()), end_stream=True)
        while True:
            writer.write(connection.data_to_send())
            try:
                async with asyncio.timeout(1):
                    data = await reader.read(65_536)
            except TimeoutError:
                connection.increment_flow_control_window(SLOW_BYTES, 1)
                connection.increment_flow_control_window(SLOW_BYTES)
                continue
            if not data:
                break
            connection.receive_data(data)
    outcomes[CUT_OFF] += 1


# --- Work for the server -----------------------------------------------------------------------------------------


async def yank_and_unyank(target: Target, outcomes: Outcomes, number: int) -> None:
    version, token = f"/api/v1/crates/{LARGE}/1.0.{number}", target.owner_tokens[number]
    yank = head(target, "DELETE", f"{version}/yank", Authorization=token, Content_Length=0)
    unyank = head(target, "PUT", f"{version}/unyank", Authorization=token, Content_Length=0)
    await send_all(target, outcomes, ((unyank if turn % 2 else yank) for turn in count()))


async def sign_up(target: Target, outcomes: Outcomes, number: int) -> None:
    paths = (f"/ktra/api/v1/new_user/n{number}-{turn}-{outcomes.total()}" for turn in count())
    await send_all(target, outcomes, (json_request(target, path, password=PASSWORD) for path in paths))


async def guess_passwords(target: Target, outcomes: Outcomes, number: int) -> None:
    paths = (f"/ktra/api/v1/login/n{(number + turn) % NAMES_TO_GUESS}" for turn in count())
    await send_all(target, outcomes, (json_request(target, path, password="wrong") for path in paths))


async def ask_hung_upstream(target: Target, outcomes: Outcomes, number: int) -> None:
    names = (f"{HUNG}{number}-{turn}-{outcomes.total()}" for turn in count())
    await send_all(target, outcomes, (head(target, "GET", f"/mirror/index/{index_path(name)}") for name in names))


async def upload(target: Target, outcomes: Outcomes, number: int) -> None:
    """Upload a file as fast as the server takes it."""
    form = (
        f'--frontier\r\nContent-Disposition: form-data; name="serve_path"\r\n\r\nupload-{outcomes.total()}\r\n'
        '--frontier\r\nContent-Disposition: form-data; name="file"; filename="big"\r\n\r\n'
    ).encode()
    end = b"\r\n--frontier--\r\n"
    fields = {
        "Authorization": f"Bearer {target.file_token}",
        "Content_Type": "multipart/form-data; boundary=frontier",
        "Content_Length": len(form) + UPLOAD_BYTES + len(end),
    }
    async with dial_tls(target) as (reader, writer):
        writer.write(head(target, "POST", "/", **fields) + form)
        for start in range(0, UPLOAD_BYTES, len(CHUNK)):
            writer.write(CHUNK[: UPLOAD_BYTES - start])
            await writer.drain()
        writer.write(end)
        status, _ = await read_answer(reader)
        outcomes[status] += 1


# --- The process -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Neighbour:
    """A kind of hostile client; `tasks` of them come at once, and each comes again when it was cut off."""

    label: str
    tasks: int
    visit: Visit


NEIGHBOURS = {
    "silent": Neighbour("500 silent connections", 500, be_silent),
    "heads": Neighbour("500 dripping heads", 500, drip_head),
    "bodies": Neighbour("500 dripping bodies", 500, drip_body),
    "readers": Neighbour("500 slow readers, HTTP/1.1", 500, read_slowly),
    "readers2": Neighbour("500 slow readers, HTTP/2", 500, read_slowly_http2),
    "yanks": Neighbour("8 yank loops on the largest crate", 8, yank_and_unyank),
    "sign-ups": Neighbour("40 sign-up loops", 40, sign_up),
    "guesses": Neighbour("32 loops of password guesses", 32, guess_passwords),
    "upstream": Neighbour("16 calls of a hung upstream", 16, ask_hung_upstream),
    "upload": Neighbour("uploads of 1 GB", 1, upload),
}


@contextmanager
def running(name: str, target: Target, outcomes: Outcomes) -> Iterator[None]:
    """Run a neighbour in a process of its own during the block; then add up what became of its visits."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run, args=(name, target, theirs))
    process.start()
    try:
        ours.recv()  # it has begun
        yield
        ours.send("stop")
        outcomes.update(ours.recv())
    finally:
        process.terminate()
        process.join()


def run(name: str, target: Target, pipe: Connection) -> None:
    pipe.send("begun")
    pipe.send(asyncio.run(pester(NEIGHBOURS[name], target, pipe)))


async def pester(neighbour: Neighbour, target: Target, pipe: Connection) -> Outcomes:
    """Run all tasks of a neighbour until the pipe says stop."""
    outcomes: Outcomes = Counter()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), stopped.set)
    tasks = [
        asyncio.create_task(repeat(neighbour.visit, target, outcomes, number)) for number in range(neighbour.tasks)
    ]
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # tasks end by an error alone
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return outcomes


async def repeat(visit: Visit, target: Target, outcomes: Outcomes, number: int) -> None:
    while True:
        try:
            await visit(target, outcomes, number)
        except (OSError, EOFError):
            outcomes[CUT_OFF] += 1
        except asyncio.CancelledError:
            outcomes[OPEN] += 1
            raise
        await asyncio.sleep(PAUSE)
