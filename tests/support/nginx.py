"""A real nginx with a configuration of its own."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import is_listening

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
        assert is_listening(port, process), (directory / "error.log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
