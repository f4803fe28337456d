"""The lines in which two texts differ. Pure.

Python's `difflib` takes quadratic time and more for hostile texts. Here the work is counted: lines that stand once in
both texts divide them (Cohen's patience diff), Myers' algorithm (1986) compares what lies between, and where it would
take too many steps, all of that counts as replaced.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isqrt

CONTEXT = 3  # equal lines around changes
MAX_STEPS = 300_000  # of Myers' algorithm, a tenth of a second
MAX_DEPTH = 16  # of divisions


@dataclass(frozen=True)
class Line:
    """A line with its numbers in the old and the new text, from 1; None in the one that does not have it."""

    text: str
    old: int | None
    new: int | None

    @property
    def sign(self) -> str:
        return "+" if self.old is None else "-" if self.new is None else " "


@dataclass(frozen=True)
class Hunk:
    """Changed lines that are near each other, with the equal ones around."""

    lines: Sequence[Line]

    @property
    def title(self) -> str:
        """The lines of both texts, as unified diffs write them."""
        old = [line.old for line in self.lines if line.old is not None]
        new = [line.new for line in self.lines if line.new is not None]
        return f"@@ -{old[0] if old else 0},{len(old)} +{new[0] if new else 0},{len(new)} @@"


@dataclass
class Work:
    """The steps that may still be taken, of several comparisons together."""

    steps: int = MAX_STEPS


@dataclass
class Comparison:
    """Two texts as numbers, equal lines having one number."""

    old: Sequence[int]
    new: Sequence[int]
    work: Work
    pairs: list[tuple[int, int]] = field(default_factory=list)  # of equal lines, in no order

    def match(self, old: range, new: range, depth: int = MAX_DEPTH) -> None:
        """Pair the equal lines of two parts of the texts."""
        old, new = self.without_equal_ends(old, new)
        if not old or not new:
            return
        anchors = self.anchors(old, new) if depth else []
        if not anchors:
            self.match_by_myers(old, new)
            return
        self.pairs += anchors
        begin_old, begin_new = old.start, new.start
        for end_old, end_new in [*anchors, (old.stop, new.stop)]:
            self.match(range(begin_old, end_old), range(begin_new, end_new), depth - 1)
            begin_old, begin_new = end_old + 1, end_new + 1

    def without_equal_ends(self, old: range, new: range) -> tuple[range, range]:
        begin, end, shorter = 0, 0, min(len(old), len(new))
        while begin < shorter and self.old[old[begin]] == self.new[new[begin]]:
            self.pairs.append((old[begin], new[begin]))
            begin += 1
        while end < shorter - begin and self.old[old[-1 - end]] == self.new[new[-1 - end]]:
            self.pairs.append((old[-1 - end], new[-1 - end]))
            end += 1
        return old[begin : len(old) - end], new[begin : len(new) - end]

    def anchors(self, old: range, new: range) -> list[tuple[int, int]]:
        """Return the pairs of lines that stand once in each part, as many as have the same order in both."""
        old_counts = Counter(self.old[old.start : old.stop])
        new_counts = Counter(self.new[new.start : new.stop])
        positions = {self.new[index]: index for index in new if new_counts[self.new[index]] == 1}
        single = [
            (index, positions[line])
            for index in old
            for line in [self.old[index]]
            if old_counts[line] == 1 and line in positions
        ]
        return longest_rising(single)

    def match_by_myers(self, old: range, new: range) -> None:
        """Pair lines so that as few as possible are left, unless that takes too many steps."""
        in_old, in_new = set(self.old[old.start : old.stop]), set(self.new[new.start : new.stop])
        # Lines of one text alone are changes in any case.
        old_left = [index for index in old if self.old[index] in in_new]
        new_left = [index for index in new if self.new[index] in in_old]
        for row, column in self.shortest_edit([self.old[i] for i in old_left], [self.new[i] for i in new_left]):
            self.pairs.append((old_left[row], new_left[column]))

    def shortest_edit(self, old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield the pairs that a shortest edit script keeps; none if it takes more steps than are left."""
        most = min(len(old) + len(new), isqrt(max(self.work.steps, 0)))
        ends = array("i", bytes(4 * (2 * most + 3)))  # by diagonal, negative ones from its end: the row that is reached
        history: list[array[int]] = []
        for edits in range(most + 1):
            history.append(ends[:])
            for diagonal in range(-edits, edits + 1, 2):
                start, _ = begin_of(ends, edits, diagonal)
                row = start
                while row < len(old) and row - diagonal < len(new) and old[row] == new[row - diagonal]:
                    row += 1
                ends[diagonal] = row
                self.work.steps -= 1 + row - start
                if row >= len(old) and row - diagonal >= len(new):
                    yield from walk_back(history, row, diagonal)
                    return
                if self.work.steps < 0:
                    return


def begin_of(ends: Sequence[int], edits: int, diagonal: int) -> tuple[int, bool]:
    """Return the row where the way along a diagonal begins, and whether it comes down from the diagonal above."""
    if diagonal == -edits or (diagonal != edits and ends[diagonal - 1] < ends[diagonal + 1]):
        return ends[diagonal + 1], True
    return ends[diagonal - 1] + 1, False


def walk_back(history: Sequence[Sequence[int]], row: int, diagonal: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs on the way that the edits took, the last first."""
    for edits in range(len(history) - 1, -1, -1):
        start, is_down = begin_of(history[edits], edits, diagonal)
        for pair in range(row - 1, start - 1, -1):
            yield pair, pair - diagonal
        row, diagonal = (start, diagonal + 1) if is_down else (start - 1, diagonal - 1)


def longest_rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest part of pairs, sorted by the first number, whose second numbers rise, too."""
    tops: list[int] = []  # of piles: the smallest end of a rising part of each length
    piles: list[int] = []  # the index of that pair
    before: list[int] = []  # of each pair, the index of the one before it in its part
    for index, (_, value) in enumerate(pairs):
        pile = bisect_left(tops, value)
        before.append(piles[pile - 1] if pile else -1)
        tops[pile : pile + 1], piles[pile : pile + 1] = [value], [index]
    rising, index = [], piles[-1] if piles else -1
    while index >= 0:
        rising.append(pairs[index])
        index = before[index]
    return rising[::-1]


def compare(old: Sequence[str], new: Sequence[str], work: Work) -> list[Line]:
    """Return all lines of both texts in the order of a unified diff."""
    numbers: dict[str, int] = {}
    old_numbers, new_numbers = ([numbers.setdefault(line, len(numbers)) for line in text] for text in (old, new))
    comparison = Comparison(old_numbers, new_numbers, work)
    comparison.match(range(len(old)), range(len(new)))
    lines, row, column = [], 0, 0
    for next_row, next_column in [*sorted(comparison.pairs), (len(old), len(new))]:
        lines += [Line(old[index], index + 1, None) for index in range(row, next_row)]
        lines += [Line(new[index], None, index + 1) for index in range(column, next_column)]
        if next_row < len(old):
            lines.append(Line(old[next_row], next_row + 1, next_column + 1))
        row, column = next_row + 1, next_column + 1
    return lines


def hunks(lines: Sequence[Line]) -> Iterator[Hunk]:
    """Yield the changed lines with the equal ones around."""
    begin = end = 0
    for index, line in enumerate(lines):
        if line.sign == " ":
            continue
        if index - CONTEXT > end and end:
            yield Hunk(lines[begin:end])
            begin = index - CONTEXT
        elif not end:
            begin = max(index - CONTEXT, 0)
        end = min(index + CONTEXT + 1, len(lines))
    if end:
        yield Hunk(lines[begin:end])
