"""A browser for the forms of pages, and what a person reads beside their fields."""

import html
import re
from typing import Any

from django.test import Client

from tests.support.admin import FormFields

PAGE = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


class FormBrowser(Client):
    """A browser whose forms are checked for CSRF, as those of people are."""

    def __init__(self, **headers: str) -> None:
        super().__init__(enforce_csrf_checks=True, headers=headers)

    def fill_in(self, path: str, /, button: str = "", **fields: Any) -> Any:
        """Load a page, fill in fields of its form, and send it. `button` is `name=value` of the one that is pressed."""
        values = FormFields(self.get(path, headers=PAGE).content.decode()).values
        name, _, value = button.partition("=")
        pressed = {name: value} if button else {}
        token = {"csrfmiddlewaretoken": values["csrfmiddlewaretoken"]}
        return self.post(path, {**token, **fields, **pressed}, headers=PAGE)


def error_of(response: Any, field: str) -> str:
    """Return the sentences beside a field that is marked as wrong."""
    match = re.search(rf'<div class="error" id="id_{field}_error">(.*?)</div>', response.content.decode(), re.DOTALL)
    return html.unescape(" ".join(re.findall("<p>(.*?)</p>", match[1]))) if match else ""


def notices(page: str) -> list[str]:
    """Return the sentences above a form that was refused."""
    return [html.unescape(text) for text in re.findall(r'<div class="notice error" role="alert"><p>(.*?)</p>', page)]
