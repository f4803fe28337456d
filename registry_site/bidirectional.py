"""Characters that show a text in another order than the one in which it is read (CVE-2021-42574)."""

import re
from html import escape

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.utils.safestring import SafeString, mark_safe

BIDIRECTIONAL = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Of a page: elements whose text is data, the beginnings of those that can have no element in them, and any tags.
PARTS = re.compile(
    rf"<(?P<data>textarea|script|style)\b.*?</(?P=data)>"
    rf"|(?P<bare><(?:title|option)\b[^<]*)|<[^>]*>|{BIDIRECTIONAL.pattern}",
    re.DOTALL,
)


def mark_in_html(html: str) -> str:
    """Write these characters of an HTML text as their numbers."""
    return BIDIRECTIONAL.sub(name_sign, html)


def mark_in_text(text: str) -> SafeString:
    """Return a text as HTML, with these characters as their numbers."""
    return mark_safe(mark_in_html(escape(text)))  # noqa: S308 - escaped here


def mark_response(response: HttpResponseBase) -> None:
    """Write these characters as their numbers wherever the page of a response shows them, once it is rendered."""
    if isinstance(response, SimpleTemplateResponse):
        response.add_post_render_callback(mark_content)
    elif isinstance(response, HttpResponse):
        mark_content(response)


def mark_content(response: HttpResponse) -> None:
    if response.get("Content-Type", "").startswith("text/html"):
        response.content = mark_page(response.content.decode())


def mark_page(html: str) -> str:
    """Write these characters in the texts of a page as their numbers; attributes and data of forms stay."""
    return PARTS.sub(mark_part, html) if BIDIRECTIONAL.search(html) else html


def mark_part(match: re.Match[str]) -> str:
    if match["bare"]:
        tag, _, text = match[0].partition(">")
        return f"{tag}>{BIDIRECTIONAL.sub(number_of, text)}"
    return match[0] if match[0].startswith("<") else name_sign(match)


def name_sign(match: re.Match[str]) -> str:
    return f'<mark title="changes the order of the text">{number_of(match)}</mark>'


def number_of(match: re.Match[str]) -> str:
    return f"U+{ord(match[0]):X}"
