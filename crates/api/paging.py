"""Parameters of lists, and the way to their next pages."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from crates import cursors
from crates.catalogue import MAX_PER_PAGE
from registry_site.paging import MAX_PAGE

MAX_INTEGER = 2**31
MAX_VALUES = 100  # of a parameter that may come several times


class PerPage(serializers.IntegerField):
    """The length of a page. More than is served means as much as is served: cargo counts on it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"default": 10, "min_value": 1, "max_value": MAX_INTEGER, **options})

    def to_internal_value(self, data: Any) -> int:
        number = super().to_internal_value(data)
        return number if number > MAX_INTEGER else min(number, MAX_PER_PAGE)  # the former is refused after this


class Page(serializers.IntegerField):
    """The number of a page."""

    def __init__(self, **options: Any) -> None:
        too_far = "There are at most {max_value} pages; without `page`, follow meta.next_page or narrow the list."
        super().__init__(
            **{"default": 1, "min_value": 1, "max_value": MAX_PAGE, "error_messages": {"max_value": too_far}, **options}
        )


class PageQuery(serializers.Serializer[None]):
    page = Page()
    per_page = PerPage()


class Seek(serializers.CharField):
    """The cursor of the page before."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"default": "", "allow_blank": True, "max_length": cursors.MAX_LENGTH, **options})


def value_list(max_length: int) -> serializers.ListField:
    """Return the field of a parameter that may come several times, such as `ids[]`."""
    return serializers.ListField(
        child=serializers.CharField(max_length=max_length), default=list, max_length=MAX_VALUES
    )


def query_with(request: Request, **changes: Any) -> str:
    """Return the query of a request with other values; None takes a parameter away."""
    query = request.query_params.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = str(value)
    return f"?{query.urlencode()}"
