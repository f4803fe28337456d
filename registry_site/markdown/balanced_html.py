"""HTML brought into the form of one tree: well-formed tags that READMEs may use, each of them closed in its turn.

A parser of HTML repairs everything else, and some repairs copy whole chains of elements for each tag.
"""

import html as entities
import re
import unicodedata
from collections import Counter

from registry_site.markdown.limits import MAX_DEPTH, TooComplex
from registry_site.markdown.links import ANCHOR_PREFIX

VOID = frozenset({"area", "br", "col", "hr", "img", "input", "source", "wbr"})

# A parser of HTML opens these again in the next paragraph if the last one ended before they did.
FORMATTING = frozenset({"a", "b", "code", "em", "i", "s", "small", "strike", "strong", "tt", "u"})

HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})

TAGS = VOID | FORMATTING | HEADINGS | {
    "abbr", "acronym", "article", "aside", "bdi", "bdo", "blockquote", "caption", "center", "cite", "colgroup", "dd",
    "del", "details", "dfn", "div", "dl", "dt", "figcaption", "figure", "footer", "header", "ins", "kbd", "li",
    "mark", "ol", "p", "picture", "pre", "q", "rp", "rt", "ruby", "samp", "section", "span", "sub", "summary", "sup",
    "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "ul", "var",
}  # fmt: skip

# What these enclose is no HTML. GitHub shows them as text.
SHOWN_AS_TEXT = frozenset({"iframe", "noembed", "noframes", "plaintext", "script", "style", "textarea", "title", "xmp"})

# Characters of formatting tags that a parser may have to open again, over the whole README.
MAX_REOPENED_CHARACTERS = 1024 * 1024

ATTRIBUTE = re.compile(
    r"""([^ \t\n\f\r/"'<>=]++)(?:[ \t\n\f\r]*+=[ \t\n\f\r]*+("[^"]*+"|'[^']*+'|[^ \t\n\f\r"'<>`]++))?+"""
)

# A comment without an end goes to the end of the text, as in browsers.
COMMENT = re.compile(r"<!--(?:-?>|.*?-->|.*)", re.DOTALL)

TAG = re.compile(
    r"""<(?:(?P<slash>/?)(?P<name>[a-zA-Z][a-zA-Z0-9-]*+)(?=[ \t\n\f\r/>])
    (?P<attributes>(?:[ \t\n\f\r/]*+[^ \t\n\f\r/"'<>=]++
        (?:[ \t\n\f\r]*+=[ \t\n\f\r]*+(?:"[^"]*+"|'[^']*+'|[^ \t\n\f\r"'<>`]++))?+)*+)
    [ \t\n\f\r/]*+>)?+""",
    re.VERBOSE,
)


def balance(html: str) -> str:
    """Return HTML whose tags form one tree; headings get an anchor. Raise TooComplex for one that is too deep."""
    tree = Tree()
    position = 0
    html = COMMENT.sub("", html)
    for tag in TAG.finditer(html):
        tree.pieces.append(html[position : tag.start()])
        position = tag.end()
        name = (tag["name"] or "").lower()
        if not name or name in SHOWN_AS_TEXT:
            tree.pieces.append(entities.escape(tag[0], quote=False))
        elif name in TAGS:
            if tag["slash"]:
                tree.close(name)
            elif name == "img":
                tree.add_image(tag["attributes"])
            else:
                tree.open(name, f"<{name}{tag['attributes']}>")
    tree.pieces.append(html[position:])
    tree.close_all()
    return "".join(tree.pieces)


class Tree:
    """The elements that are open at one point of a text, and the pieces of HTML up to there."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.path: list[tuple[str, int]] = []  # name of each open element, position of its tag in `pieces`
        self.open_names: Counter[str] = Counter()
        self.open_headings = 0
        self.formatting = 0  # characters of the open formatting tags
        self.reopened = 0
        self.slugs: Counter[str] = Counter()

    def open(self, name: str, tag: str) -> None:
        if name in FORMATTING:
            self.formatting += len(tag)
        else:
            self.reopened += self.formatting
        if name not in VOID:
            self.path.append((name, len(self.pieces)))
            self.open_names[name] += 1
            self.open_headings += name in HEADINGS
        if len(self.path) > MAX_DEPTH or self.reopened > MAX_REOPENED_CHARACTERS:
            raise TooComplex
        self.pieces.append(tag)

    def add_image(self, attributes: str) -> None:
        """Add an image; one that is fetched without TLS, which no page shows, as a link unless it stands in one."""
        named = reversed(ATTRIBUTE.findall(attributes))  # the first of a name counts
        values = {name.lower(): value[1:-1] if value[:1] in "\"'" else value for name, value in named}
        url = values.get("src", "")
        if not url.lower().startswith("http:") or self.open_names["a"]:
            self.open("img", f"<img{attributes}>")
            return
        self.open("a", '<a href="{}">'.format(url.replace('"', "&quot;")))
        self.pieces.append((values.get("alt", "").strip() or url).replace("<", "&lt;").replace(">", "&gt;"))
        self.close("a")

    def close(self, name: str) -> None:
        """Close the innermost element of a name, and those inside it; nothing if none is open."""
        while self.open_names[name] and self.close_last() != name:
            pass

    def close_last(self) -> str:
        name, start = self.path.pop()
        self.open_names[name] -= 1
        if name in FORMATTING:
            self.formatting -= len(self.pieces[start])
        if name in HEADINGS:
            self.open_headings -= 1
            self.add_anchor(start)
        self.pieces.append(f"</{name}>")
        return name

    def close_all(self) -> None:
        while self.path:
            self.close_last()

    def add_anchor(self, start: int) -> None:
        """Give a heading an id made of its words, and a link to itself."""
        if self.open_headings or "id=" in self.pieces[start].lower():
            return
        words = entities.unescape("".join(piece for piece in self.pieces[start:] if not piece.startswith("<"))).strip()
        if not (slug := slug_of(words)):
            return
        self.slugs[slug] += 1
        if number := self.slugs[slug] - 1:
            slug = f"{slug}-{number}"
        self.pieces[start] = f'{self.pieces[start][:-1]} id="{ANCHOR_PREFIX}{slug}">'
        label = entities.escape(f"Link to heading '{words}'")
        self.pieces.append(f'<a class="anchor" href="#{slug}" aria-label="{label}"></a>')


def slug_of(words: str) -> str:
    """Return the words as GitHub writes them in an anchor."""
    return "".join(
        "-" if character == " " else character
        for character in words.lower()
        if character in " -_" or unicodedata.category(character)[0] in "LMN"
    )
