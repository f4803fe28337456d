"""Processor time of READMEs: hostile ones in parts of several sizes, as many as are rendered, and those of a folder.

.venv/bin/python -m benchmarks.readmes [FOLDER]
"""

import sys
import time
from pathlib import Path

from benchmarks.table import columns
from registry_site.markdown import render_readme
from registry_site.markdown.limits import MAX_BLOCK_CHARACTERS, MAX_TEXT_BYTES
from tests.support.hostile_readmes import MAKERS

SHOWN = 10
PART_SIZES = (1024, 4096, MAX_BLOCK_CHARACTERS, MAX_TEXT_BYTES)
LIMIT = 0.5


def measure(text: str) -> tuple[float, str]:
    """Return the seconds that a README takes, and what became of it."""
    start = time.process_time()
    html = render_readme(text, "README.md", "https://github.com/alice/tool")
    seconds = time.process_time() - start
    return seconds, "text" if html.startswith("<pre>") and html.count("<") == 2 else f"HTML, {len(html)} characters"


def report(readmes: dict[str, str]) -> float:
    """Print the slowest of some READMEs; return the seconds of the slowest."""
    rows = sorted(((*measure(text), name) for name, text in readmes.items()), reverse=True)
    mean = sum(seconds for seconds, _, _ in rows) / len(rows)
    print(columns([("seconds", "shown as", "README"), *((f"{s:.3f}", shown, name) for s, shown, name in rows[:SHOWN])]))
    print(f"{len(rows)} READMEs, {mean * 1000:.1f} ms on average, {sum(row[1] == 'text' for row in rows)} as text\n")
    return rows[0][0]


def main() -> None:
    measure("# a\n\n```rust\nfn main() {}\n```")  # loads the lexers
    slowest = report(
        {
            f"{name}, parts of {size} bytes": "\n\n".join([make(size - 2)] * (MAX_TEXT_BYTES // size))
            for name, make in MAKERS.items()
            for size in PART_SIZES
        }
    )
    if len(sys.argv) > 1:
        paths = sorted(Path(sys.argv[1]).glob("**/*.md"))
        report({path.name: path.read_text(errors="replace") for path in paths})
    if slowest > LIMIT:
        sys.exit(f"A hostile README took {slowest:.3f} s, more than {LIMIT} s.")


if __name__ == "__main__":
    main()
