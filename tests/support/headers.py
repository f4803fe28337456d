"""Headers of answers, to compare."""

from typing import Any


def comparable_headers(response: Any) -> tuple[tuple[str, str], ...]:
    """Return the sorted headers without the id, which is different in each answer."""
    return tuple(sorted(item for item in response.headers.items() if item[0] != "X-Request-ID"))
