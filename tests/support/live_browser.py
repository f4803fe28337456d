"""A signed-in browser of a running server."""

import json
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from typing import Any

from tests.support.cast import PASSWORD
from tests.support.concurrency import Response
from tests.support.servers import Server


class LiveBrowser:
    """A new account's session on a running server; usable from several threads at once."""

    def __init__(self, server: Server, name: str) -> None:
        server.sign_up(name)
        self.server = server
        self.cookie = ""
        login = json.dumps({"username": name, "password": PASSWORD}).encode()
        cookies, _, _ = self._request("POST", "/login", login, "application/json")
        self.cookie = SimpleCookie(cookies)["registry_session"].OutputString([])

    def send(self, method: str, path: str, **body: Any) -> Response:
        _, status, content = self._request(method, path, json.dumps(body).encode(), "application/json")
        return Response(status, json.loads(content or b"{}"))

    def post_form(self, path: str, form: bytes, content_type: str) -> int:
        """Send an encoded form; return the status."""
        return self._request("POST", path, form, content_type)[1]

    def _request(self, method: str, path: str, body: bytes, content_type: str) -> tuple[str, int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        headers = {"Content-Type": content_type, "Origin": self.server.url}
        try:
            connection.request(method, path, body, headers | ({"Cookie": self.cookie} if self.cookie else {}))
            response = connection.getresponse()
            return response.getheader("Set-Cookie", ""), response.status, response.read()
        finally:
            connection.close()
