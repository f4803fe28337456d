"""Python processes that begin with the libraries imported.

Half of a start of `manage.py` is the import of libraries, the same for hundreds of servers and commands in a test run.
One process imports them once, without any settings, and forks itself for each program; the rest is as in a fresh one.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent.parent
# These need no settings of Django, and bring most of what a server imports.
LIBRARIES = [
    "asyncio",
    "comrak",
    "cryptography.fernet",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.x509",
    "django.contrib.messages.storage.fallback",
    "django.contrib.postgres.fields",
    "django.contrib.sessions.middleware",
    "django.contrib.staticfiles.finders",
    "django.core.cache.backends.locmem",
    "django.core.files.storage",
    "django.core.handlers.wsgi",
    "django.core.mail",
    "django.core.management",
    "django.core.paginator",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.forms",
    "django.middleware.csrf",
    "django.template.loader",
    "django.test",
    "django.views.generic",
    "gunicorn.app.base",
    "gunicorn.arbiter",
    "gunicorn.glogging",
    "gunicorn.workers.gthread",
    "h2.connection",
    "jinja2",
    "jwt",
    "license_expression",
    "nh3",
    "prometheus_client",
    "psycopg",
    "pygments.formatters",
    "pygments.lexers",
    "re2",
    "redis",
    "requests",
    "semver",
    "sqlparse",
    "tarfile",
    "urllib3",
    "yaml",
]


class Program:
    """A program that runs in a fork, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], *streams: IO[bytes]) -> None:
        self.arguments = list(arguments)
        self.returncode: int | None = None
        reader, writer = os.pipe()
        self.reports = os.fdopen(reader, "rb", buffering=0)
        with tempfile.TemporaryFile() as order, os.fdopen(writer, "wb"):
            order.write(json.dumps([self.arguments, dict(environment)]).encode())
            order.seek(0)
            send_order([order.fileno(), writer, *(stream.fileno() for stream in streams)])
        self.pid = int(self.reports.readline())

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self.reports], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.arguments, timeout or 0)
            self.returncode = int(self.reports.readline())
            self.reports.close()
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def run(arguments: Sequence[str], environment: Mapping[str, str], text: str = "") -> str:
    """Run a program with `text` as its input, and return its output. Raises `CalledProcessError`."""
    with tempfile.TemporaryFile() as typed, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        typed.write(text.encode())
        typed.seek(0)
        code = Program(arguments, environment, typed, output, errors).wait()
        printed, complaint = map(read_from_start, (output, errors))
    if code:
        raise subprocess.CalledProcessError(code, list(arguments), printed, complaint)
    return printed


def read_from_start(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


# --- In the tests' process -----------------------------------------------------------------------------------------

_turn = threading.Lock()


def send_order(descriptors: list[int]) -> None:
    with _turn:
        socket.send_fds(order_socket(), [b"\n"], descriptors)


@functools.cache
def order_socket() -> socket.socket:
    """Start the process that forks. It ends when the socket is closed, at the latest by the end of this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True)
    atexit.register(end, ours, process)
    return ours


def end(orders: socket.socket, process: subprocess.Popen[bytes]) -> None:
    orders.close()
    process.wait()


# --- In the process that forks -------------------------------------------------------------------------------------


def main(descriptor: int) -> None:
    """Fork a process for each order; return in each of them with what it runs, and at the end of the orders."""
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    reports: dict[int, int] = {}

    def report_ended(*_: object) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                report = reports.pop(ended[0])
                with suppress(OSError):  # nobody waits for it
                    os.write(report, b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
                os.close(report)

    signal.signal(signal.SIGCHLD, report_ended)
    orders = socket.socket(fileno=descriptor)
    while descriptors := socket.recv_fds(orders, 1, 5)[1]:
        order, report, *streams = descriptors
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        process = os.fork()
        if not process:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            orders.close()
            for inherited in (report, *reports.values()):
                os.close(inherited)
            become(order, streams)
            return
        os.write(report, b"%d\n" % process)
        reports[process] = report
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for sent in (order, *streams):
            os.close(sent)


def become(order: int, streams: list[int]) -> None:
    """Run the program of an order as the first of a session of processes."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    with os.fdopen(order) as file:
        arguments, environment = json.load(file)
    os.environ.clear()
    os.environ.update(environment)
    if arguments[0] == "-c":
        sys.argv = arguments[:1]
        exec(arguments[1], {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]))
