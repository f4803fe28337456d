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
    """Encrypt the text of a challenge, by other code than the registry's: AES in CBC mode without padding."""
    encryptor = Cipher(AES(key), CBC(challenge["cipher_iv"].encode())).encryptor()
    return encryptor.update(challenge["text"].encode()) + encryptor.finalize()


class FileClient(HTTPClient):
    """A client that sends forms without a Content-Type, as those of the original do, and its token with each."""

    def __init__(self, name: str, key: bytes) -> None:
        super().__init__(raise_request_exception=False)
        self.name, self.key, self.token = name, key, ""

    def send(self, method: str, path: str, parameters: dict[str, Any] | None = None, **options: Any) -> Any:
        """Send parameters in the query of GET, HEAD and DELETE, and else in the body."""
        encoded = urlencode(({"session_token": self.token} if self.token else {}) | (parameters or {}))
        if method in ("GET", "HEAD", "DELETE"):
            return self.generic(method, f"{path}?{encoded}", **options)
        return self.generic(method, path, encoded, content_type="", **options)

    def challenge(self) -> dict[str, Any]:
        challenge: dict[str, Any] = self.send("POST", "/auth", {"client_name": self.name}).json()["challenge"]
        return challenge

    def answer(self, challenge: dict[str, Any], **changes: Any) -> Any:
        """Send the right answer to a challenge, but for `changes`; fields that are None are left out."""
        right = {
            "client_name": self.name,
            "id": challenge["id"],
            "encrypted_text": encrypt_challenge(self.key, challenge),
        }
        fields = {name: value for name, value in {**right, **changes}.items() if value is not None}
        return self.send("POST", "/auth_verify", fields)

    def log_in(self, **changes: Any) -> str:
        """Open a session for the next requests, and return its token."""
        self.token = ""
        self.token = self.answer(self.challenge(), **changes).json()["session"]["token"]
        return self.token


def failure(message: str) -> dict[str, Any]:
    return {"success": False, "error": message, "message": message}


def upload_file(
    machine: FileClient, method: str, path: str, content: bytes, /, name: str = "a.txt", **fields: Any
) -> Any:
    """Send a file in a multipart form, with the token in the query."""
    parts = encode_multipart(BOUNDARY, {**fields, "file": SimpleUploadedFile(name, content)})
    return machine.generic(method, f"{path}?session_token={machine.token}", parts, content_type=MULTIPART_CONTENT)


class LiveFileClient:
    """A client of a running server, with a session. Each request has a connection of its own."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.token = server, ""
        key_file = server.data.parent / f"{name}.key"
        key_file.write_bytes(KEY)
        server.manage("addclient", name, "--key-file", str(key_file))
        challenge = self.send("POST", "/auth", client_name=name)["challenge"]
        text = encrypt_challenge(KEY, challenge).hex()
        answer = self.send("POST", "/auth_verify", client_name=name, id=challenge["id"], encrypted_text=text)
        self.token = answer["session"]["token"]

    def send(self, method: str, url: str, /, **parameters: Any) -> dict[str, Any]:
        encoded = urlencode({**({"session_token": self.token} if self.token else {}), **parameters})
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            if method == "GET":
                connection.request(method, f"{url}?{encoded}")
            else:
                connection.request(method, url, encoded)
            body: dict[str, Any] = json.loads(connection.getresponse().read())
            return body
        finally:
            connection.close()
