"""The form of the search: its fields, and the links of its page, each a search with one field changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django import forms
from django.forms.boundfield import BoundField
from django.http import QueryDict

from registry_site import sections
from registry_site.forms import VerbForm
from registry_site.paging import MAX_PAGE
from registry_site.sections import Entry, Results, SearchQuery, Section

FILTERS = ("keyword", "category", "owner")


@dataclass(frozen=True)
class Link:
    """A way to another search."""

    title: str
    url: str
    is_current: bool = False


class SearchForm(VerbForm):
    """All fields may be missing: `/search` lists all crates. Unknown sections and orders mean the first ones."""

    result: Results | None = None

    q = forms.CharField(required=False, max_length=200)
    source = forms.CharField(required=False)
    sort = forms.CharField(required=False)
    keyword = forms.CharField(required=False, max_length=80, label="Keyword")
    category = forms.CharField(required=False, max_length=120, label="Category")
    owner = forms.CharField(required=False, max_length=300, label="Owner")
    page = forms.IntegerField(required=False, min_value=1, max_value=MAX_PAGE)

    fields_of_codes = {"invalid": "q", "query_too_long": "q"}

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        self.section: Section = sections.section_of(data.get("source", ""))

    def act(self) -> Results:
        """Search in the chosen section; raises `Invalid`."""
        data = self.cleaned_data
        filters = {name: data[name] for name in self.section.filters}
        return self.section.search(SearchQuery(data["q"], self.order, **filters, page=data["page"] or 1))

    @property
    def order(self) -> str:
        """The chosen order; empty for the first that makes sense."""
        sort: str = self.cleaned_data["sort"]
        return sort if sort in dict(self.section.sorts) else ""

    def url(self, **changes: object) -> str:
        """Return the address of this search with some fields changed, from its first page on."""
        values = {**self.cleaned_data, "source": self.section.source, "page": None, **changes}
        if values["source"] == sections.section_of("").source:
            del values["source"]
        query = urlencode({name: value for name, value in values.items() if value})
        return f"/search?{query}" if query else "/search"

    def tabs(self) -> Iterator[Link]:
        """Iterate over the sections."""
        others = dict.fromkeys((*FILTERS, "sort"))
        for section in sections.registered.values():
            yield Link(section.title, self.url(source=section.source, **others), section is self.section)

    def filters(self) -> list[BoundField]:
        """Return the fields of the section's filters."""
        return [self[name] for name in self.section.filters]

    @property
    def is_filtered(self) -> bool:
        return any(field.value() for field in self.filters())

    def orders(self) -> Iterator[Link]:
        """Iterate over the orders of the section; relevance needs words."""
        for sort, title in self.section.sorts:
            if sort != "relevance" or self.cleaned_data["q"]:
                yield Link(title, self.url(sort=sort), sort == (self.order or self.section.sort_for(self.text)))

    def active_filters(self) -> Iterator[Link]:
        """Iterate over the filters that are set, each with the search without it."""
        for name in self.section.filters:
            if value := self.cleaned_data[name]:
                yield Link(f"{self.fields[name].label}: {value}", self.url(**{name: None}))

    @property
    def text(self) -> str:
        text: str = self.cleaned_data.get("q", "")
        return text

    @property
    def page_number(self) -> int:
        return self.cleaned_data["page"] or 1

    @property
    def previous_url(self) -> str:
        return self.url(page=self.page_number - 1) if self.page_number > 1 else ""

    @property
    def next_url(self) -> str:
        has_next = self.result is not None and self.result.has_more and self.page_number < MAX_PAGE
        return self.url(page=self.page_number + 1) if has_next else ""

    def suggestions(self) -> Sequence[Entry]:
        """Return the first entries of the other sections whose names match, beside the first page of a plain search."""
        is_plain = self.text and self.page_number == 1 and not any(self.cleaned_data[name] for name in FILTERS)
        others = [section for section in sections.registered.values() if section is not self.section]
        return [entry for section in others for entry in section.suggest(self.text)] if is_plain else []
