"""Diffs of lines: right, short where that is cheap, and bounded for hostile texts."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, strategies

from crates.package import line_diff
from crates.package.line_diff import Comparison, Line, Work

pytestmark = pytest.mark.database_independent

TEXTS = strategies.lists(strategies.sampled_from(["a", "b", "c", "d", ""]), max_size=30)
COUNT = 20_000


def compare(old: Sequence[str], new: Sequence[str]) -> list[Line]:
    return line_diff.compare(old, new, Work())


@given(TEXTS, TEXTS)
def test_lines_make_both_texts_again(old: list[str], new: list[str]) -> None:
    lines = compare(old, new)
    assert [(line.old, line.text) for line in lines if line.old] == list(enumerate(old, 1))
    assert [(line.new, line.text) for line in lines if line.new] == list(enumerate(new, 1))


@given(TEXTS, TEXTS)
def test_hunks_have_all_changes_once(old: list[str], new: list[str]) -> None:
    lines = compare(old, new)
    changed = [line for hunk in line_diff.hunks(lines) for line in hunk.lines if line.sign != " "]
    assert changed == [line for line in lines if line.sign != " "]


def test_few_lines_stand_around_changes() -> None:
    old = [str(number) for number in range(40)]
    new = [*old[:10], "new", *old[11:30], *old[31:]]
    first, second = line_diff.hunks(compare(old, new))
    assert "".join(line.sign for line in first.lines) == "   -+   "
    assert (first.title, second.title) == ("@@ -8,7 +8,7 @@", "@@ -28,7 +28,6 @@")


def test_repeated_lines_are_matched_shortly() -> None:
    old = ["{", "}", "", "{", "}", "", "{", "}"]
    assert sum(line.sign != " " for line in compare(old, [*old[:3], "{", "}", "", *old[3:]])) == 3


class Counted(int):
    """The number of a line that counts how often such numbers are compared."""

    comparisons = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return int.__eq__(self, other) is True


def hostile_texts() -> dict[str, tuple[list[int], list[int]]]:
    random = Random(18)
    rising = list(range(COUNT))
    return {
        "equal lines": ([0] * COUNT, [0] * (COUNT - 7)),
        "distinct lines": (rising, [-number for number in rising]),
        "reversed": (rising, rising[::-1]),
        "shuffled": (rising, random.sample(rising, COUNT)),
        "two lines": (random.choices((1, 2), k=COUNT), random.choices((1, 2), k=COUNT)),
        "few lines": (random.choices(range(200), k=COUNT), random.choices(range(200), k=COUNT)),
        "shifted": ([0, 1] * (COUNT // 2), [1, 0, 0] * (COUNT // 3)),
        # Each line but the last stands twice, until the text behind it is divided off.
        "one line divides at a time": (
            [line for n in range(COUNT // 4) for line in (n, n - 1)],
            [line for n in range(COUNT // 4) for line in (n, -n - 9, n - 1, -n - 9 - COUNT)],
        ),
        "nested pairs": ([n // 2 for n in rising], [n // 2 for n in reversed(rising)]),
    }


def test_work_grows_as_hostile_texts_do() -> None:
    comparisons = {}
    for name, (old, new) in hostile_texts().items():
        Counted.comparisons = 0
        Comparison([*map(Counted, old)], [*map(Counted, new)], Work()).match(range(len(old)), range(len(new)))
        comparisons[name] = Counted.comparisons // COUNT
    # Without limits, some lines are compared thousands of times.
    assert {name: count for name, count in comparisons.items() if count > 50} == {}


def test_work_is_shared_by_comparisons() -> None:
    random = Random(18)
    work = Work()
    for _ in range(5):
        old, new = (random.choices("ab", k=3000) for _ in range(2))
        line_diff.compare(old, new, work)
    assert -3000 < work.steps < 3000
