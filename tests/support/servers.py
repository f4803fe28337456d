"""Real servers for tests, started as a user would start them, on free ports and empty data directories."""

import atexit
import fcntl
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
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.request import Request, urlopen

import psycopg
import trustme
from django.conf import settings
from psycopg import sql

from tests.support import warm_python
from tests.support.warm_python import Program

PASSWORD = "correct horse"
SQLITE = "registry.sqlite3"
SERVE: tuple[str, ...] = ("manage.py", "serve")  # what Python runs as a server
SERVE_WITH_CHANGES = """
import os, runpy, sys, django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "registry_site.settings")
django.setup()
{changes}
sys.argv = ["manage.py", "serve"]
runpy.run_path("manage.py", run_name="__main__")
"""
ROOT = warm_python.ROOT
template_directory: Path | None = None  # shared by all workers of a test run; None outside of tests


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a program listens, or has ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


class Server:
    """A running registry; `url` has no slash at its end. `{port}` in a setting stands for its port.

    A warm one finds its libraries imported. The others begin in a new interpreter, as a user's do.
    """

    def __init__(
        self, data: Path, environment: dict[str, str], serve: tuple[str, ...] = SERVE, *, is_warm: bool = False
    ) -> None:
        self.serve, self.is_warm = serve, is_warm
        self.port = free_port()
        self.scheme = "https" if "REGISTRY_TLS_CERT" in environment else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.data = data
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
        inherited.pop("DJANGO_SETTINGS_MODULE", None)
        self.environment = inherited | {
            "REGISTRY_DATA_DIR": str(data),
            "REGISTRY_BIND": f"127.0.0.1:{self.port}",
            # A publish asks upstream for its name, and no test asks crates.io.
            "REGISTRY_MIRROR_OFFLINE": "0" if "REGISTRY_MIRROR_UPSTREAM" in environment else "1",
            **{name: value.replace("{port}", str(self.port)) for name, value in environment.items()},
        }
        self.log = data.parent / f"{data.name}.log"

    def start(self) -> None:
        with self.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            self.process = self.begin(nothing, log)
        self.wait_until_healthy()

    def begin(self, nothing: IO[bytes], log: IO[bytes]) -> "Program | subprocess.Popen[bytes]":
        if self.is_warm:
            return Program(self.serve, self.environment, nothing, log, log)
        command = [sys.executable, *self.serve]
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdin=nothing, stdout=log, stderr=log, start_new_session=True
        )

    def wait_until_healthy(self) -> None:
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
        """Return a TLS context that trusts the authority beside the certificate; None over plain HTTP."""
        if self.scheme == "http":
            return None
        return ssl.create_default_context(cafile=str(Path(self.environment["REGISTRY_TLS_CERT"]).parent / "ca.pem"))

    def last_lines(self) -> str:
        """Return the end of the log, which says why a test failed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:]) if self.log.exists() else ""

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=40)

    def workers(self) -> list[int]:
        """Return the ids of its worker processes."""
        main, workers = self.process.pid, []
        command = Path(f"/proc/{main}/cmdline").read_bytes()
        for child in Path(f"/proc/{main}/task/{main}/children").read_text().split():
            with suppress(OSError):  # it has ended meanwhile
                if Path(f"/proc/{child}/cmdline").read_bytes() == command:
                    workers.append(int(child))
        return workers

    def kill(self) -> None:
        """Kill all processes at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def manage(self, *arguments: str, text: str = "") -> str:
        """Run a command of `manage.py` with `text` as its input, and return its output.

        Raises `CalledProcessError`, after the command's own words have been printed.
        """
        try:
            return warm_python.run(("manage.py", *arguments), self.environment, text).strip()
        except subprocess.CalledProcessError as error:
            print(error.stderr)
            raise

    def sign_up(self, name: str) -> str:
        """Register an account over the web, and return its cargo token."""
        body = json.dumps({"password": PASSWORD}).encode()
        request = Request(f"{self.url}/ktra/api/v1/new_user/{name}", body, {"Content-Type": "application/json"})
        with urlopen(request, context=self.tls()) as response:
            return str(json.load(response)["token"])


