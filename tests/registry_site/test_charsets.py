"""Charsets that decode no text: each API refuses them in its own shape, and the server does not fail."""

from http.client import HTTPConnection
from typing import Any

import pytest
from django.test import Client

from tests.support.servers import Server

CHARSETS = ("idna", "rot13", "rot_13", "ROT13", "undefined", "punycode", "hex", "base64", "zlib", "bz2", "quopri", "uu")
FORM = b'--x\r\nContent-Disposition: form-data; name="client_name"\r\n\r\nbox\xff\r\n--x--\r\n'
MESSAGE = "The charset in the Content-Type is none that a text can have; send UTF-8."
REFUSALS: dict[str, Any] = {
    "/auth": {"success": False, "error": MESSAGE, "message": MESSAGE},
    "/namespaces/acme/packages": {"error": "bad_request", "message": MESSAGE},
    "/api/v1/crates": {"errors": [{"detail": MESSAGE}]},
    "/v1/user/login": {"error": MESSAGE},
}


@pytest.mark.parametrize("charset", CHARSETS)
def test_unreadable_charset_is_a_bad_request(db: None, charset: str) -> None:
    client = Client(raise_request_exception=False)
    for path, refusal in REFUSALS.items():
        for method in ("GET", "POST"):
            answer = client.generic(method, path, FORM, f"multipart/form-data; boundary=x; charset={charset}")
            assert (answer.status_code, answer.json()) == (400, refusal), (method, path)


def test_pages_refuse_unreadable_charsets(db: None) -> None:
    for path in ("/admin/login/", "/health"):
        answer = Client(raise_request_exception=False).generic("POST", path, FORM, "multipart/form-data; charset=idna")
        assert answer.status_code == 400


def test_other_charsets_are_taken(db: None) -> None:
    for charset in ("utf-8", "UTF8", "latin-1", "us-ascii", "unheard-of"):
        answer = Client().generic("POST", "/auth", FORM, f"multipart/form-data; boundary=x; charset={charset}")
        assert (answer.status_code, answer.json()["success"]) == (200, True), charset


REFUSED_AT_THE_BEGIN = ["charset=idna", "charset=rot13", "charset*=nonsense''x", "charset*=idna''%C3%A9"]


@pytest.mark.parametrize("parameter", REFUSED_AT_THE_BEGIN)
def test_server_begins_no_request_with_it(server: Server, parameter: str) -> None:
    """Django reads the Content-Type, and the query by its charset, before any middleware."""
    for path in ("/auth?client_name=b%C3%BCx", "/api/v1/crates?q=x", "/health?a=b"):
        connection = HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", path, FORM, {"Content-Type": f"multipart/form-data; boundary=x; {parameter}"})
        answer = connection.getresponse()
        assert (answer.status, MESSAGE in answer.read().decode()) == (400, True), path
        connection.close()
