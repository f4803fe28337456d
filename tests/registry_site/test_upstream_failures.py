"""Failures of other servers: the kind of each, and its line of the log."""

import logging
import smtplib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.session import get_session

from registry_site import http_client
from registry_site.upstream_failures import FailureKind, kind_of, logged_failure
from tests.support import bad_upstream
from tests.support.bad_provider import running_provider
from tests.support.log_lines import request_failures
from tests.support.servers import certificate, free_port

pytestmark = pytest.mark.database_independent


def fetch(url: str, seconds: float = 5, max_bytes: int = 10**9) -> http_client.Response:
    return http_client.fetch("GET", url, seconds=seconds, max_bytes=max_bytes)


def kind_of_failure(url: str, seconds: float = 5, max_bytes: int = 10**9) -> FailureKind:
    with pytest.raises(http_client.RequestFailed) as failure:
        fetch(url, seconds, max_bytes)
    assert kind_of(failure.value) is failure.value.kind
    return failure.value.kind


def test_server_that_is_not_there_is_unreachable() -> None:
    urls = [f"http://127.0.0.1:{free_port()}/", "http://nobody.invalid/"]
    assert [kind_of_failure(url) for url in urls] == [FailureKind.UNREACHABLE] * 2


def test_certificate_of_an_unknown_authority_is_untrusted(tmp_path: Path) -> None:
    certificate(tmp_path / "tls")
    with running_provider(tmp_path / "tls") as provider:
        assert kind_of_failure(provider.issuer) is FailureKind.UNTRUSTED


def test_certificate_of_another_host_is_untrusted(tmp_path: Path, settings: Any) -> None:
    certificate(tmp_path / "tls")
    settings.CA_FILE = tmp_path / "tls" / "ca.pem"
    with running_provider(tmp_path / "tls") as provider:
        assert kind_of_failure(f"https://localhost:{provider.port}") is FailureKind.UNTRUSTED


def test_late_answer_has_a_kind_of_its_own() -> None:
    slow = (bad_upstream.hang, bad_upstream.dripping_head, bad_upstream.dripping_body, bad_upstream.endless)
    kinds = {}
    with bad_upstream.upstream() as server:
        for behaviour in slow:
            server.script("/", behaviour)
            kinds[behaviour.__name__] = kind_of_failure(f"http://{server.host}/", seconds=0.3)
    assert set(kinds.values()) == {FailureKind.LATE}, kinds


def test_connection_that_is_never_taken_is_late() -> None:
    with bad_upstream.full_backlog() as url:
        assert kind_of_failure(url, seconds=0.3) is FailureKind.LATE


def test_broken_answer_is_unusable(tmp_path: Path) -> None:
    broken = (bad_upstream.reset, bad_upstream.not_http, bad_upstream.truncated(b"x"), bad_upstream.file(bytes(2000)))
    kinds: dict[Any, FailureKind] = {}
    with bad_upstream.upstream() as server:
        for number, behaviour in enumerate(broken):
            server.script("/", behaviour)
            kinds[number] = kind_of_failure(f"http://{server.host}/", max_bytes=1000)
        kinds["no TLS"] = kind_of_failure(f"https://{server.host}/")
    assert set(kinds.values()) == {FailureKind.UNUSABLE}, kinds


def test_errors_of_botocore_have_kinds() -> None:
    def list_buckets(url: str) -> FailureKind:
        once = Config(connect_timeout=0.3, read_timeout=0.3, retries={"total_max_attempts": 1})
        credentials: dict[str, Any] = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        client: Any = get_session().create_client("s3", "us-east-1", endpoint_url=url, config=once, **credentials)
        with pytest.raises(Exception, match=r".+") as failure:
            client.list_buckets()
        return kind_of(failure.value)

    with bad_upstream.upstream() as server:
        server.script("/", bad_upstream.hang)
        assert list_buckets(f"http://{server.host}") is FailureKind.LATE
    assert list_buckets(f"http://127.0.0.1:{free_port()}") is FailureKind.UNREACHABLE


def test_errors_of_smtplib_have_kinds() -> None:
    with pytest.raises(OSError, match="refused") as failure:
        smtplib.SMTP("127.0.0.1", free_port(), timeout=5)
    assert kind_of(failure.value) is FailureKind.UNREACHABLE
    with bad_upstream.full_backlog() as url, pytest.raises(TimeoutError) as failure:
        smtplib.SMTP("127.0.0.1", int(url.strip("/").rpartition(":")[2]), timeout=0.3)
    assert kind_of(failure.value) is FailureKind.LATE


def test_failure_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with suppress(http_client.RequestFailed), logged_failure("mirror", "index", "127.0.0.1:1", path="/a") as line:
        line["status"] = 200
        fetch("http://127.0.0.1:1/a?secret")
    (failure,) = request_failures(caplog)
    assert failure.pop("cause").endswith("Failed to establish a new connection: [Errno 111] Connection refused")
    assert failure == {
        "service": "mirror",
        "step": "index",
        "host": "127.0.0.1:1",
        "path": "/a",
        "status": 200,
        "failure": "not reached",
    }
    assert [record.levelno for record in caplog.records if hasattr(record, "fields")] == [logging.WARNING]


def test_success_is_no_line(caplog: pytest.LogCaptureFixture) -> None:
    with logged_failure("mirror", "index", "127.0.0.1"):
        pass
    assert request_failures(caplog) == []
