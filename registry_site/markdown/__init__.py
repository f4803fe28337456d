"""READMEs as safe HTML: GitHub's Markdown as crates.io renders it.

`comrak` parses: crates.io runs the same library, it is safe in memory, and of the parsers that were tried it is the
quickest and has the fewest inputs that take long; `limits` refuses these. `balanced_html` lets through well-formed,
well-nested tags alone, so that no parser of HTML meets anything else. `highlighting` colours code. `nh3` sanitizes
last.
"""

import html
import re
import time
from pathlib import PurePosixPath

from registry_site.markdown.limits import TooComplex

MARKDOWN_SUFFIXES = {".md", ".markdown", ".mdown", ".mdwn", ".mkd", ".mkdn", ".mkdown"}

# Seconds of processor time after which a README is shown as text, or the rest of its code without colours. Sanitizing
# begins within this time, and takes at most as long again.
BUDGET = 0.25


def render_readme(text: str, path: str, repository: str) -> str:
    """Return a README as safe HTML; one that is no Markdown, or takes too long to render, as escaped text.

    `path` is the README's path in the repository at the URL `repository`; relative links lead there.
    """
    text = text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    if PurePosixPath(path).suffix.lower() in MARKDOWN_SUFFIXES:
        try:
            return _render_markdown(re.sub(r"\r\n?", "\n", text), path, repository)
        except TooComplex:
            pass
    return f"<pre>{html.escape(text)}</pre>"


def _render_markdown(text: str, path: str, repository: str) -> str:
    # Each command of manage.py imports this module, and few render a README.
    from registry_site.markdown import balanced_html, highlighting, limits, parsing, sanitizing

    deadline = time.thread_time() + BUDGET
    limits.check_text(text)
    unsafe = parsing.parse(text)
    limits.check_html(unsafe)
    limits.check_time(deadline)
    unsafe = balanced_html.balance(unsafe)
    limits.check_time(deadline)
    unsafe = highlighting.highlight(unsafe, deadline)
    limits.check_html(unsafe)
    safe = sanitizing.sanitize(unsafe, path, repository)
    limits.check_html(safe)
    return safe
