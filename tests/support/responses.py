"""Reading responses."""

from typing import Any


def answer_of(response: Any) -> tuple[int, Any]:
    """Return the status and the JSON of a response."""
    return response.status_code, response.json()
