"""The words of a text and of a query, in any language.

Chinese, Japanese and Korean (CJK) do not separate all words by blanks, so each bigram, two neighbouring characters,
counts as a word.
"""

import re
import unicodedata
from collections.abc import Iterable

MAX_QUERY_WORDS = 12
MAX_WORD = 63  # characters; longer words are cut, in the index and in queries alike

WORD = re.compile(r"[^\W_]+")
CJK_RUN = re.compile(r"[\u3040-\u30ff\u3105-\u312f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+")
PIECE = re.compile(r"\s+|\S{1,200}")
CAMEL_CASE_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def tokenize(text: str) -> list[str]:
    """Return the words to index of a text, each once and case-folded.

    A word in camel case is indexed whole and in parts, a run of CJK characters by character and by bigram.
    """
    folded = compatible(text)
    spaced = CJK_RUN.sub(lambda run: f" {' '.join([*run[0], *bigrams(run[0])])} ", folded)
    words = dict.fromkeys(WORD.findall(spaced))
    parts = [part for word in words for part in CAMEL_CASE_BOUNDARY.split(word)]
    return distinct_words([*words, *parts])


def tokenize_query(query: str) -> list[str]:
    """Return the words of a query. A CJK run is searched by its bigrams only, which are more selective."""
    folded = compatible(query)
    spaced = CJK_RUN.sub(lambda run: f" {' '.join(bigrams(run[0]) or run[0])} ", folded)
    return distinct_words(WORD.findall(spaced))[:MAX_QUERY_WORDS]


def compatible(text: str) -> str:
    """Return a text in the form NFKC, word by word: Python takes minutes to sort thousands of marks on one letter."""
    return text if text.isascii() else "".join(unicodedata.normalize("NFKC", piece) for piece in PIECE.findall(text))


def bigrams(text: str) -> list[str]:
    """Return all pairs of neighbouring characters."""
    return [text[index : index + 2] for index in range(len(text) - 1)]


def distinct_words(words: Iterable[str]) -> list[str]:
    """Case-fold and shorten words, and drop repeated ones."""
    return list(dict.fromkeys(word.casefold()[:MAX_WORD] for word in words))
