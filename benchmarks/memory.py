"""Memory of a server: the proportional set size of all its processes, in which shared pages are divided."""

import re
from pathlib import Path

PROC = Path("/proc")


def megabytes(root: int) -> float:
    """Return the PSS of a process and all its descendants, in units of 1,000,000 bytes."""
    return sum(_pss(pid) for pid in descendants(root)) / 1e6


def _pss(pid: int) -> int:
    match = re.search(r"^Pss: +(\d+) kB", (PROC / str(pid) / "smaps_rollup").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def descendants(root: int) -> set[int]:
    """Return the ids of a process and of all that come from it."""
    parents = {int(entry.name): _parent(entry) for entry in PROC.iterdir() if entry.name.isdigit()}
    family: set[int] = set()
    newcomers = {root}
    while newcomers:
        family |= newcomers
        newcomers = {pid for pid, parent in parents.items() if parent in family} - family
    return family


def _parent(entry: Path) -> int:
    try:
        # The name of a program stands in parentheses and can contain anything, also a parenthesis.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0  # the process has ended
