"""Downloads of the recent days as a chart, which the server draws. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

BAR, GAP, HEIGHT = 3, 1, 56  # in units of the drawing
DAYS_OF_WEEK = 7


@dataclass(frozen=True)
class Week:
    """Downloads of seven days, or of fewer at the beginning."""

    first_day: date
    count: int


@dataclass(frozen=True)
class Chart:
    """A drawing of bars, one for each day, and what it shows in numbers."""

    width: int
    height: int
    path: str
    first_day: date
    last_day: date
    total: int
    most: int
    weeks: Sequence[Week]


def draw(counts: Sequence[tuple[date, int]], today: date, days: int) -> Chart:
    """Return the chart of the `days` that end today; days without a count have no bar."""
    by_day = dict(counts)
    shown = [today - timedelta(days=back) for back in reversed(range(days))]
    most = max((by_day.get(day, 0) for day in shown), default=0)
    bars = []
    for position, day in enumerate(shown):
        if count := by_day.get(day, 0):
            height = max(1, round(HEIGHT * count / most))
            bars.append(f"M{position * (BAR + GAP)} {HEIGHT}v-{height}h{BAR}v{height}z")
    return Chart(
        width=days * (BAR + GAP) - GAP,
        height=HEIGHT,
        path="".join(bars),
        first_day=shown[0],
        last_day=shown[-1],
        total=sum(by_day.get(day, 0) for day in shown),
        most=most,
        weeks=[
            Week(week[0], sum(by_day.get(day, 0) for day in week))
            for end in range(days, 0, -DAYS_OF_WEEK)
            if (week := shown[max(0, end - DAYS_OF_WEEK) : end])
        ],
    )
