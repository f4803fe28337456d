"""What names of clients, categories and paths may be. Pure."""

import re

from registry_site.errors import Invalid, Malformed

LONGEST_CLIENT = 100
LONGEST_CATEGORY = 200
LONGEST_PATH = 2000  # bytes; an index of PostgreSQL holds no more
CLIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def check_client(name: str) -> None:
    """Raises `Invalid`."""
    if not CLIENT.fullmatch(name) or len(name) > LONGEST_CLIENT:
        raise Invalid(
            f"{name[:LONGEST_CLIENT]!r} cannot be the name of a client: give up to {LONGEST_CLIENT} letters, digits "
            "and . _ @ -, the first of them a letter or a digit."
        )


def check_serve_path(path: str) -> None:
    """A path below whatever directory a receiver chooses, and never out of it; raises `Malformed`."""
    if len(path.encode()) > LONGEST_PATH:
        raise Malformed(f"`serve_path` is longer than {LONGEST_PATH} bytes.")
    if "\\" in path or _UNSEEN.search(path):
        raise Malformed("`serve_path` must have no backslash and no control character.")
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise Malformed("`serve_path` must be relative, such as weather/today.txt, without empty parts, `.` and `..`.")
