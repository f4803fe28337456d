"""A real nginx with a configuration of its own."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import ROOT, is_listening

SHIPPED = (ROOT / "deploy" / "nginx.conf").read_text()
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


def shipped_config(directory: Path, port: int, registry: int, changes: Mapping[str, str]) -> str:
    """Return the shipped file with texts replaced that every operator has to replace, and `changes`.

    The certificate is in the sub-directory `tls`; the logs stand in the directory.
    """
    own = {
        "127.0.0.1:8000": f"127.0.0.1:{registry}",
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "listen [::]:443 ssl http2;": "",
        "/var/log/nginx/": f"{directory}/",
        "/etc/ssl/entrepot/fullchain.pem": str(directory / "tls" / "cert.pem"),
        "/etc/ssl/entrepot/privkey.pem": str(directory / "tls" / "key.pem"),
        **changes,
    }
    assert [text for text in own if text not in SHIPPED] == []
    pattern = re.compile("|".join(re.escape(text) for text in sorted(own, key=len, reverse=True)))
    return pattern.sub(lambda match: own[match[0]], SHIPPED)


@contextmanager
def running_shipped(directory: Path, port: int, registry: int) -> Iterator[None]:
    """Run nginx during the block with the shipped configuration; the registry sends its files itself."""
    with running_nginx(directory, shipped_config(directory, port, registry, {}), port):
        yield


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
