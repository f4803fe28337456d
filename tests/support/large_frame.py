"""A call on a large piece of stack.

Python 3.11 keeps its frames in chunks of 16 KB. A call at the edge of a chunk maps the next one, and its return unmaps
that again: hundreds of times in a request of Django, a third of the time of many tests. The chunk that holds a frame
with very many variables is so large that the calls below it stay inside.
"""

from collections.abc import Callable
from typing import Any

VARIABLES = 40_000

_names = " = ".join(f"v{number}" for number in range(VARIABLES))
_namespace: dict[str, Any] = {}
exec(
    f"def call(function, arguments, never=False):\n if never:\n  {_names} = None\n return function(**arguments)",
    _namespace,
)


def in_large_frame(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls another in a frame with very many variables."""
    return lambda **arguments: _namespace["call"](function, arguments)
