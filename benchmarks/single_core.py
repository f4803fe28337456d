"""Two servers on one core, and the load of each in turn on another: answers per second, and CPU time of an answer."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks import memory, wrk
from benchmarks.table import Row

SERVER_CORE, LOAD_CORE = 0, 1
ROUNDS, SECONDS = 3, 2


def compare(
    label: str, ours: Callable[[], tuple[float, float]], theirs: Callable[[], tuple[float, float]]
) -> Iterator[Row]:
    """Run the load of each server in turn; both return answers per second and microseconds of CPU."""
    results = [(ours(), theirs()) for _ in range(ROUNDS)]
    rates, costs = ([median(pair[n][kind] for pair in results) for n in range(2)] for kind in range(2))
    yield Row(f"{label}: requests/s", *rates)
    yield Row(f"{label}: µs of CPU for each", *costs)


def run_wrk(
    pid: int, url: str, paths: Sequence[str], etags: Sequence[str] = (), token: str = "", *, connections: int
) -> tuple[float, float]:
    """Return the answers per second, and the microseconds of CPU that the server took for each."""
    before = cpu_seconds(pid)
    rate = wrk.run(url, paths, etags, connections=connections, seconds=SECONDS, threads=1, token=token).answers
    return rate, (cpu_seconds(pid) - before) / (rate * SECONDS) * 1e6


def cpu_seconds(root: int) -> float:
    """Return the CPU time of a server's processes so far."""
    statistics = [path for pid in memory.descendants(root) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in statistics) / 1e9
