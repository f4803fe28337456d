"""Real proxies in front of the registry, with the configurations of `docs/proxies.md`."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import ROOT, is_listening

DOCUMENT = (ROOT / "docs" / "proxies.md").read_text()
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
# What Debian's own configuration of Apache loads and sets, with the modules that the document adds.
APACHE_MODULES = (
    "mpm_event authz_core authn_core authz_host alias dir env setenvif filter negotiation reqtimeout "
    "ssl http2 proxy proxy_http headers deflate"
)
APACHE = """
ServerRoot {directory}
ServerName 127.0.0.1
User www-data
Group www-data
PidFile {directory}/apache.pid
DefaultRuntimeDir {directory}
ErrorLog {directory}/apache.log
Mutex file:{directory} default
Listen 127.0.0.1:{port}
{modules}
RequestReadTimeout header=20-40,minrate=500 body=10,minrate=500
{site}
"""
# Debian 12 has Caddy 2.6; the document names the lines of both.
NEWER_CADDY, OLDER_CADDY = "request_buffers 64KiB", "buffer_requests\n\t\tmax_buffer_size 65536"


def documented(language: str) -> str:
    """Return the one block of a language in the document."""
    (block,) = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", DOCUMENT)
    return str(block)


def replace_all(text: str, changes: Mapping[str, str]) -> str:
    """Replace texts, each of which has to be there."""
    assert [old for old in changes if old not in text] == []
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


@contextmanager
def running_haproxy(
    directory: Path, port: int, registry: int, changes: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run HAProxy during the block; `changes` replace further texts of its documented configuration."""
    pem = directory / "haproxy.pem"
    pem.write_text((directory / "tls" / "cert.pem").read_text() + (directory / "tls" / "key.pem").read_text())
    own = {
        ":443": f"127.0.0.1:{port}",
        "/etc/ssl/entrepot/haproxy.pem": str(pem),
        "127.0.0.1:8000": f"127.0.0.1:{registry}",
    }
    config = directory / f"haproxy-{port}.cfg"
    config.write_text(replace_all(documented("haproxy"), {**(changes or {}), **own}))
    with running_program(port, "haproxy", "-db", "-f", str(config)):
        yield


@contextmanager
def running_apache(
    directory: Path, port: int, registry: int, changes: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run Apache during the block; `changes` replace further texts of its documented configuration."""
    own = {
        "*:443": f"*:{port}",
        "/etc/ssl/entrepot/fullchain.pem": str(directory / "tls" / "cert.pem"),
        "/etc/ssl/entrepot/privkey.pem": str(directory / "tls" / "key.pem"),
        "127.0.0.1:8000": f"127.0.0.1:{registry}",
    }
    home = directory / f"apache-{port}"
    home.mkdir()
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in APACHE_MODULES.split()
    )
    site = replace_all(documented("apache"), {**(changes or {}), **own})
    config = home / "apache.conf"
    config.write_text(APACHE.format(directory=home, port=port, modules=modules, site=site))
    with running_program(port, "apache2", "-f", str(config), "-D", "FOREGROUND"):
        yield


@contextmanager
def running_caddy(
    directory: Path, port: int, registry: int, changes: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run Caddy during the block; `changes` replace further texts of its documented configuration."""
    own = {
        "crates.example.com": f"https://127.0.0.1:{port}",
        "/etc/ssl/entrepot/fullchain.pem": str(directory / "tls" / "cert.pem"),
        "/etc/ssl/entrepot/privkey.pem": str(directory / "tls" / "key.pem"),
        "127.0.0.1:8000": f"127.0.0.1:{registry}",
        NEWER_CADDY: OLDER_CADDY,
    }
    options = f"{{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n\tstorage file_system {directory}\n}}\n"
    config = directory / f"Caddyfile-{port}"
    config.write_text(options + replace_all(documented("caddyfile"), {**(changes or {}), **own}))
    with running_program(port, "caddy", "run", "--adapter", "caddyfile", "--config", str(config), home=directory):
        yield


@contextmanager
def running_varnish(directory: Path, port: int, registry: int) -> Iterator[None]:
    """Run Varnish during the block with the documented command, and so with its default configuration."""
    command = documented("sh").splitlines()[-1]
    command = replace_all(command, {":80 ": f"127.0.0.1:{port} ", "127.0.0.1:8000": f"127.0.0.1:{registry}"})
    # Unprivileged, and quick to start: no jail, in the foreground, a working directory of its own.
    with running_program(port, *command.split(), "-j", "none", "-F", "-n", str(directory / "varnish")):
        yield


@contextmanager
def running_program(port: int, *command: str, home: Path | None = None) -> Iterator[None]:
    """Run a program that listens on the port during the block; if it ends before, the failure has what it wrote."""
    program = shutil.which(command[0], path=PATH)
    assert program, f"{command[0]} is not installed"
    environment = {"PATH": PATH, **({"HOME": str(home)} if home else {})}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([program, *command[1:]], env=environment, stdout=output, stderr=output)
        try:
            if not is_listening(port, process):
                output.seek(0)
                raise AssertionError(f"{command[0]} does not answer:\n{output.read().decode()}")
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)
