"""Files inside and outside of a root, which differ in nothing but their bytes."""

import os
from pathlib import Path

INSIDE = b"inside, for all to see"
OUTSIDE = b"OUTSIDE, to be hidden!"  # of the same size
TIME_NS = 1_700_000_000_123_456_789
SWAPS = 2000
GONE = "File does not exist."
CHANGED = "The file has changed since it was registered; a client that may write has to update its entry."


def write_file(path: Path, content: bytes = INSIDE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(TIME_NS, TIME_NS))
    return path


def create_link(link: Path, target: Path | str) -> Path:
    link.symlink_to(target)
    return link


def exchange_names(first: Path, second: Path) -> None:
    aside = first.parent / "aside"
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
