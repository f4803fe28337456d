"""Authorities of the operator, trusted by every way out. The OpenID provider's is in tests/accounts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from registry_site import http_client
from registry_site.environment import parse_cache_url
from registry_site.errors import Unavailable
from registry_site.http_client import RequestFailed
from registry_site.mail import EmailBackend
from registry_site.storage import blobs
from tests.support.bad_provider import BadProvider, running_provider
from tests.support.log_lines import request_failures
from tests.support.redis import redis_server
from tests.support.servers import certificate

pytestmark = pytest.mark.database_independent


@pytest.fixture
def peer(settings: Any, tmp_path: Path) -> Iterator[BadProvider]:
    """A server with a certificate of an authority that the registry trusts."""
    certificate(tmp_path / "tls")
    settings.CA_FILE = tmp_path / "tls" / "ca.pem"
    with running_provider(tmp_path / "tls") as peer:
        yield peer


def test_requests_trust_the_authority(peer: BadProvider, settings: Any) -> None:
    url = f"{peer.issuer}/nothing"
    assert http_client.fetch("GET", url, seconds=5, max_bytes=100_000).status == 404
    settings.CA_FILE = None
    http_client._pools.clear()
    with pytest.raises(RequestFailed, match="CERTIFICATE_VERIFY_FAILED"):
        http_client.fetch("GET", url, seconds=5, max_bytes=100_000)


def test_s3_trusts_the_authority(peer: BadProvider, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    for authority, failure in ((settings.CA_FILE, r"refuses us \(404\)"), (None, "does not answer")):
        settings.CA_FILE = authority
        options = {"endpoint_url": peer.issuer, "bucket_name": "bucket", "region_name": "us-east-1"}
        backend = {"BACKEND": "registry_site.storage.s3.S3Blobs", "OPTIONS": options}
        settings.STORAGES = {**settings.STORAGES, "blobs": backend}
        with pytest.raises(Unavailable, match=failure):
            blobs.Blob("0" * 64, 1).read()


def test_redis_by_tls_trusts_the_authority(settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate(tmp_path / "tls")
    with redis_server(tmp_path / "tls") as url:
        options = parse_cache_url(url)
        settings.CACHES = {**settings.CACHES, "rate_limits": options}
        with pytest.raises(Unavailable):
            caches["rate_limits"].add("number", 1)
        (line,) = request_failures(caplog)
        assert (line["service"], line["host"]) == ("cache", url.split("/")[2])
        assert line["failure"] == "certificate not trusted"
        settings.CA_FILE = tmp_path / "tls" / "ca.pem"
        settings.CACHES = {**settings.CACHES, "rate_limits": options}  # opens it anew
        assert caches["rate_limits"].add("number", 1)


def test_mail_trusts_the_authority(peer: BadProvider) -> None:
    context = EmailBackend().ssl_context
    assert "trustme" in str([authority["subject"] for authority in context.get_ca_certs()])
