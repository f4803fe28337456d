"""READMEs as HTML: GitHub's dialect, links into the repository, and nothing that harms a reader or the server."""

from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from playwright.sync_api import sync_playwright

from registry_site import markdown
from registry_site.markdown import links, render_readme
from registry_site.markdown.balanced_html import TAGS
from registry_site.markdown.limits import MAX_HTML_CHARACTERS, MAX_TEXT_BYTES
from tests.support.chromium import CHROMIUM
from tests.support.hostile_readmes import ATTACKS, MAKERS
from tests.support.readme_pages import SAFE_ATTRIBUTES

pytestmark = pytest.mark.database_independent

OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
REPOSITORY = "https://github.com/alice/tool"
REL = 'rel="nofollow noopener noreferrer"'


@pytest.fixture(autouse=True)
def ample_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of size decide in these tests, and not how busy the machine is."""
    monkeypatch.setattr(markdown, "BUDGET", 60)


def render(text: str, path: str = "README.md", repository: str = REPOSITORY) -> str:
    return render_readme(text, path, repository).strip()


# Markdown and its HTML. REL stands for the `rel` of each link.
DIALECT = [
    (
        "~~a~~ <https://a.b> www.a.b",
        '<p><del>a</del> <a href="https://a.b" REL>https://a.b</a> <a href="http://www.a.b" REL>www.a.b</a></p>',
    ),
    (
        "| a |\n|--:|\n| 1 |",
        '<table>\n<thead>\n<tr>\n<th align="right">a</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n'
        '<td align="right">1</td>\n</tr>\n</tbody>\n</table>',
    ),
    (
        "- [x] a",
        '<ul class="contains-task-list">\n<li class="task-list-item">'
        '<input type="checkbox" checked="" disabled="" aria-label="Task"> a</li>\n</ul>',
    ),
    (
        "> [!NOTE]\n> a",
        '<div class="markdown-alert markdown-alert-note">\n<p class="markdown-alert-title">Note</p>\n<p>a</p>\n</div>',
    ),
    (
        "```rust,no_run\nfn a() {}\n```",
        '<pre><code class="language-rust"><span class="k">fn</span> <span class="nf">a</span>'
        '<span class="p">()</span> <span class="p">{}</span>'
        "\n</code></pre>",
    ),
    (
        "```mermaid\na < b\n```",
        '<pre><code class="language-mermaid">a &lt; b\n</code></pre>',
    ),
    (
        "```\na\n```",
        "<pre><code>a\n</code></pre>",
    ),
    (
        "<details open><summary>a</summary>\n\n**b**\n</details>",
        '<details open=""><summary>a</summary>\n<p><strong>b</strong></p>\n</details>',
    ),
    (
        '<p align="center"><img src="https://a.b/c" width="9"><kbd>a</kbd><sub>b</sub><sup>c</sup></p>',
        '<p align="center"><img src="https://a.b/c" width="9" loading="lazy"><kbd>a</kbd><sub>b</sub><sup>c</sup></p>',
    ),
    (
        '![a](http://b.c/d) <img alt="e" src="HTTP://b.c/d" srcset="http://b.c/d 2x">',
        '<p><a href="http://b.c/d" REL>a</a> <a href="HTTP://b.c/d" REL>e</a></p>',
    ),
    (
        "[![a](http://b.c/d)](https://e.f) <img src=http://b.c/g> <img src='http://b.c/&quot;h' alt='&lt;i>\"'>",
        '<p><a href="https://e.f" REL><img loading="lazy" alt="a"></a> <a href="http://b.c/g" REL>http://b.c/g</a> '
        '<a href="http://b.c/&quot;h" REL>&lt;i&gt;"</a></p>',
    ),
    (
        '<img title="a src=http://b.c/d e" src="https://b.c/f" src="http://b.c/g">',
        '<img title="a src=http://b.c/d e" src="https://b.c/f" loading="lazy">',
    ),
    (
        """<img src='http:"><table><table onclick=a>' alt='"><p>'>""",
        '<a REL>"&gt;&lt;p&gt;</a>',
    ),
    (
        "<b><i>a</b></i> Vec<T> a < b",
        "<p><b><i>a</i></b> Vec a &lt; b</p>",
    ),
    (
        "<script>a</script>",
        "&lt;script&gt;a&lt;/script&gt;",
    ),
    (
        "<!-- a -->b",
        "b",
    ),
]


def test_dialect_is_that_of_github() -> None:
    rendered = [(text, render(text).replace(REL, "REL")) for text, _ in DIALECT]
    assert rendered == DIALECT


def test_headings_have_anchors_that_links_reach() -> None:
    html = render("# A `b` & c!\n\nd\n===\n\n# d\n\n<h2 align=center>É</h2>\n\n[x](#d-1)")
    anchors = [value for name, value in attributes(html) if name == "id"]
    assert anchors == [f"user-content-{slug}" for slug in ("a-b--c", "d", "d-1", "é")]
    assert [value for name, value in attributes(html) if name == "href"] == [
        *(f"#{a}" for a in anchors),
        f"#{anchors[2]}",
    ]


def test_footnotes_link_back_and_forth() -> None:
    ids, links = ([v for n, v in attributes(render("a[^1]\n\n[^1]: b")) if n == name] for name in ("id", "href"))
    assert ids == ["user-content-fnref-1", "user-content-fn-1"]
    assert links == ["#user-content-fn-1", "#user-content-fnref-1"]


LINKS = [
    (REPOSITORY, "README.md", "docs/a.md#b", f"{REPOSITORY}/blob/HEAD/docs/a.md#b"),
    (f"{REPOSITORY}.git", "README.md", "./a/../b", f"{REPOSITORY}/blob/HEAD/b"),
    (f"{REPOSITORY}/tree/main/sub/", "sub/README.md", "../../../LICENSE", f"{REPOSITORY}/blob/HEAD/LICENSE"),
    (REPOSITORY, "sub/README.md", "a.png?b", f"{REPOSITORY}/raw/HEAD/sub/a.png?b"),
    (REPOSITORY, "sub/README.md", "/a.svg", f"{REPOSITORY}/raw/HEAD/a.svg?sanitize=true"),
    ("http://www.gitlab.com/a/b/c/-/tree/x", "README.md", "d", "https://gitlab.com/a/b/c/blob/HEAD/d"),
    ("https://bitbucket.org/a/b", "README.md", "c", "https://bitbucket.org/a/b/src/HEAD/c"),
    ("https://codeberg.org/a/b", "README.md", "c.gif", "https://codeberg.org/a/b/raw/branch/HEAD/c.gif"),
    (REPOSITORY, "README.md", "//a.b/c", "https://a.b/c"),
    (REPOSITORY, "README.md", "::a", None),
    (REPOSITORY, "README.md", "a::b", None),
    ("https://git.example/a/b", "README.md", "c", None),
    ("https://github.com/a", "README.md", "c", None),
    ("https://github.com/a/b\"><script>", "README.md", "c", None),
    ("https://[", "README.md", "c", None),
    ("", "README.md", "c", None),
]  # fmt: skip


def test_relative_links_lead_into_the_repository() -> None:
    offenders = []
    for repository, path, link, expected in LINKS:
        for text in (f"[a]({link})", f'<img src="{link}">'):
            urls = [value for name, value in attributes(render(text, path, repository)) if name in {"href", "src"}]
            if urls != ([expected] if expected else []):
                offenders.append((repository, link, urls))
    assert offenders == []


def test_commits_lead_to_sites_whose_urls_are_certain() -> None:
    pages = {
        "https://github.com/a/b.git": "https://github.com/a/b/commit/c0",
        "https://gitlab.com/a/b/c": "https://gitlab.com/a/b/c/-/commit/c0",
        "https://bitbucket.org/a/b": "https://bitbucket.org/a/b/commits/c0",
        "https://codeberg.org/a/b": "https://codeberg.org/a/b/commit/c0",
        "https://git.example/a/b": "",
        "": "",
    }
    assert {repository: links.commit_page(repository, "c0") for repository in pages} == pages
    assert links.commit_page("https://github.com/a/b", "") == ""


def test_images_to_choose_from_are_resolved() -> None:
    html = render('<picture><source srcset="a.png 1x, data:b 2x, https://c.d/e"><img src="a.png"></picture>')
    raw = f"{REPOSITORY}/raw/HEAD/a.png"
    assert f'<picture><source srcset="{raw} 1x, https://c.d/e"><img src="{raw}" loading="lazy"></picture>' in html


def test_other_texts_are_shown_as_they_are() -> None:
    for path in ("README.txt", "README.rst", "README", ""):
        assert render("# <a>\r\n\0&", path) == "<pre># &lt;a&gt;\r\n\N{REPLACEMENT CHARACTER}&amp;</pre>"


def test_long_text_is_shown_as_it_is() -> None:
    text = "abc\n\n\n\n" * (MAX_TEXT_BYTES // 7)
    assert render(text).startswith("<p>abc")
    assert render(text + "abcdefg").startswith("<pre>abc")


BEYOND_LIMITS = {
    "nested quotes": "> " * 100 + "a",
    "nested items": "- " * 100 + "a",
    "nested footnotes": "[^a]: " * 100 + "a",
    "nested elements": "<div>" * 101,
    "columns of a table": f"|{'a|' * 500}\n|{'-|' * 500}\n",
    "cells of a table": f"|{'a|' * 100}\n|{'-|' * 100}\n" + "a\n" * 1000,
    "addresses of a line": "a@b.c " * 201,
    "parentheses of a word": "http://a.b/" + ")" * 201,
    "addresses of a word": "_www." * 201 + "*",
    "emphasis of a block": "_a*\n" * 2501,
    "characters of a block": "a\n" * 32_769,
    "footnotes around footnotes": "[^a" * 202 + "]" * 202,
    "formatting to open again": f"<a title='{'x' * 100_000}'>" + "<p>x</p>" * 20,
    "HTML of a short text": "[^a]: b\n\n" + "[^a] " * 20_000,
}


def test_text_beyond_a_limit_stays_text() -> None:
    assert [name for name, text in BEYOND_LIMITS.items() if not render(text).startswith("<pre>")] == []


def test_hostile_readme_ends_as_html_or_text() -> None:
    """Check the shape; `benchmarks.readmes` measures the time at full size."""
    offenders = []
    for name, make in MAKERS.items():
        html = render(make(8 * 1024))
        if len(html) > MAX_HTML_CHARACTERS or harm(html):
            offenders.append(name)
        if not render(make(512 * 1024)).startswith("<pre>"):
            offenders.append(f"{name}, 512 KiB")
    assert offenders == []


class Harm(HTMLParser):
    """Collects what a README must not have on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str]] = []
        self.harm: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in TAGS:
            self.harm.append(tag)
        for name, value in attrs:
            url = (value or "").lower()
            if (
                name not in SAFE_ATTRIBUTES
                or (
                    name in {"href", "src"} and not url.startswith(("https://", "http://", "mailto:", "#user-content-"))
                )
                or (name == "srcset" and ("javascript:" in url or "data:" in url))
                or (name in {"id", "name"} and not url.startswith("user-content-"))
            ):
                self.harm.append(f"{tag} {name}={value}")


