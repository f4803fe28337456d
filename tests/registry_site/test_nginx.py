"""`deploy/nginx.conf` as it is shipped, but for addresses, certificates and paths: clients of each room pass it."""

import gzip
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import NamedTuple

import pytest

from registry_site.server.app import configuration
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream
from tests.support.cargo import MirrorCargo, write_files
from tests.support.concurrency import wait_until
from tests.support.file_clients import KEY
from tests.support.nginx import SHIPPED, running_nginx, shipped_config
from tests.support.servers import ROOT, Server, certificate, free_port, running

pytestmark = [pytest.mark.database_independent, pytest.mark.long]


class Site(NamedTuple):
    """A registry behind nginx, and the certificate of the authority behind its name."""

    server: Server
    port: int
    authority: Path
    root: Path
    upstream: BadUpstream

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        context = ssl.create_default_context(cafile=str(self.authority))
        connection = HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            # nginx may add a second header of a name.
            fields = {name: ", ".join(answer.headers.get_all(name, [])) for name in answer.headers}
            return answer.status, fields, answer.read()
        finally:
            connection.close()

    def run_example(self, *arguments: str | Path) -> str:
        """Run a client in `examples/` and return its output."""
        environment = {**os.environ, "SSL_CERT_FILE": str(self.authority)}
        command = [sys.executable, "-I", "-X", "utf8", ROOT / "examples" / arguments[0], *arguments[1:]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cargo(self, home: Path, token: str) -> MirrorCargo:
        """Return a cargo for which the mirror replaces crates.io, and which knows the registry as `priv`."""
        cargo = MirrorCargo(home, self.url)
        with (home / "config.toml").open("a") as config:
            config.write(
                f'[http]\ncainfo = "{self.authority}"\n[registries.priv]\nindex = "sparse+{self.url}/index/"\n'
            )
        (home / "credentials.toml").write_text(f'[registries.priv]\ntoken = "{token}"\n')
        return cargo


@pytest.fixture(scope="module", params=["/_files", ""], ids=["nginx sends files", "registry sends files"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory, port = tmp_path_factory.mktemp("nginx"), free_port()
    certificate(directory / "tls")
    (directory / "root").mkdir()
    settings = {
        "REGISTRY_PUBLIC_URL": f"https://127.0.0.1:{port}",
        "REGISTRY_TRUSTED_PROXIES": "127.0.0.1",
        "REGISTRY_FILE_ROOTS": str(directory / "root"),
        "REGISTRY_X_ACCEL_PREFIX": request.param,
    }
    with (
        bad_upstream.upstream() as upstream,
        running(directory / "data", REGISTRY_MIRROR_UPSTREAM=f"sparse+{upstream.url}", **settings) as server,
    ):
        changes = {"/var/lib/entrepot": str(server.data), "/srv/files": str(directory / "root")}
        config = shipped_config(directory, port, server.port, changes)
        with running_nginx(directory, config, port):
            yield Site(server, port, directory / "tls" / "ca.pem", directory / "root", upstream)


def write_consumer(directory: Path, dependency: str) -> Path:
    manifest = packing.manifest("consumer") + f"[dependencies]\n{dependency}\n"
    return write_files(directory, {"Cargo.toml": manifest, "src/lib.rs": ""})


def test_idle_connections_end_at_nginx_first() -> None:
    """Else a POST can meet the end of its connection, and nginx answers 502, since it may not repeat it."""
    (seconds,) = re.findall(r"(?m)^    keepalive_timeout (\d+)s;$", SHIPPED)
    assert int(seconds) < configuration()["keepalive"]


def test_cargo_publishes_and_fetches(site: Site, tmp_path: Path) -> None:
    cargo = site.cargo(tmp_path / "home", site.server.sign_up("alice"))
    crate = write_files(tmp_path / "demo", {"Cargo.toml": packing.manifest(), "src/lib.rs": ""})
    cargo.run(crate, "publish", "--registry", "priv", "--no-verify", "--allow-dirty")
    consumer = write_consumer(tmp_path / "consumer", 'demo = { version = "1", registry = "priv" }')
    assert "Downloaded demo v1.0.0" in cargo.run(consumer, "fetch")


def test_cargo_fetches_from_the_mirror(site: Site, tmp_path: Path) -> None:
    site.upstream.publish("mirrored", packing.crate("mirrored"))
    consumer = write_consumer(tmp_path / "consumer", 'mirrored = "1"')
    for home in ("first", "second"):  # the first has the mirror fetch it
        cargo = site.cargo(tmp_path / home, "none")
        assert "Downloaded mirrored v1.0.0" in cargo.run(consumer, "fetch")


def test_packages_are_published_and_fetched(site: Site) -> None:
    output = site.run_example("packages_client.py", site.url, "bob")
    assert "Downloaded 2.0.0 by bob: it is what was published." in output


def test_files_are_registered_and_fetched(site: Site, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    site.server.manage("addclient", "station", "--key-file", str(tmp_path / "key"))
    (site.root / "on disk").write_bytes(b"on the disk")
    (tmp_path / "upload").write_bytes(b"an upload")
    arguments = ("files_client.py", site.url, "station", "--key-file", tmp_path / "key")
    site.run_example(*arguments, "add", site.root / "on disk", "a/disk")
    site.run_example(*arguments, "upload", tmp_path / "upload", "a/upload")
    site.run_example(*arguments, "sync", tmp_path / "received")
    received = {path.name: path.read_bytes() for path in (tmp_path / "received" / "a").iterdir()}
    assert received == {"disk": b"on the disk", "upload": b"an upload"}


def test_files_behind_nginx_are_internal(site: Site) -> None:
    path = site.root / "secret"
    path.write_bytes(b"inside")
    for address in (f"/_files{path}", f"/_files{site.server.data}/blobs/", f"/_files{site.server.data}/secret_key"):
        status, _, body = site.get(address)
        assert (status, b"inside" in body) == (404, False)


def test_compressed_index_tells_caches(site: Site) -> None:
    site.upstream.publish("packed")
    _, headers, plain = site.get("/mirror/index/pa/ck/packed")
    _, packed_headers, packed = site.get("/mirror/index/pa/ck/packed", Accept_Encoding="gzip")
    assert gzip.decompress(packed) == plain
    assert "Accept-Encoding" in headers["Vary"]
    assert "Accept-Encoding" in packed_headers["Vary"]
    status, _, _ = site.get("/mirror/index/pa/ck/packed", If_None_Match=packed_headers["ETag"])
    assert status == 304


def test_downloads_have_the_headers_of_all_answers(site: Site) -> None:
    site.upstream.publish("framed", packing.crate("framed"))
    status, headers, body = site.get("/ktra/api/v1/mirror/framed/1.0.0/download")
    assert (status, body) == (200, packing.crate("framed"))
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "object-src 'none'" in headers["Content-Security-Policy"]
    assert len(headers["X-Request-ID"]) > 10


@pytest.mark.parametrize("site", ["/_files"], indirect=True, ids=["nginx sends files"])
def test_caches_do_not_keep_errors_of_nginx(site: Site) -> None:
    """They come with the registry's headers for the file that nginx cannot send, here because it is a link."""
    path, crate = "/ktra/api/v1/mirror/linked/1.0.0/download", packing.crate("linked")
    site.upstream.publish("linked", crate)
    assert site.get(path)[0] == 200
    (blob,) = (blob for blob in (site.server.data / "mirror").glob("*/*/*") if blob.read_bytes() == crate)
    blob.symlink_to(blob.rename(site.root / "linked"))
    status, headers, _ = site.get(path)
    assert (status, headers["Cache-Control"].rpartition(", ")[2]) == (403, "no-store")


def test_logs_of_nginx_have_no_token(site: Site) -> None:
    paths = ("/v1/user/email/verify/a-secret", "/v1/user/email/verify/a-secret/x", "/v1/user/email/%76erify/a-secret")
    for path in (*paths, "/password-reset/a-secret", "/unsubscribe/a-secret"):
        site.get(f"{path}?session_token=a-secret")
    status, _, _ = site.get("/17?session_token=a-secret", Content_Length=str(10**12))  # an error to nginx
    directory = site.authority.parent.parent
    log = directory / "entrepot.log"
    wait_until(lambda: '"GET /17" 413' in log.read_text())  # a line follows its answer
    assert status == 413
    assert log.read_text().count('"GET /v1/user/email/verify/..." ') == len(paths)
    assert [path.name for path in directory.glob("*.log") if "a-secret" in path.read_text()] == []
