"""The password of the test users, and a client that sends requests as cargo does."""

from typing import Any

from django.test import Client

from accounts.credentials import cargo_tokens
from accounts.models import User
from tests.support import servers

PASSWORD = servers.PASSWORD


class CargoClient(Client):
    """A client like cargo: a bare token in `Authorization`, JSON both ways."""

    def __init__(self, user: User | None = None, token: str | None = None) -> None:
        self.token = cargo_tokens.rotate_default(user).text if user else token
        headers = {"Authorization": self.token} if self.token else {}
        super().__init__(headers=headers, raise_request_exception=False)

    def put_json(self, path: str, data: Any) -> Any:
        return self.put(path, data, content_type="application/json")

    def delete_json(self, path: str, data: Any) -> Any:
        return self.delete(path, data, content_type="application/json")

    def publish(self, body: bytes) -> Any:
        return self.put("/api/v1/crates/new", body, content_type="application/octet-stream")
