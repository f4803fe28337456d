"""READMEs of versions, as HTML for browsers."""

from django.conf import settings
from django.http import HttpResponse
from django.utils.html import escape

from crates import catalogue
from crates.models import VersionContents
from registry_site import markdown
from registry_site.errors import NotFound

# The HTML is sanitised; this holds if a rule of that is wrong: no script, no form, no style from elsewhere, and an
# origin of its own, whose pages read nothing of ours.
CONTENT_POLICY = "default-src 'none'; img-src {images}; style-src 'unsafe-inline'; sandbox allow-popups"


def image_sources() -> list[str]:
    """Return the sources from which pages with READMEs may show images, beside those of each page."""
    return ["https:"] if settings.README_IMAGES == "all" else []


def render_page(name: str, number: str) -> HttpResponse:
    """Respond with the README of a version as a page; raises `NotFound`."""
    version = catalogue.get_version(name, number)
    rows = VersionContents.objects.filter(version=version)
    html, text, path = rows.values_list("readme_html", "readme_text", "unrendered_readme__path").first() or ("", "", "")
    if not (html or text):
        raise NotFound(f"{version} has no README.")
    if path is not None:
        html = markdown.render_readme(text, path, version.repository)
    return page_of(str(version), html or f"<pre>{escape(text)}</pre>")


def page_of(title: str, html: str) -> HttpResponse:
    """Respond with a README, which is sanitised HTML, as a page."""
    page = f"<!DOCTYPE html><meta charset=utf-8><title>{escape(title)}</title>{html}"
    policy = CONTENT_POLICY.format(images=" ".join(image_sources()) or "'none'")
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return HttpResponse(page, content_type="text/html; charset=utf-8", headers=headers)
