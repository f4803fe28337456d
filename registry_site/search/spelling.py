"""Names that are spelt one or two letters off, found by words of the same index.

Two edits take at most two letters from what two texts share: both become equal when each loses at most two. That holds
for the beginnings of two names, too, and for their ends. So the first and the last letters of a name are indexed with
each one and each two of them left out, as words such as `lserd` (left or right, letters). A query has words of the same
kind, and a close name shares one of the left and one of the right. An edit leaves out, adds or replaces a letter, or
swaps two neighbours.
"""

import unicodedata
from collections.abc import Callable, Mapping
from itertools import chain, combinations

from registry_site.search.lookup import WordQuery, one_of_each
from registry_site.search.words import WORD

MIN_LENGTH, MAX_LENGTH = 3, 64  # letters of a name
MIN_LENGTH_FOR_TWO = 5  # shorter names may have one edit: two would make them another
MAX_EDITS = 2
SIDE = 7  # letters at each end; with fewer, too many names would share the words of a common beginning
# Of 100,000 names some 100 share words with a query. More can if many names differ in a number alone; then a close one
# may be missed.
MAX_CANDIDATES = 300


def joined(name: str) -> str:
    """Return a name without case and separators, as names are compared here."""
    return "".join(WORD.findall(unicodedata.normalize("NFKC", name).casefold()))


def spelling_words(name: str) -> list[str]:
    """Return the words to index of a name; none if it is too short or too long."""
    letters = joined(name)
    return [*chain(*sides(letters, edits_allowed(letters)))] if MIN_LENGTH <= len(letters) <= MAX_LENGTH else []


def closest(letters: str, candidates: Callable[[WordQuery], Mapping[int, str]]) -> dict[int, tuple[int, str]]:
    """Return the names that a few edits make these letters, with the number of edits, by primary key.

    All names are without separators; `candidates` returns those whose spelling matches a query, by primary key.
    """
    if not MIN_LENGTH <= len(letters) <= MAX_LENGTH:
        return {}
    query = one_of_each(*sides(letters, MAX_EDITS), limit=MAX_CANDIDATES)
    return {
        key: (edits, name)
        for key, name in candidates(query).items()
        if (edits := edits_between(letters, name)) is not None
    }


def sides(letters: str, most: int) -> tuple[list[str], list[str]]:
    """Return the words of the beginning and of the end of a name, with at most so many letters left out."""
    left, right = without_letters(letters[:SIDE], most), without_letters(letters[-SIDE:], most)
    return [f"l{text}" for text in left], [f"r{text}" for text in right]


def without_letters(text: str, most: int) -> list[str]:
    """Return the texts that leave out at most so many letters, each once."""
    kept = chain(*(combinations(text, len(text) - number) for number in range(most + 1)))
    return list(dict.fromkeys(map("".join, kept)))


def edits_allowed(name: str) -> int:
    return MAX_EDITS if len(name) >= MIN_LENGTH_FOR_TWO else 1


def edits_between(query: str, name: str) -> int | None:
    """Return the number of edits that make one text the other, or None for more than a name of its length may have."""
    most = edits_allowed(name)
    # An edit changes the length by one at most, and adds or takes away one letter at most. That sorts out nearly all.
    differences = (abs(len(query) - len(name)), len(set(query) - set(name)), len(set(name) - set(query)))
    if max(differences) > most:
        return None
    before_last: list[int] = []
    last = list(range(len(name) + 1))
    for row, letter in enumerate(query, start=1):
        current = [row]
        for column, other in enumerate(name, start=1):
            edits = min(last[column] + 1, current[-1] + 1, last[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == name[column - 2] and query[row - 2] == other:
                edits = min(edits, before_last[column - 2] + 1)
            current.append(edits)
        if min(current) > most:
            return None
        before_last, last = last, current
    return last[-1] if last[-1] <= most else None
