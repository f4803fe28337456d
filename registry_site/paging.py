"""Numbered pages of lists, and the ways between them."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Part:
    """The rows of a page, and whether more follow."""

    rows: Sequence[Any]
    has_next: bool


def part_of(rows: Sequence[Any], number: int, per_page: int) -> Part:
    """Return the rows of one page of all."""
    return Part(rows[(number - 1) * per_page : number * per_page], len(rows) > number * per_page)


def part_of_list(request: HttpRequest, list_part: Callable[[int], Part]) -> dict[str, Any]:
    """Return the rows of the page in `?page=` and the ways from it, as templates take them; raises as `ways`."""
    number = number_of(request)
    part = list_part(number)
    return {"rows": part.rows, **ways(request, number, part.rows, part.has_next)}


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
