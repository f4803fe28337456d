"""Regular expressions of strangers: what they find, where they can find it, and that none of them explodes."""

import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from files.regex import MAX_LENGTH, Pattern, TextRange
from registry_site.errors import Invalid

pytestmark = pytest.mark.database_independent

# --- A small grammar of expressions ------------------------------------------------------------------------------

# Few characters, so that expressions fit often; K and the sign for Kelvin, s and the long s differ by case alone.
CHARACTERS = "aAbz/.-0_ |^é\u00ff\u0100\u017fsKk\u212a文𝄞\n\x00\U0010ffff"
TEXTS = st.text(CHARACTERS, max_size=6)
LITERALS = st.sampled_from(CHARACTERS).map(re.escape)
CLASSES = st.sampled_from(
    ["[ab]", "[^a]", "[a-é]", "[|]", "[]|]", "[^]a]", r"[a\]]", "[[:alpha:]|]", r"[\d/]", "[Ā-文]", "[k]", "[(]"]
)
ESCAPES = st.sampled_from(
    [".", r"\w", r"\W", r"\d", r"\D", r"\s", r"\pL", r"\PL", r"\p{Han}", r"\x61", r"\x{e9}", r"\C", r"\n", r"\|", r"\."]
)
QUOTED = st.text("a|^(é", max_size=3).map(lambda text: rf"\Q{text}\E")
EMPTY = st.sampled_from(["^", "$", r"\A", r"\z", r"\b", r"\B", "(?:)", "(?i)", "(?m)", "(?s)", "(?-i)", "(?im)", ""])
REPEATED = st.sampled_from(
    ["*", "+", "?", "*?", "+?", "??", "{0}", "{1}", "{2}", "{0,1}", "{1,3}", "{1,}", "{", "{,2}"]
)