running_servers: list[Server] = []


def certificate(directory: Path) -> dict[str, str]:
    """Return settings for TLS on 127.0.0.1, by an authority of our own whose certificate is `ca.pem`."""
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
    """Run a server during the block; on PostgreSQL, if the tests run there, with a database of its own.

    The database is a copy of a migrated one: migrating takes longer than most tests.
    """
    with run_server(data, environment, empty=False) as server:
        yield server


@contextmanager
def running_with(changes: str, data: Path, **environment: str) -> Iterator[Server]:
    """Run a server with changes of its code, such as limits of time for which a test can wait."""
    serve = ("-c", SERVE_WITH_CHANGES.format(changes=changes))
    with run_server(data, environment, empty=False, serve=serve) as server:
        yield server


@contextmanager
def running_from_nothing(data: Path, **environment: str) -> Iterator[Server]:
    """Run a server during the block in a new interpreter; it migrates its database itself."""
    with run_server(data, environment, empty=True) as server:
        yield server


@contextmanager
def run_server(
    data: Path, environment: dict[str, str], *, empty: bool, serve: tuple[str, ...] = ()
) -> Iterator[Server]:
    data.mkdir(parents=True, exist_ok=True)
    with new_database(data, empty) as database:
        server = Server(data, {**database, **environment}, serve or SERVE, is_warm=not empty)
        running_servers.append(server)
        try:
            server.start()
            yield server
        finally:
            running_servers.remove(server)
            server.stop()


@contextmanager
def new_database(data: Path, empty: bool) -> Iterator[dict[str, str]]:
    if settings.DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
        if not empty:
            shutil.copyfile(sqlite_template(), data / SQLITE)
        yield {}
        return
    with postgresql_database("template1" if empty else postgresql_template()) as name:
        yield {"REGISTRY_DATABASE_URL": f"postgres://{postgresql_address()}/{name}"}


def postgresql_address() -> str:
    default = settings.DATABASES["default"]
    return f"{default['USER']}:{default['PASSWORD']}@{default['HOST']}:{default['PORT']}"


@contextmanager
def postgresql_database(template: str) -> Iterator[str]:
    """Create a database from a template, and drop it after the block."""
    name = f"live_{secrets.token_hex(6)}"
    execute_sql("CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield name
    finally:
        execute_sql("DROP DATABASE {} WITH (FORCE)", name)


def execute_sql(statement: str, *names: str) -> None:
    """Execute a statement of PostgreSQL about databases with these names."""
    with psycopg.connect(f"postgres://{postgresql_address()}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@functools.cache
def sqlite_template() -> Path:
    """Migrate a database once for all workers of a test run, as an operator would."""
    directory = template_directory or new_template_directory()
    finished, unfinished = directory / "template", directory / "unfinished-template"
    with (directory / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            Server(unfinished, {}).manage("migrate", "-v0")
            unfinished.rename(finished)
    return finished / SQLITE


def new_template_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="entrepot-template-"))
    atexit.register(shutil.rmtree, directory)
    return directory


@functools.cache
def postgresql_template() -> str:
    """Migrate a database of PostgreSQL once for all workers of a test run; the last of them drops it."""
    directory = template_directory or new_template_directory()
    record, users = directory / "template-name", (directory / "template-users.lock").open("w")
    with (directory / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)  # as long as this worker runs
        if not record.exists():
            name = f"template_{secrets.token_hex(6)}"
            execute_sql("CREATE DATABASE {}", name)
            environment = {"REGISTRY_DATABASE_URL": f"postgres://{postgresql_address()}/{name}"}
            Server(directory / "unused", environment).manage("migrate", "-v0")
            record.write_text(name)
    atexit.register(drop_unused_template, record, users)
    return record.read_text()


def drop_unused_template(record: Path, users: IO[str]) -> None:
    """Drop the template of a test run, unless another worker still uses it."""
    with (record.parent / "template.lock").open("w") as lock, suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        execute_sql("DROP DATABASE {} WITH (FORCE)", record.read_text())
        record.unlink()
