"""TLS: the header that keeps browsers on it, and cookies that only this host can set."""

import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from django.test import Client

from tests.support.servers import PASSWORD, certificate, running

NAMES = ("registry_session", "csrftoken")
HEADER = "Strict-Transport-Security"


@pytest.mark.database_independent
def test_server_with_tls_keeps_browsers_on_it(tmp_path: Path) -> None:
    with running(tmp_path / "data", **certificate(tmp_path / "tls")) as server:
        server.sign_up("alice")
        body = json.dumps({"username": "alice", "password": PASSWORD}).encode()
        log_in = Request(f"{server.url}/login", body, {"Content-Type": "application/json"})
        with urlopen(log_in, context=server.tls()) as answer:
            cookies = answer.headers.get_all("Set-Cookie")
            assert answer.headers[HEADER] == "max-age=31536000"
        with urlopen(f"{server.url}/static/admin/css/base.css", context=server.tls()) as static:
            assert static.headers[HEADER] == "max-age=31536000"
        session, csrf = (next(cookie for cookie in cookies if cookie.startswith(f"__Host-{name}=")) for name in NAMES)
        for cookie in (session, csrf):
            assert {"Secure", "Path=/"} <= set(cookie.split("; "))
            assert "Domain=" not in cookie
        pair = "; ".join(cookie.partition(";")[0] for cookie in (session, csrf))
        key = Request(
            f"{server.url}/settings/appids", b'{"type": "ALL"}', {"Content-Type": "application/json", "Cookie": pair}
        )
        with urlopen(key, context=server.tls()) as answer:
            assert answer.status == 200


def test_header_needs_a_public_url_with_tls(db: None, settings: Any) -> None:
    assert HEADER not in Client().get("/health").headers
    settings.PUBLIC_URL = "https://testserver"
    for path, status in (("/health", 200), ("/nothing", 404), ("/%00", 400)):
        answer = Client(raise_request_exception=False).get(path)
        assert (answer.status_code, answer.headers[HEADER]) == (status, "max-age=31536000"), path
