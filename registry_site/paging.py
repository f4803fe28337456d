"""Numbered pages of lists, and the ways between them."""

from collections.abc import Sized

from django.http import HttpRequest

from registry_site.errors import Invalid, NotFound

MAX_PAGE = 200  # a database skips all rows before a page, so a later one takes ever longer
MAX_DIGITS = 9  # zeros at the beginning included


def number_of(request: HttpRequest) -> int:
    """Return the number in `?page=`, which begins with 1; raises `Invalid`."""
    text = request.GET.get("page", "1")
    is_number = len(text) <= MAX_DIGITS and text.isascii() and text.isdigit()
    if not is_number or not 1 <= int(text) <= MAX_PAGE:
        raise Invalid(f"page: give a number from 1 to {MAX_PAGE}.")
    return int(text)


def ways(request: HttpRequest, number: int, rows: Sized, has_next: bool) -> dict[str, str]:
    """Return the addresses of the pages around one, as the template of all lists takes them; empty if there is none.

    Raises `NotFound` for a page behind the last.
    """
    if number > 1 and not rows:
        raise NotFound(f"This list has no page {number}.")

    def address(page: int) -> str:
        query = request.GET.copy()
        query["page"] = str(page)
        return f"?{query.urlencode()}"

    return {
        "previous": address(number - 1) if number > 1 else "",
        "next": address(number + 1) if has_next and number < MAX_PAGE else "",
    }
