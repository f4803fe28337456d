"""Names that are spelt one or two letters off, found by words of the same index.

Each name is cut into two halves. Of two edits, one half has at most one; and two texts one edit apart become equal when
each loses at most one letter. So the halves of a name are indexed whole and with each letter left out, as words such
as `10lserd` (length of the name, left or right, letters). A query asks for those that its own beginning and end make.
An edit leaves out, adds or replaces a letter, or swaps two neighbours.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping

from registry_site.search.lookup import WordQuery, one_of_each
from registry_site.search.words import WORD

MIN_LENGTH, MAX_LENGTH = 3, 64  # letters of a name
MIN_LENGTH_FOR_TWO = 5  # shorter names may have one edit: two would make them another
MAX_EDITS = 2
MAX_CANDIDATES = 300


def joined(name: str) -> str:
    """Return a name without case and separators, as names are compared here."""
    return "".join(WORD.findall(unicodedata.normalize("NFKC", name).casefold()))


def spelling_words(name: str) -> list[str]:
    """Return the words to index of a name; none if it is too short or too long."""
    letters = joined(name)
    length, half = len(letters), len(letters) // 2
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        return []
    sides = {"l": letters[:half], "r": letters[half:]}
    return [f"{length}{side}{text}" for side, part in sides.items() for text in {part: None} | without_a_letter(part)]


def closest(letters: str, candidates: Callable[[WordQuery], Mapping[int, str]]) -> dict[int, tuple[int, str]]:
    """Return the names that a few edits make these letters, with the number of edits, by primary key.

    All names are without separators; `candidates` returns those whose spelling matches a query, by primary key.
    """
    if not MIN_LENGTH <= len(letters) <= MAX_LENGTH:
        return {}
    # Most misspelt names have at most one edit in each half, and hardly any other name has that.
    both_halves = one_of_each(*query_words(letters, MIN_LENGTH), limit=MAX_CANDIDATES)
    left, right = query_words(letters, MIN_LENGTH_FOR_TWO)
    for query in (both_halves, one_of_each(left + right, limit=MAX_CANDIDATES)):
        close = {
            key: (edits, name)
            for key, name in candidates(query).items()
            if (edits := edits_between(letters, name)) is not None
        }
        if close:
            return close
    return {}


def query_words(letters: str, shortest: int) -> tuple[list[str], list[str]]:
    """Return the words of the left and of the right halves that a close name of `shortest` letters or more can have."""
    left: dict[str, None] = {}
    right: dict[str, None] = {}
    for length in range(max(shortest, len(letters) - MAX_EDITS), len(letters) + MAX_EDITS + 1):
        half = length // 2
        left |= {f"{length}l{text}": None for text in variants(letters, half, len(letters) - length)}
        ends = variants(letters[::-1], length - half, len(letters) - length)
        right |= {f"{length}r{text[::-1]}": None for text in ends}
    return list(left), list(right)


def variants(letters: str, half: int, longer: int) -> Iterator[str]:
    """Iterate over the forms of a beginning of `half` letters that one edit can have made the beginning of `letters`.

    `longer` is how many more letters these have than the name. What the beginning does not explain of it, the end has
    to, within the edits that are left.
    """
    yield letters[:half]
    left_over = MAX_EDITS - 1
    if abs(longer) <= left_over:  # a letter was replaced, or two were swapped
        yield from without_a_letter(letters[:half])
    if abs(longer - 1) <= left_over:  # a letter was added
        yield from without_a_letter(letters[: half + 1])
    if abs(longer + 1) <= left_over:  # a letter was left out
        yield letters[: half - 1]


def without_a_letter(text: str) -> dict[str, None]:
    """Return the texts that leave out one letter, each once."""
    return {text[:index] + text[index + 1 :]: None for index in range(len(text))}


def edits_between(query: str, name: str) -> int | None:
    """Return the number of edits that make one text the other, or None for more than a name of its length may have."""
    most = MAX_EDITS if len(name) >= MIN_LENGTH_FOR_TWO else 1
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
