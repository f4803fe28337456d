"""Table of measurements: the registry, nginx, and the ratio of the two."""

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = ("measure", "Entrepot", "nginx", "ratio")


@dataclass(frozen=True)
class Row:
    """One measurement; `theirs` is None if nginx has no counterpart."""

    measure: str
    ours: float
    theirs: float | None = None

    def cells(self) -> tuple[str, str, str, str]:
        if self.theirs is None:
            return self.measure, _number(self.ours), "-", "-"
        return self.measure, _number(self.ours), _number(self.theirs), f"{_number(self.ours / self.theirs)}x"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def render(rows: Sequence[Row]) -> str:
    return columns([HEAD, *(row.cells() for row in rows)])


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Align the columns, all but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def _number(value: float) -> str:
    """Format with three significant digits, and all digits before the point."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f}"
