"""Highest request rate of a server, measured by wrk."""

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.programs import path_of

THREADS = 2

SCRIPT = """
local paths, etags, token = {{ {paths} }}, {{ {etags} }}, {token}
local requests, last = {{}}, 0
init = function()
    for i, path in ipairs(paths) do
        requests[i] = wrk.format("GET", path, {{["If-None-Match"] = etags[i], ["Authorization"] = token}})
    end
end
request = function()
    last = last % #requests + 1
    return requests[last]
end
done = function(summary)
    local e = summary.errors
    local failures = e.connect + e.read + e.write + e.status + e.timeout
    io.write(string.format("answers=%d bytes=%d microseconds=%d failures=%d\\n",
        summary.requests, summary.bytes, summary.duration, failures))
end
"""


@dataclass(frozen=True)
class Rate:
    """Answers and bytes of one server per second."""

    answers: float
    bytes: float


def run(
    url: str,
    paths: Sequence[str],
    etags: Sequence[str] = (),
    *,
    connections: int,
    seconds: int,
    threads: int = THREADS,
    token: str = "",
) -> Rate:
    """GET the paths in turn, with ETags and a token if there are any; raises `RuntimeError` at any failure."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT.format(paths=_lua(paths), etags=_lua(etags), token=_lua([token] if token else []) or "nil"))
        script.flush()
        command = [path_of("wrk"), f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    match = re.search(r"answers=(\d+) bytes=(\d+) microseconds=(\d+) failures=(\d+)", output)
    if match is None or match[4] != "0" or match[1] == "0":
        raise RuntimeError(f"wrk met failures:\n{output}")
    answers, size, microseconds = (int(number) for number in match.groups()[:3])
    return Rate(answers / microseconds * 1e6, size / microseconds * 1e6)


def _lua(texts: Sequence[str]) -> str:
    """Write a Lua list of ASCII texts: strings of JSON are strings of Lua."""
    return ",".join(json.dumps(text) for text in texts)
