"""Mail servers that are slow: they keep the thread of the outbox no longer than a deadline."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core.mail import send_mail

from registry_site import mail
from tests.support.bad_upstream import full_backlog
from tests.support.log_lines import request_failures

pytestmark = pytest.mark.database_independent


@contextmanager
def dripping_server() -> Iterator[int]:
    """A mail server whose greeting, also by TLS, has no end; the value is its port."""

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            is_tls = connection.recv(1, socket.MSG_DONTWAIT) if select.select([connection], [], [], 0.1)[0] else b""
            connection.sendall(b"\x16\x03\x03\x40\x00" if is_tls else b"")  # the head of a long record
            while True:
                connection.sendall(b"\x02" if is_tls else b"220-wait\r\n")
                time.sleep(0.1)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def slow_mail(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(mail, "SECONDS", 1)
    settings.EMAIL_BACKEND = "registry_site.mail.EmailBackend"
    with dripping_server() as port:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        yield


def send() -> None:
    send_mail("subject", "text", None, ["dora@example.com"])


@pytest.mark.usefixtures("slow_mail")
@pytest.mark.parametrize("has_tls", [False, True])
def test_dripping_server_is_left_at_the_deadline(settings: Any, caplog: Any, has_tls: bool) -> None:
    settings.EMAIL_USE_SSL = has_tls
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        send()
    assert time.monotonic() - began < 30  # the server never ends
    (line,) = request_failures(caplog)
    assert (line["service"], line["host"], line["failure"]) == ("mail", "127.0.0.1", "took too long")


@pytest.mark.usefixtures("slow_mail")
def test_deadline_holds_for_all_addresses_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name can have many, behind a firewall that drops packets."""
    with full_backlog() as url:
        address = ("127.0.0.1", int(url.strip("/").rpartition(":")[2]))
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address)] * 60  # a second each, without the deadline
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: addresses)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            send()
        assert time.monotonic() - began < 30


@pytest.mark.usefixtures("slow_mail")
def test_deadline_holds_for_the_look_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    may_answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: may_answer.wait(60) and [])
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        send()
    assert time.monotonic() - began < 30
    may_answer.set()
    assert request_failures(caplog)[0]["failure"] == "took too long"