def larger(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions made of others."""
    groups = st.sampled_from(["(", "(?:", "(?i:", "(?m:", "(?s:", "(?P<name>"])
    return st.one_of(
        st.tuples(part, part).map("".join),
        st.tuples(part, part).map("|".join),
        st.tuples(part, REPEATED).map("".join),
        st.builds("{}{})".format, groups, part),
    )


PARTS = st.recursive(st.one_of(LITERALS, LITERALS, CLASSES, ESCAPES, QUOTED, EMPTY), larger, max_leaves=8)
ANCHORED = st.builds("{}^{}".format, st.sampled_from(["", "", "", "(?m)", "(?i)", "("]), PARTS)


def lies_in(text: str, ends: TextRange | None) -> bool:
    """As the database compares: byte by byte."""
    if ends is None:
        return True
    return ends.low.encode() <= text.encode() and (ends.high is None or text.encode() < ends.high.encode())


@given(st.one_of(ANCHORED, PARTS), st.lists(TEXTS, min_size=10, max_size=10))
@example("^?abc", ["xabc"])
@example("^*abc", ["xabc"])
@example("^{0}abc", ["xabc"])
@example("^a(?i)*", [""])
@example(r"^a\b", ["a", "a-b", "a/b"])
@example(r"^a\B", ["ab"])
@example(r"^a\C\Cz", ["aéz"])
@example("^a|b", ["b"])
@example(r"^\Qa|b\E|c", ["c"])
@example("^[|]|b", ["b"])
@example(r"^a\\|b", ["b"])
@example("^(a|b)", ["b"])
@example("^(?i)k", ["\u212a"])
@example("^(?i)\u017f", ["S"])
@example("^(?m)a$", ["a\nb"])
@example("(?m)^a", ["b\na"])
@example("^\U0010ffff", ["\U0010ffffa"])
@example("^\ud7ff", ["\ud7ff文"])
@settings(deadline=None, max_examples=1000)
def test_text_in_which_it_is_found_lies_in_its_range(expression: str, texts: list[str]) -> None:
    try:
        pattern = Pattern(expression)
    except Invalid:
        assume(False)
    ends = pattern.prefix_range()
    assert [text for text in texts if pattern.matches(text) and not lies_in(text, ends)] == []


@pytest.mark.parametrize("quantifier", ["?", "*", "{0}", "{0,1}", "??"])
def test_beginning_that_need_not_be_there_leaves_no_range(quantifier: str) -> None:
    pattern = Pattern(f"^{quantifier}abc")
    assert pattern.matches("xabc")
    assert lies_in("xabc", pattern.prefix_range())


@pytest.mark.parametrize("text", ["a", "a-b", "a/b"])
def test_end_of_a_word_is_in_the_range(text: str) -> None:
    pattern = Pattern(r"^a\b")
    assert pattern.matches(text)
    assert lies_in(text, pattern.prefix_range())


def test_bytes_of_a_character_are_in_the_range() -> None:
    pattern = Pattern(r"^a\C\Cz")
    assert pattern.matches("aéz")
    assert lies_in("aéz", pattern.prefix_range())


# --- Ranges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "outside"),
    [
        ("^weather/", ["weather", "weather0", "a", "z", "Weather/"]),
        (r"^one/exact\.txt$", ["one/exact", "one/exact/txt", "one/exacz"]),
        (r"^a\.b\+c/", ["a.b", "axb+c/", "a.b+d"]),
        ("^文件/", ["文", "文仴/", "z", "𝄞"]),
        (r"^ab*/", ["B", "b", "0"]),
        ("^ab?c", ["A", "b"]),
        ("^abc+", ["ab", "abd"]),
        ("^abc{2}", ["aa", "ac"]),
        ("^é", ["e", "ê"]),
        ("^\U0010ffff", ["\U0010fffe", "a"]),
    ],
)
def test_literal_beginning_narrows_the_range(expression: str, outside: list[str]) -> None:
    ends = Pattern(expression).prefix_range()
    assert ends is not None
    assert [text for text in outside if lies_in(text, ends)] == []


@pytest.mark.parametrize(
    "expression",
    ["", "a", "a^b", "weather/", ".*", "^a|b", "a|^b", "^", "^$", "(?m)^a", r"\Aa|b", "^|a", r"^\Qa\E|b", "^a||b"],
)
def test_expression_without_one_beginning_has_no_range(expression: str) -> None:
    assert Pattern(expression).prefix_range() is None


@pytest.mark.parametrize(
    "expression", ["^(a?){500}", "^(.{0,30}){0,30}b", "^(?i)" + "k" * 400, "^" + "(" * 200 + ")" * 200]
)
def test_complex_expression_has_a_range_or_none(expression: str) -> None:
    pattern = Pattern(expression)
    assert lies_in("", pattern.prefix_range()) or not pattern.matches("")


# --- Finding -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "text", "is_in"),
    [
        ("b", "abc", True),
        ("B", "abc", False),
        ("(?i)B", "abc", True),
        ("^b", "abc", False),
        ("^b", "a\nb", False),
        ("(?m)^b", "a\nb", True),
        ("c$", "abc", True),
        ("c$", "abc\n", False),
        ("", "", True),
        ("a.c", "a文c", True),
        ("a.c", "a𝄞c", True),
        ("^.$", "é", True),
        ("É", "é", False),
        ("(?i)É", "é", True),
        (r"\.txt$", "a.txt", True),
        (r"\.txt$", "atxt", False),
        (r"\Qa.b\E", "a.b", True),
        (r"\Qa.b\E", "axb", False),
        ("a|b", "b", True),
        ("[^/]+/[^/]+$", "a/b", True),
    ],
)
def test_expression_is_looked_for_anywhere(expression: str, text: str, is_in: bool) -> None:
    assert Pattern(expression).matches(text) is is_in


HOSTILE = {
    "(a+)+$": False,
    "(a|a)*b": False,
    "(a|aa)+$": False,
    "((a*)*)*b": False,
    "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)x$": False,
    "(x+x+)+y": False,
    "([a-zA-Z]+)*[0-9]": False,
    "(a?){300}a{300}": True,
    "((a{0,20}){0,20})b": False,
    "^(([a-z])+.)+[A-Z]([a-z])+$": False,
}


@pytest.mark.parametrize(("expression", "is_in"), HOSTILE.items())
def test_hostile_expression_comes_to_an_end(expression: str, is_in: bool) -> None:
    assert Pattern(expression).matches("a" * 1999 + "c") is is_in


# --- Refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    ["(", ")", "[", "*", "a**", "a{2,1}", r"\8", r"(a)\1", "(?=a)", "(?<=a)", "(?P<a", "[z-a]", r"\p{Nothing}", "a\\"],
)
def test_what_cannot_be_read_is_refused(expression: str) -> None:
    with pytest.raises(Invalid) as refusal:
        Pattern(expression)
    assert refusal.value.message == f"Invalid regular expression for serve_path: {expression}"


def test_expression_that_takes_too_much_memory_is_refused() -> None:
    with pytest.raises(Invalid):
        Pattern("(a{1000}){1000}")


def test_longest_expression_is_read() -> None:
    assert Pattern("a" * MAX_LENGTH).matches("a" * MAX_LENGTH)


def test_too_long_expression_is_refused() -> None:
    with pytest.raises(Invalid) as refusal:
        Pattern("a" * (MAX_LENGTH + 1))
    assert refusal.value.message == "The regular expression for serve_path is longer than 512 characters."
