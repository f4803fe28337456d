"""Markdown to HTML that is not safe yet."""

import comrak

EXTENSIONS = comrak.ExtensionOptions()
EXTENSIONS.alerts = True
EXTENSIONS.autolink = True
EXTENSIONS.footnotes = True
EXTENSIONS.strikethrough = True
EXTENSIONS.table = True
EXTENSIONS.tasklist = True

RENDERING = comrak.RenderOptions()
RENDERING.tasklist_classes = True
RENDERING.unsafe_ = True  # raw HTML and all URLs stay; they are sanitised last


def parse(text: str) -> str:
    """Return the HTML of a Markdown text, raw HTML of its author included."""
    return comrak.render_markdown(text, EXTENSIONS, None, RENDERING)
