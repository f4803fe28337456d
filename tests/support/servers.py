"""Real servers for tests, started as a user would start them, on free ports and empty data directories."""

import atexit
import functools
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import psycopg
import trustme
from django.conf import settings
from psycopg import sql

PASSWORD = "correct horse"
SQLITE = "registry.sqlite3"
ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running registry; `url` has no trailing slash, `manage` runs a command of `manage.py` beside it."""

    def __init__(self, data: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.scheme = "https" if "REGISTRY_TLS_CERT" in environment else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.data = data
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
        inherited.pop("DJANGO_SETTINGS_MODULE", None)
        self.environment = inherited | {
            "REGISTRY_DATA_DIR": str(data),
            "REGISTRY_BIND": f"127.0.0.1:{self.port}",
            **environment,
        }
        self.log = data.parent / f"{data.name}.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"The server ended:\n{self.log.read_text()}")
            try:
                with urlopen(f"{self.url}/health", timeout=5, context=self.tls()):
                    return
            except (OSError, HTTPException):
                time.sleep(0.05)
        raise AssertionError(f"The server does not answer:\n{self.log.read_text()}")

    def tls(self) -> ssl.SSLContext | None:
        """Trusts the authority that stands beside the certificate."""
        if self.scheme == "http":
            return None
        return ssl.create_default_context(cafile=str(Path(self.environment["REGISTRY_TLS_CERT"]).parent / "ca.pem"))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=40)

    def kill(self) -> None:
        """End all of its processes at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def manage(self, *arguments: str, given: str | None = None) -> str:
        """Standard output of a command; raises `CalledProcessError` with what it said when it fails."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=given or "",
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def sign_up(self, name: str) -> str:
        """Open an account over the web; returns its cargo token."""
        body = json.dumps({"password": PASSWORD}).encode()
        request = Request(f"{self.url}/ktra/api/v1/new_user/{name}", body, {"Content-Type": "application/json"})
        with urlopen(request, context=self.tls()) as answer:
            return str(json.load(answer)["token"])


def certificate(directory: Path) -> dict[str, str]:
    """Settings for TLS on 127.0.0.1, by an authority of our own whose certificate is `ca.pem`."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    directory.mkdir(parents=True)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    issued.private_key_pem.write_to_path(directory / "key.pem")
    for part in issued.cert_chain_pems:
        part.write_to_path(directory / "cert.pem", append=True)
    return {"REGISTRY_TLS_CERT": str(directory / "cert.pem"), "REGISTRY_TLS_KEY": str(directory / "key.pem")}


@contextmanager
def running(data: Path, **environment: str) -> Iterator[Server]:
    """A server that is ended at the end; on PostgreSQL, where the tests run there, with a database of its own.

    The database has its tables already: to make them takes longer than most tests.
    """
    with _running(data, environment, empty=False) as server:
        yield server


@contextmanager
def running_from_nothing(data: Path, **environment: str) -> Iterator[Server]:
    """The same, which makes its tables itself."""
    with _running(data, environment, empty=True) as server:
        yield server


@contextmanager
def _running(data: Path, environment: dict[str, str], *, empty: bool) -> Iterator[Server]:
    data.mkdir(parents=True, exist_ok=True)
    with _database(data, empty) as database:
        server = Server(data, {**database, **environment})
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def _database(data: Path, empty: bool) -> Iterator[dict[str, str]]:
    if settings.DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
        if not empty:
            shutil.copyfile(_sqlite_template(), data / SQLITE)
        yield {}
        return
    with _postgresql("template1" if empty else _postgresql_template()) as name:
        yield {"REGISTRY_DATABASE_URL": f"postgres://{_place()}/{name}"}


def _place() -> str:
    default = settings.DATABASES["default"]
    return f"{default['USER']}:{default['PASSWORD']}@{default['HOST']}:{default['PORT']}"


@contextmanager
def _postgresql(template: str) -> Iterator[str]:
    """The name of a database like another one."""
    name = f"live_{secrets.token_hex(6)}"
    with psycopg.connect(f"postgres://{_place()}/postgres", autocommit=True) as connection:
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        connection.execute(made)
        try:
            yield name
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@functools.cache
def _sqlite_template() -> Path:
    """With all tables, made once for each process of the tests, as an operator would make them."""
    place = Path(tempfile.mkdtemp(prefix="entrepot-template-"))
    atexit.register(shutil.rmtree, place)
    Server(place, {}).manage("migrate", "-v0")
    return place / SQLITE


@functools.cache
def _postgresql_template() -> str:
    """The same there."""
    place = Path(tempfile.mkdtemp(prefix="entrepot-template-"))
    atexit.register(shutil.rmtree, place)
    made = _postgresql("template1")
    name = made.__enter__()
    atexit.register(made.__exit__, None, None, None)
    Server(place, {"REGISTRY_DATABASE_URL": f"postgres://{_place()}/{name}"}).manage("migrate", "-v0")
    return name
