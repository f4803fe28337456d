"""Regular expressions of clients: their matches, the range that holds the matches, and their limited cost."""

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
    """Combine expressions into larger ones."""
    groups = st.sampled_from(["(", "(?:", "(?i:", "(?m:", "(?s:", "(?P<name>"])
    return st.one_of(
        st.tuples(part, part).map("".join),
        st.tuples(part, part).map("|".join),
        st.tuples(part, REPEATED).map("".join),
        st.builds("{}{})".format, groups, part),
    )


PARTS = st.recursive(st.one_of(LITERALS, LITERALS, CLASSES, ESCAPES, QUOTED, EMPTY), larger, max_leaves=8)
ANCHORED = st.builds("{}^{}".format, st.sampled_from(["", "", "", "(?m)", "(?i)", "("]), PARTS)


def is_inside(text: str, text_range: TextRange | None) -> bool:
    """Compare byte by byte, as the database does."""
    if text_range is None:
        return True
    low, high = text_range.low.encode(), None if text_range.high is None else text_range.high.encode()
    return low <= text.encode() and (high is None or text.encode() < high)


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
@settings(max_examples=1000)
def test_every_match_is_inside_the_range(expression: str, texts: list[str]) -> None:
    try:
        pattern = Pattern(expression)
    except Invalid:
        assume(False)
    text_range = pattern.prefix_range()
    assert [text for text in texts if pattern.matches(text) and not is_inside(text, text_range)] == []


def test_unusual_prefixes_lose_no_match() -> None:
    matches = {f"^{quantifier}abc": ["xabc"] for quantifier in ("?", "*", "{0}", "{0,1}", "??")}
    matches |= {r"^a\b": ["a", "a-b", "a/b"], r"^a\C\Cz": ["aéz"]}
    for expression, texts in matches.items():
        pattern = Pattern(expression)
        assert all(pattern.matches(text) for text in texts)
        assert all(is_inside(text, pattern.prefix_range()) for text in texts)


# --- Ranges ------------------------------------------------------------------------------------------------------


OUTSIDE = {
    "^weather/": ["weather", "weather0", "a", "z", "Weather/"],
    r"^one/exact\.txt$": ["one/exact", "one/exact/txt", "one/exacz"],
    r"^a\.b\+c/": ["a.b", "axb+c/", "a.b+d"],
    "^文件/": ["文", "文仴/", "z", "𝄞"],
    r"^ab*/": ["B", "b", "0"],
    "^ab?c": ["A", "b"],
    "^abc+": ["ab", "abd"],
    "^abc{2}": ["aa", "ac"],
    "^é": ["e", "ê"],
    "^\U0010ffff": ["\U0010fffe", "a"],
}


def test_literal_prefix_narrows_the_range() -> None:
    for expression, texts in OUTSIDE.items():
        text_range = Pattern(expression).prefix_range()
        assert text_range is not None
        assert [text for text in texts if is_inside(text, text_range)] == []


def test_expression_without_literal_prefix_has_no_range() -> None:
    expressions = ["", "a", "a^b", "weather/", ".*", "^a|b", "a|^b", "^", "^$", "(?m)^a", r"\Aa|b", "^|a"]
    expressions += [r"^\Qa\E|b", "^a||b"]
    assert [text for text in expressions if Pattern(text).prefix_range() is not None] == []


def test_complex_expression_has_a_safe_range() -> None:
    for expression in ("^(a?){500}", "^(.{0,30}){0,30}b", "^(?i)" + "k" * 400, "^" + "(" * 200 + ")" * 200):
        pattern = Pattern(expression)
        assert is_inside("", pattern.prefix_range()) or not pattern.matches("")


# --- Matching ----------------------------------------------------------------------------------------------------

MATCHES = {
    ("b", "abc"): True,
    ("B", "abc"): False,
    ("(?i)B", "abc"): True,
    ("^b", "abc"): False,
    ("^b", "a\nb"): False,
    ("(?m)^b", "a\nb"): True,
    ("c$", "abc"): True,
    ("c$", "abc\n"): False,
    ("", ""): True,
    ("a.c", "a文c"): True,
    ("a.c", "a𝄞c"): True,
    ("^.$", "é"): True,
    ("É", "é"): False,
    ("(?i)É", "é"): True,
    (r"\.txt$", "a.txt"): True,
    (r"\.txt$", "atxt"): False,
    (r"\Qa.b\E", "a.b"): True,
    (r"\Qa.b\E", "axb"): False,
    ("a|b", "b"): True,
    ("[^/]+/[^/]+$", "a/b"): True,
}


def test_expression_matches_anywhere_in_a_text() -> None:
    assert {(regex, text): Pattern(regex).matches(text) for regex, text in MATCHES} == MATCHES


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


def test_hostile_expression_takes_linear_time() -> None:
    assert {expression: Pattern(expression).matches("a" * 1999 + "c") for expression in HOSTILE} == HOSTILE


# --- Refusals ----------------------------------------------------------------------------------------------------


MALFORMED = ["(", ")", "[", "*", "a**", "a{2,1}", r"\8", r"(a)\1", "(?=a)", "(?<=a)", "(?P<a", "[z-a]", r"\p{Nothing}"]


def test_malformed_expression_is_refused() -> None:
    for expression in (*MALFORMED, "a\\"):
        with pytest.raises(Invalid) as refusal:
            Pattern(expression)
        assert refusal.value.message == f"Invalid regular expression for serve_path: {expression}"


def test_expression_of_much_memory_is_refused() -> None:
    with pytest.raises(Invalid):
        Pattern("(a{1000}){1000}")


def test_longest_expression_is_read() -> None:
    assert Pattern("a" * MAX_LENGTH).matches("a" * MAX_LENGTH)


def test_too_long_expression_is_refused() -> None:
    with pytest.raises(Invalid) as refusal:
        Pattern("a" * (MAX_LENGTH + 1))
    assert refusal.value.message == "The regular expression for serve_path is longer than 512 characters."
