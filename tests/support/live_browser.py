"""A signed-in browser of a running server."""

import json
from http.client import HTTPConnection, HTTPMessage
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from tests.support.admin import FormFields
from tests.support.cast import PASSWORD
from tests.support.concurrency import Response
from tests.support.servers import Server


class LiveBrowser:
    """A new account's session on a running server; usable from several threads at once."""

    def __init__(self, server: Server, name: str) -> None:
        server.sign_up(name)
        self.server, self.name = server, name
        self.cookie = ""
        login = json.dumps({"username": name, "password": PASSWORD}).encode()
        headers, _, _ = self._request("POST", "/login", login, "application/json")
        self.cookie = cookies_of(headers)

    def send(self, method: str, path: str, **body: Any) -> Response:
        _, status, content = self._request(method, path, json.dumps(body).encode(), "application/json")
        return Response(status, json.loads(content or b"{}"))

    def post_form(self, path: str, form: bytes, content_type: str) -> int:
        """Send an encoded form; return the status."""
        return self._request("POST", path, form, content_type)[1]

    def get_page(self, path: str) -> tuple[HTTPMessage, str]:
        """Return the headers and the text of a page."""
        headers, _, content = self._request("GET", path, b"", "text/plain", Accept="text/html")
        return headers, content.decode()

    def submit(self, page: str, path: str, **fields: str) -> str:
        """Send a form with the CSRF token of a page; return where the answer leads."""
        headers, text = self.get_page(page)
        form = urlencode({"csrfmiddlewaretoken": FormFields(text).values["csrfmiddlewaretoken"], **fields}).encode()
        cookie = f"{self.cookie}; {cookies_of(headers)}"
        kind = "application/x-www-form-urlencoded"
        answer, _, _ = self._request("POST", path, form, kind, Accept="text/html", Cookie=cookie)
        return str(answer["Location"])

    def _request(
        self, method: str, path: str, body: bytes, content_type: str, **more: str
    ) -> tuple[HTTPMessage, int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        headers = {"Content-Type": content_type, "Origin": self.server.url}
        headers |= ({"Cookie": self.cookie} if self.cookie else {}) | more
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.headers, response.status, response.read()
        finally:
            connection.close()


def cookies_of(headers: HTTPMessage) -> str:
    """Return the cookies of an answer as a request sends them."""
    cookies = SimpleCookie("; ".join(headers.get_all("Set-Cookie", [])))
    return "; ".join(morsel.OutputString([]) for morsel in cookies.values())
