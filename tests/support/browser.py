"""A browser for the endpoints of yapkg, and bad bodies that each of them refuses."""

import json
from typing import Any

from django.test import Client

from accounts.models import User

ANONYMOUS = {"error": "no_credential", "message": "This needs you to log in first."}


NO_PATH = {"error": "not_found", "message": "There is nothing at this path."}


OK = {"status": "ok"}


class Browser(Client):
    """A browser that keeps its cookies. Each request states that a page of the registry sent it."""

    def __init__(self, user: User | None = None) -> None:
        super().__init__(
            enforce_csrf_checks=True, raise_request_exception=False, headers={"Origin": "http://testserver"}
        )
        if user:
            self.force_login(user)

    def send(self, method: str, path: str, **body: Any) -> Any:
        return self.generic(method, path, json.dumps(body), content_type="application/json")

    def change(self, **fields: Any) -> Any:
        return self.send("PATCH", "/settings/profile", **fields)

    def new_key(self, key_type: Any = "READ_ONLY") -> Any:
        return self.send("POST", "/settings/appids", type=key_type)


# Values that are no text, and why.
WRONG_TEXTS = (
    (None, "This field may not be null."),
    ("", "This field may not be blank."),
    (7, "Not a valid string."),
    (True, "Not a valid string."),
    (["x"], "Not a valid string."),
    ({"x": "y"}, "Not a valid string."),
)
BAD_BODIES = [
    (b'["alice"]', "Invalid data. Expected a dictionary, but got list."),
    (b'"alice"', "Invalid data. Expected a dictionary, but got str."),
    (b"17", "Invalid data. Expected a dictionary, but got int."),
    (b"null", "No data provided"),
    (b'{"type": "\\u0000"}', "A text contains a NUL character."),
    (b'{"type": "\\ud800"}', "A text contains half of a surrogate pair, which is no character."),
    (b'{"type": "\xff"}', "The JSON is not UTF-8."),
    (b'{"type": NaN}', "The JSON cannot be read: NaN is no JSON number."),
    (b'{"type": ' + b"9" * 5000 + b"}", "The JSON cannot be read: a number in it has too many digits."),
    (b"[" * 100_000, "The JSON is nested too deeply."),
    (b"[" * 40 + b"]" * 40, "The JSON is nested more than 32 deep."),
]


ALL_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
