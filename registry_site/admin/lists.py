"""Lists of the admin site among many rows: how they count, and their filters, in words or with boxes to type in."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.filters import DateFieldListFilter, FieldListFilter
from django.core.paginator import Page, Paginator
from django.db.models import DateField, Q, QuerySet
from django.http import HttpRequest

from registry_site import address_lookup
from registry_site.errors import Invalid

MAX_COUNT = 10_000  # rows of a list, which has pages for no more: filters lead to the others


class CappedPaginator(Paginator):
    """Pages of a list that counts no further than `max_count`, since a database counts rows one by one."""

    max_count = MAX_COUNT

    @cached_property
    def full_count(self) -> int:
        """How many rows there are, or one more than `max_count`."""
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: self.max_count + 1].count())

    @property
    def is_capped(self) -> bool:
        return self.full_count > self.max_count

    @cached_property
    def count(self) -> int:
        return min(self.full_count, self.max_count)

    def page(self, number: Any) -> Page:
        """Return a page, whose rows are chosen by their keys: a database computes all columns of what it sorts."""
        page = super().page(number)
        rows: Any = self.object_list
        chosen: Any = page.object_list
        page.object_list = rows.filter(pk__in=chosen.values("pk"))
        return page


def hidden_parameters(changelist: Any, *names: str) -> list[tuple[str, str]]:
    """List the parameters of a list but these, which the form of a filter has to keep."""
    others = {name: values for name, values in changelist.get_filters_params().items() if name not in names}
    kept = [(name, changelist.params[name]) for name in ("q", "o") if changelist.params.get(name)]
    return [*kept, *((name, value) for name, values in others.items() for value in values)]


TITLES = {"at": "time", "until": "end", "last_at": "when last seen", "date_joined": "when joined"}


class TimeFilter(DateFieldListFilter):
    """Links to today, this month and so on, and fields for any two days."""

    template = "admin/time_filter.html"

    def __init__(self, field: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(field, *args, **kwargs)
        name = field.name
        of_event = f"when {name.removesuffix('_at').replace('_', ' ')}" if name.endswith("_at") else self.title
        self.title = TITLES.get(name, of_event)

    def range_form(self, changelist: Any) -> dict[str, Any]:
        since, until = self.lookup_kwarg_since, self.lookup_kwarg_until
        fields = [("From", since, self.typed(since)), ("Before", until, self.typed(until))]
        return {"hidden": hidden_parameters(changelist, since, until), "fields": fields}

    def typed(self, name: str) -> str:
        """Return the day of a parameter."""
        return str(self.date_params.get(name) or "")[:10]

    def choices(self, changelist: Any) -> Iterator[Any]:
        self.form = self.range_form(changelist)
        yield from super().choices(changelist)


FieldListFilter.register(lambda column: isinstance(column, DateField), TimeFilter, take_priority=True)


Filter = TypeVar("Filter", bound=FieldListFilter)


def state_filter(title: str, empty: str, filled: str) -> type[admin.EmptyFieldListFilter]:
    """Return the filter by whether a column is empty, in words for what that says of a row."""
    return in_words(admin.EmptyFieldListFilter, title, empty, filled)


def flag_filter(title: str, true: str, false: str) -> type[admin.BooleanFieldListFilter]:
    """Return the filter by a boolean column, in words."""
    return in_words(admin.BooleanFieldListFilter, title, true, false)


def in_words(kind: type[Filter], title: str, *words: str) -> type[Filter]:
    """Return a filter with this title, and with these words for its choices in place of Django's."""

    class WordedFilter(kind):  # type: ignore[valid-type, misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.title = title

        def choices(self, changelist: Any) -> Iterator[Any]:
            for choice, word in zip(super().choices(changelist), ("All", *words), strict=False):
                yield {**choice, "display": word}

    return WordedFilter


class TextFilter(admin.SimpleListFilter):
    """A box beside a list. What staff type there stays in the address of the list."""

    template = "admin/text_filter.html"
    help_text: ClassVar[str] = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return ()

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = (self.value() or "").strip()
        if not text:
            return queryset
        try:
            return queryset.filter(self.condition(text))
        except Invalid as error:
            messages.error(request, error.message, fail_silently=True)
            return queryset.none()

    def condition(self, text: str) -> Q:
        """Return which rows match a text. Raises `Invalid` for one that none can match."""
        raise NotImplementedError

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Iterate over one entry, for the box: its text, and the other parameters of the list."""
        hidden = hidden_parameters(changelist, self.parameter_name or "")
        remove = changelist.get_query_string(remove=[self.parameter_name])
        yield {"text": self.value() or "", "hidden": hidden, "remove": remove, "help_text": self.help_text}


class AddressFilter(TextFilter):
    """Rows from one address, or from a network; `columns` are those with an address."""

    title = "address"
    parameter_name = "address"
    help_text = "Such as 192.0.2.7 or 192.0.2.0/24."
    columns: ClassVar[tuple[str, ...]] = ("ip_address",)

    def condition(self, text: str) -> Q:
        return address_lookup.within_any(self.columns, text)


def address_filter(*columns: str) -> type[AddressFilter]:
    """Return the filter by addresses in these columns."""
    return type("AddressFilterOf", (AddressFilter,), {"columns": columns})


class SelectFilter(TextFilter):
    """A menu beside a list, for a column with too many values for a link each."""

    template = "admin/select_filter.html"
    column: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return model_admin.model._meta.get_field(self.column).flatchoices

    def condition(self, text: str) -> Q:
        return Q(**{self.column: text})


def select_filter(column: str) -> type[SelectFilter]:
    """Return the filter by the values of a column."""
    name = f"{column}__exact"
    return type("SelectFilterOf", (SelectFilter,), {"column": column, "title": column, "parameter_name": name})
