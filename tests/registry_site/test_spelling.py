"""Names that are spelt one or two letters off: their words in the index, and the edits between two names."""

from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry_site.search import spelling
from registry_site.search.lookup import WordQuery

pytestmark = pytest.mark.database_independent

LETTERS = "abc1"  # few, so that names have the same letters time and again
NAMES = st.text(LETTERS, min_size=5, max_size=20)
EDITS = st.tuples(st.integers(0, 20), st.integers(0, 10))  # where, and which


def find(query: str, *names: str) -> list[str]:
    """Return the closest of some names, as an index of words would select them."""

    def candidates(words: WordQuery) -> dict[int, str]:
        rows = enumerate(spelling.joined(name) for name in names)
        return {
            key: name
            for key, name in rows
            if all(set(group) & set(spelling.spelling_words(name)) for group in words.groups)
        }

    return [names[key] for key in spelling.closest(spelling.joined(query), candidates)]


def edited(text: str) -> Iterator[str]:
    """Iterate over all texts that one edit makes of a text."""
    for index in range(len(text) + 1):
        yield from edited_at(text, index)


def edited_at(text: str, index: int) -> list[str]:
    head, tail = text[:index], text[index:]
    texts = [head + tail[1:], head + tail[1:2] + tail[:1] + tail[2:]]
    return texts + [head + letter + rest for letter in LETTERS for rest in (tail, tail[1:])]


def test_one_letter_off_is_close() -> None:
    for name in ("abc", "1cab", "serde", "tokio1", "http_client"):
        letters = spelling.joined(name)
        assert [text for text in edited(letters) if len(text) > 2 and find(text, name) != [name]] == []


def test_two_letters_off_are_close() -> None:
    for name in ("serde", "tokio1", "rand_core"):
        letters = spelling.joined(name)
        twice = {text for once in edited(letters) for text in edited(once)}
        # A swap with a letter put between the two counts as three.
        close = [text for text in twice if spelling.edits_between(text, letters) is not None]
        assert len(close) > 0.9 * len(twice)
        assert [text for text in close if find(text, name) != [name]] == []


@pytest.mark.hypothesis
@given(name=NAMES, edits=st.lists(EDITS, min_size=2, max_size=2))
def test_index_selects_every_close_name(name: str, edits: list[tuple[int, int]]) -> None:
    query = name
    for index, choice in edits:
        texts = edited_at(query, index)
        query = texts[choice % len(texts)]
    assume(spelling.edits_between(query, name) is not None)
    assert find(query, name) == [name]


def test_edits_are_counted() -> None:
    cases = {
        ("serde", "serde"): 0,
        ("serd", "serde"): 1,
        ("serdee", "serde"): 1,
        ("sarde", "serde"): 1,
        ("sedre", "serde"): 1,
        ("esred", "serde"): 2,
        ("sde", "serde"): 2,
        ("ax", "ab"): 1,
        ("axy", "abc"): None,  # two edits would make any short name another
        ("serdabc", "serde"): None,
        ("", "abc"): None,
    }
    assert {pair: spelling.edits_between(*pair) for pair in cases} == cases


def test_separators_and_case_do_not_count() -> None:
    assert find("Serde-Jsn", "serde_json") == ["serde_json"]
    assert find("sredejson", "serde_json") == ["serde_json"]


def test_other_scripts_can_be_misspelt() -> None:
    assert find("数据库连池", "数据库连接池") == ["数据库连接池"]


def test_closest_names_hide_others() -> None:
    assert find("tokioo", "tokio", "abcdef", "token") == ["tokio"]


def test_short_and_long_names_are_left_out() -> None:
    lengths = {length: bool(spelling.spelling_words("a" * length)) for length in (0, 2, 3, 64, 65, 300)}
    assert lengths == {0: False, 2: False, 3: True, 64: True, 65: False, 300: False}
    assert [find("a" * length, "a" * 64) for length in (2, 66, 300)] == [[], [], []]


def test_words_are_few_whatever_the_length() -> None:
    lengths = (3, 5, 10, 20, 64)
    texts = {length: "abcdefghijklmnopqrstuvwxyz0123456789" * 2 for length in lengths}
    counts = {length: len(spelling.spelling_words(text[:length])) for length, text in texts.items()}
    assert counts == {3: 8, 5: 32, 10: 58, 20: 58, 64: 58}


def test_common_beginnings_select_few_names() -> None:
    """Of names that share a beginning, and of others that share an end, those alone are read that have both."""
    words = spelling.sides("asyncstream", spelling.MAX_EDITS)
    selected = {
        name: [bool(set(side) & set(spelling.spelling_words(name))) for side in words]
        for name in ("asyncsteam", "asynccache", "bytestream")
    }
    assert selected == {"asyncsteam": [True, True], "asynccache": [True, False], "bytestream": [False, True]}
