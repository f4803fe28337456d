"""TCP proxy on loopback that delays each byte by half a round trip, as a distant network does.

It delays and does not throttle: every chunk gets its own due time when it is read, and any number of them are on
their way at once. The timer of the event loop adds up to a millisecond in each direction.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 64 * 1024
HOST = "127.0.0.1"
START_TIMEOUT = 10  # seconds


class Proxy:
    """Forwards connections to a port of this machine; `round_trip` in seconds."""

    def __init__(self, target: int, round_trip: float) -> None:
        self.target = target
        self.round_trip = round_trip
        self.accepted = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until both sides have ended it."""
        self.accepted += 1
        # The kernel accepted at once; over a real distance the client's first byte leaves a round trip later.
        await asyncio.sleep(self.round_trip)
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.close()
            return
        with suppress(asyncio.CancelledError):  # the proxy ends; asyncio would print that as an error
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the bytes of one direction; the end of the stream is delayed like a byte."""
        travelling: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.create_task(_deliver(travelling, writer))
        data = b"-"
        while data:
            try:
                data = await reader.read(CHUNK)
            except OSError:  # a reset arrives as an end
                data = b""
            travelling.put_nowait((asyncio.get_running_loop().time() + self.round_trip / 2, data))
        await arriving


async def _deliver(travelling: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            due, data = await travelling.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not data:
                break
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # the other side is gone; what is still on its way to it is lost
    finally:
        writer.close()


@contextmanager
def run_proxy(port: int, target: int, round_trip: float) -> Iterator[Proxy]:
    """Run a proxy from `port` to `target` in a thread of its own."""
    proxy = Proxy(target, round_trip)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(proxy.serve, HOST, port)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(START_TIMEOUT)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result(START_TIMEOUT)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_TIMEOUT)
        loop.close()


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
