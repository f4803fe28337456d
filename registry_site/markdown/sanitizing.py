"""Safe HTML: the elements, attributes, classes and URLs that a README may have, as crates.io allows them."""

from functools import partial

import nh3
from pygments.token import STANDARD_TYPES

from registry_site.markdown.balanced_html import HEADINGS, TAGS
from registry_site.markdown.highlighting import LANGUAGES
from registry_site.markdown.links import ANCHOR_PREFIX, SourceTree, resolve, resolve_images, source_tree

ATTRIBUTES = {
    "*": {"align", "dir", "lang", "title"},
    "a": {"aria-label", "href", "hreflang", "id", "name"},
    "bdo": {"dir"},
    "blockquote": {"cite"},
    "col": {"span", "width"},
    "colgroup": {"span", "width"},
    "del": {"cite", "datetime"},
    "details": {"open"},
    "hr": {"size", "width"},
    "img": {"alt", "height", "src", "width"},
    "input": {"aria-label", "checked", "disabled", "type"},
    "ins": {"cite", "datetime"},
    "li": {"id", "value"},
    "ol": {"reversed", "start", "type"},
    "q": {"cite"},
    "source": {"media", "srcset"},
    "table": {"width"},
    "td": {"colspan", "height", "rowspan", "valign", "width"},
    "th": {"colspan", "height", "rowspan", "scope", "valign", "width"},
    "time": {"datetime"},
    "tr": {"valign"},
} | {heading: {"id"} for heading in HEADINGS}

ALERTS = ("note", "tip", "important", "warning", "caution")

CLASSES = {
    "a": {"anchor", "footnote-backref"},
    "code": {f"language-{name}" for name in [*LANGUAGES, "mermaid"]},
    "div": {"markdown-alert", *(f"markdown-alert-{kind}" for kind in ALERTS)},
    "li": {"task-list-item"},
    "p": {"markdown-alert-title"},
    "section": {"footnotes"},
    "span": {name for name in STANDARD_TYPES.values() if name},
    "sup": {"footnote-ref"},
    "ul": {"contains-task-list"},
}


def sanitize(html: str, path: str, repository: str) -> str:
    """Return the part of some HTML that is safe on a page of the registry, with its links resolved."""
    tree = source_tree(repository, path)
    return nh3.clean(
        html,
        tags=set(TAGS),
        clean_content_tags=set(),
        attributes=ATTRIBUTES,
        # An input shows whether a task of a list is done, no more. Images are fetched once a reader comes to them.
        set_tag_attribute_values={
            "input": {"aria-label": "Task", "disabled": "", "type": "checkbox"},
            "img": {"loading": "lazy"},
        },
        attribute_filter=partial(filter_attribute, tree),
        allowed_classes=CLASSES,
        url_schemes={"http", "https", "irc", "ircs", "mailto", "xmpp"},
        url_relative=partial(resolve, tree=tree),
        id_prefix=ANCHOR_PREFIX,
        link_rel="nofollow noopener noreferrer",
    )


def filter_attribute(tree: SourceTree | None, tag: str, attribute: str, value: str) -> str | None:
    """Return the value of an attribute that holds a name or URLs and that the sanitizer takes for text."""
    if attribute == "name":
        return f"{ANCHOR_PREFIX}{value.removeprefix(ANCHOR_PREFIX)}"
    if attribute == "srcset":
        return resolve_images(value, tree) or None
    if tag == "img" and attribute == "src" and value.lower().startswith("http:"):
        return None  # no page shows an image without TLS: `balance` makes a link of it, or its `alt` is shown in one
    return value
