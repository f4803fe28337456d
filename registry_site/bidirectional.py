"""Characters that show a text in another order than the one in which it is read (CVE-2021-42574)."""

import re
from html import escape

from django.utils.safestring import SafeString, mark_safe

BIDIRECTIONAL = re.compile("[\u202a-\u202e\u2066-\u2069]")


def mark_in_html(html: str) -> str:
    """Write these characters of an HTML text as their numbers."""
    return BIDIRECTIONAL.sub(name_sign, html)


def mark_in_text(text: str) -> SafeString:
    """Return a text as HTML, with these characters as their numbers."""
    return mark_safe(mark_in_html(escape(text)))  # noqa: S308 - escaped here


def name_sign(match: re.Match[str]) -> str:
    return f'<mark title="changes the order of the text">U+{ord(match[0]):X}</mark>'
