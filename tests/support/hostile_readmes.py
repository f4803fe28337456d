"""READMEs that cost a renderer much: by name, of the size that a caller wants."""

from collections.abc import Callable, Mapping

REPEATED = (
    "> ", ">", "- ", "1. ", "- > ", "[^a]: ", "[", "![", "[]()", "[a](", "[a](<b", '[a](b "c', "[a][b]", "[^a]", "*",
    "**a ", "a**b", "*a_ ", "*_", "_a* ", "*a **a ", "~~a ", "`", "<", "<!--", "<?", "<!A ", "<![CDATA[", "</a",
    '<a b="', '<a b=\'<a c="', "&", "&#", "\\", "http://a.b/)", "a@b.c", "a@b.c> ", "a@", "www.a", "|", "|-\n",
    "a|b\n--\n", "|a|\n|-|\n", "#\n", "# a\n", "a\n===\n", "```\n", "```rust\nfn a() {}\n```\n", "- a\n\n", "- [ ] a\n",
    "> [!NOTE]\n> a\n\n", "[a]: b\n", "[^a]: b\n", "<b>", "<b></p>", "<b><p>", "<a href=b>", "<a><div>",
    "<b><i></b>", "<div>", "<div>\n\n", "<details><summary>", "<table>", "<table>x", "<table><tr><td>", "<li>",
    "<p>", "<svg>", "<math><mi>", "<template>", "<select>", "<h1>", "<img src=a>", "<form>", "<script>", "<style>",
    "<textarea>", "<plaintext>", "</p>", "\u00a0", "\0", "[a](../b) ",
)  # fmt: skip

NESTED = (
    ("[", "](b)"), ("![", "](b)"), ("*a ", " b*"), ("[^a", "]"), ("[^a\\]", "]"), ("(", ")"), ("<b>", "</b>"),
    ("<div>", "</div>"), ("<b><p>", "</p></b>"), ("<ul><li>", "</li></ul>"),
)  # fmt: skip


def numbered(line: str) -> Callable[[int], str]:
    """Return a maker of texts of one line again and again, with a number in it that grows."""
    return lambda size: "\n".join(line.replace("N", str(number)) for number in range(size // (len(line) + 4)))


def table(columns: int) -> Callable[[int], str]:
    """Return a maker of tables whose rows are all shorter than their head."""
    return lambda size: f"|{'a|' * columns}\n|{'-|' * columns}\n" + "x\n" * (size // 2 - 2 * columns)


MAKERS: Mapping[str, Callable[[int], str]] = (
    {f"{unit!r} repeated": lambda size, unit=unit: unit * (size // len(unit)) for unit in REPEATED}
    | {
        f"{opening!r} nested": lambda size, opening=opening, closing=closing: (
            opening * (size // len(opening + closing)) + "a" + closing * (size // len(opening + closing))
        )
        for opening, closing in NESTED
    }
    | {
        "reference definitions": numbered("[N]: /u\n\n[N] [x][N]"),
        "a long reference used often": lambda size: f"[a]: /{'u' * (size // 2)}\n\n" + "[a]" * (size // 6),
        "footnotes": numbered("[^N]\n\n[^N]: note\n"),
        "footnotes in footnotes": numbered("[^N]: [^1N]\n"),
        "one footnote used often": lambda size: "[^a]: b\n\n" + "[^a] " * (size // 5 - 2),
        "headings that collide": numbered("# a\n# a-N"),
        "a wide table": lambda size: f"|{'a|' * (size // 4 - 4)}\n|{'-|' * (size // 4 - 4)}\n",
        "a tall table": lambda size: "|a|b|\n|-|-|\n" + "|c|d|\n" * (size // 6 - 3),
        "a table filled up": table(1000),
        "a table filled up, wider": table(30_000),
        "emphasis of two kinds": lambda size: "_a*" * (size // 6) + "*a" * (size // 4),
        "addresses in one word": lambda size: "_www." * (size // 10) + "*" * (size // 2),
        "runs of backticks": lambda size: "".join("e" + "`" * length for length in range(int((2 * size) ** 0.5) - 2)),
        "a list as deep as it gets by indentation": lambda size: "".join(
            f"{'  ' * depth}- a\n" for depth in range(int(size**0.5) - 2)
        ),
        "deep lists and lazy lines": lambda size: "- " * 99 + "a\n" + "b\n" * (size // 2 - 101),
        "open formatting and paragraphs": lambda size: (
            "".join(f"<b c={number}>" for number in range(90)) + "<p>x" * (size // 4 - 230)
        ),
        "a long open link and paragraphs": lambda size: f"<a title='{'x' * (size // 2)}'>" + "<p>x" * (size // 8 - 9),
        "attributes": lambda size: f"<p {' '.join(f'a{number}=b' for number in range(size // 10))}>",
        "code without end": lambda size: "```python\n" + "\n " * (size // 2 - 6),
        "blocks of code of the largest size": lambda size: ("```cpp\n" + "a<b " * 4000 + "\n```\n") * (size // 16_012),
    }
)
