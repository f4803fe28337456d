"""Rules for names of clients and for serve paths. Pure."""

import re

from registry_site.errors import Invalid, Malformed

MAX_CLIENT_NAME_LENGTH = 100
MAX_CATEGORY_LENGTH = 200
MAX_PATH_BYTES = 2000  # PostgreSQL refuses index rows over 2704 bytes
CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # with those of bidi


def check_client_name(name: str) -> None:
    """Raise `Invalid` for a name that no client may have."""
    if not CLIENT_NAME.fullmatch(name) or len(name) > MAX_CLIENT_NAME_LENGTH:
        raise Invalid(
            f"{name[:MAX_CLIENT_NAME_LENGTH]!r} cannot be the name of a client: "
            f"give up to {MAX_CLIENT_NAME_LENGTH} letters, digits and . _ @ -, the first of them a letter or a digit."
        )


def check_serve_path(path: str) -> None:
    """Raise `Malformed` for a path that could lead out of the directory that a receiver chooses."""
    if len(path.encode()) > MAX_PATH_BYTES:
        raise Malformed(f"`serve_path` is longer than {MAX_PATH_BYTES} bytes.")
    # A receiver on Windows takes a backslash for a separator; control characters can hide parts of a path in a log.
    if "\\" in path or CONTROL_CHARACTERS.search(path):
        raise Malformed("`serve_path` must have no backslash and no control character.")
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise Malformed("`serve_path` must be relative, such as weather/today.txt, without empty parts, `.` and `..`.")
