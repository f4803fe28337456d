"""Clients of the file registry, in the test process and against a running server."""

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client as HTTPClient
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from tests.support.servers import Server

KEY = b"This is a key123"


READER_KEY = bytes(range(32))


def encrypt_challenge(key: bytes, challenge: dict[str, Any]) -> bytes:
    """What a client makes of a challenge: AES in CBC mode without padding, by code that is not the registry's."""
    encryptor = Cipher(AES(key), CBC(challenge["cipher_iv"].encode())).encryptor()
    return encryptor.update(challenge["text"].encode()) + encryptor.finalize()


class FileClient(HTTPClient):
    """Sends forms that do not say that they are forms; `token`, once there is one, goes with every request."""

    def __init__(self, name: str, key: bytes) -> None:
        super().__init__(raise_request_exception=False)
        self.name, self.key, self.token = name, key, ""

    def ask(self, method: str, path: str, parameters: dict[str, Any] | None = None, **more: Any) -> Any:
        """Parameters go in the query of GET, HEAD and DELETE, and else in a body without a Content-Type."""
        given = ({"session_token": self.token} if self.token else {}) | (parameters or {})
        if method in ("GET", "HEAD", "DELETE"):
            return self.generic(method, f"{path}?{urlencode(given)}", **more)
        return self.generic(method, path, urlencode(given), content_type="", **more)

    def challenge(self) -> dict[str, Any]:
        challenge: dict[str, Any] = self.ask("POST", "/auth", {"client_name": self.name}).json()["challenge"]
        return challenge

    def answer(self, challenge: dict[str, Any], **changes: Any) -> Any:
        """The right answer to a challenge, but for `changes`; those that are None are left out."""
        right = {
            "client_name": self.name,
            "id": challenge["id"],
            "encrypted_text": encrypt_challenge(self.key, challenge),
        }
        given = {name: value for name, value in {**right, **changes}.items() if value is not None}
        return self.ask("POST", "/auth_verify", given)

    def log_in(self, **changes: Any) -> str:
        """A new session → its token, which is used from now on."""
        self.token = ""
        self.token = self.answer(self.challenge(), **changes).json()["session"]["token"]
        return self.token


def failure(message: str) -> dict[str, Any]:
    return {"success": False, "error": message, "message": message}


def upload_file(
    machine: FileClient, method: str, where: str, content: bytes, /, name: str = "a.txt", **fields: Any
) -> Any:
    """An upload, with the token in the query."""
    parts = encode_multipart(BOUNDARY, {**fields, "file": SimpleUploadedFile(name, content)})
    return machine.generic(method, f"{where}?session_token={machine.token}", parts, content_type=MULTIPART_CONTENT)


class LiveFileClient:
    """A client of a running server, with a session; each request has a connection of its own."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.token = server, ""
        key_file = server.data.parent / f"{name}.key"
        key_file.write_bytes(KEY)
        server.manage("addclient", name, "--key-file", str(key_file))
        challenge = self.ask("POST", "/auth", client_name=name)["challenge"]
        text = encrypt_challenge(KEY, challenge).hex()
        opened = self.ask("POST", "/auth_verify", client_name=name, id=challenge["id"], encrypted_text=text)
        self.token = opened["session"]["token"]

    def ask(self, method: str, where: str, /, **given: Any) -> dict[str, Any]:
        parameters = urlencode({**({"session_token": self.token} if self.token else {}), **given})
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            if method == "GET":
                connection.request(method, f"{where}?{parameters}")
            else:
                connection.request(method, where, parameters)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()
