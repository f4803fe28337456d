"""Requests to other servers through the proxy that the environment names."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from registry_site import http_client
from registry_site.errors import Unavailable
from registry_site.http_client import PrivateAddress
from registry_site.storage import blobs
from tests.support import bad_upstream
from tests.support.bad_provider import running_provider
from tests.support.bad_upstream import BadUpstream, Exchange

pytestmark = pytest.mark.database_independent

BODY = b"the body of the other server"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadUpstream]:
    """A forward proxy, which the environment names with a name and a password."""
    with bad_upstream.upstream() as proxy:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://alice:se%40cret@{proxy.host}")
        monkeypatch.setenv("no_proxy", ".internal")
        yield proxy


def fetch(url: str, **options: Any) -> http_client.Response:
    return http_client.fetch("GET", url, seconds=5, max_bytes=1000, **options)


def tunnel_to(port: int) -> bad_upstream.Behaviour:
    """Return a behaviour that answers CONNECT, and then passes on bytes in both directions until one side ends."""

    def relay(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):  # the other direction has ended, and closed both
            while data := source.recv(65536):
                target.sendall(data)

    def answer(exchange: Exchange) -> None:
        with socket.create_connection(("127.0.0.1", port)) as other:
            exchange.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            threading.Thread(target=relay, args=(other, exchange.wire), daemon=True).start()
            relay(exchange.wire, other)

    return answer


def test_plain_requests_go_to_the_proxy(proxy: BadUpstream) -> None:
    proxy.script("http://other.example/path", bad_upstream.file(BODY))
    assert fetch("http://other.example/path", private_networks=()).body == BODY
    assert proxy.requests[-1].headers["proxy-authorization"] == "Basic YWxpY2U6c2VAY3JldA=="


def test_requests_with_tls_go_through_a_tunnel(proxy: BadUpstream, settings: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "other.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    settings.CA_FILE = tmp_path / "ca.pem"
    with running_provider(tmp_path) as peer:
        proxy.script("other.example:443", tunnel_to(peer.port))
        assert fetch("https://other.example/nothing", private_networks=()).status == 404
    assert [request.method for request in proxy.requests] == ["CONNECT"]


def test_loopback_and_named_hosts_need_no_proxy(proxy: BadUpstream) -> None:
    with bad_upstream.upstream() as other:
        other.script("/path", bad_upstream.file(BODY))
        assert fetch(f"http://{other.host}/path").body == BODY
        with pytest.raises(PrivateAddress):
            fetch(f"http://{other.host}/path", private_networks=())
    with pytest.raises(http_client.RequestFailed, match="NameResolutionError"):
        fetch("http://host.internal/")
    assert proxy.requests == []


def test_s3_on_this_machine_needs_no_proxy(proxy: BadUpstream, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with bad_upstream.upstream() as other:
        for host in (other.host, "s3.example"):
            options = {"endpoint_url": f"http://{host}", "bucket_name": "bucket", "region_name": "us-east-1"}
            backend = {"BACKEND": "registry_site.storage.s3.S3Blobs", "OPTIONS": options}
            settings.STORAGES = {**settings.STORAGES, "blobs": backend}
            with pytest.raises(Unavailable, match=r"refuses us \(404\)"):
                blobs.Blob("0" * 64, 1).read()
        assert [len(peer.requests) for peer in (other, proxy)] == [1, 1]
    assert proxy.requests[0].path.startswith("http://s3.example/bucket/")
