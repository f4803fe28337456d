"""A real nginx with a configuration of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    {http}
}}
"""


@contextmanager
def running_nginx(directory: Path, http: str, port: int) -> Iterator[None]:
    """Run nginx in a directory during the block. `http` stands in its context of this name, and listens on the port."""
    # The files of the registry are for its user alone.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(CONFIG.format(user=user, directory=directory, http=http))
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert nginx
    process = subprocess.Popen([nginx, "-p", directory, "-e", directory / "error.log", "-c", directory / "nginx.conf"])
    try:
        wait_for(port, process, directory / "error.log")
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nginx does not answer:\n{log.read_text() if log.exists() else ''}")