def read(html: str) -> Harm:
    reader = Harm()
    reader.feed(html)
    reader.close()
    return reader


def attributes(html: str) -> Iterator[tuple[str, str]]:
    return iter(read(html).attributes)


def harm(html: str) -> list[str]:
    return read(html).harm


def test_attacks_come_out_harmless() -> None:
    texts = [*ATTACKS, "\n\n".join(ATTACKS), *(f"a {attack} b" for attack in ATTACKS)]
    assert [(text, parts) for text in texts if (parts := harm(render(text)))] == []


def test_links_of_a_readme_are_not_followed() -> None:
    html = render("[a](https://a.b) <a href=https://a.b rel=opener target=_top>b</a>")
    assert [value for name, value in attributes(html) if name in {"rel", "target"}] == [
        "nofollow noopener noreferrer"
    ] * 2


@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")
def test_no_script_of_a_readme_runs() -> None:
    readmes = "".join(f"<div>{render(attack)}</div>" for attack in [*ATTACKS, "\n\n".join(ATTACKS)])
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as browser,
    ):
        page = browser.new_page()
        page.add_init_script("window.runs = []; window.hit = (name = 'readme') => runs.push(name)")
        page.route(
            "**/*",
            lambda route: route.fulfill(
                content_type="text/html", body=f"<!doctype html>{readmes}<img src=x onerror=hit('ours')>"
            ),
        )
        page.goto("http://registry.example/")
        page.wait_for_function("runs.includes('ours')")  # a script that can run does
        assert page.evaluate("runs") == ["ours"]
        assert page.evaluate("[...document.links].map(link => link.protocol).filter(it => it == 'javascript:')") == []
        assert page.evaluate("[typeof document.cookie, typeof document.getElementById]") == ["string", "function"]
