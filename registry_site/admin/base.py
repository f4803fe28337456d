"""Base classes of the admin site's pages. The rules are in the domain's verbs, and nothing is deleted here."""

from datetime import UTC
from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup, DisallowedModelAdminToField
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.dateparse import parse_datetime

from registry_site.errors import Invalid, RegistryError
from registry_site.http.request_log import annotate

MAX_SEARCH_WORDS = 32  # each adds conditions to the query, of which SQLite takes a thousand


class DeclaredFiltersChangeList(ChangeList):
    """A list that takes the parameters of its declared filters, and no other lookup.

    Django takes every lookup of every column: a regular expression that never ends, or the start of a hidden secret.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        try:
            filters = super().get_filters(request)
            for declared in filters[0]:
                if isinstance(declared, admin.DateFieldListFilter):
                    used: Any = declared.used_parameters
                    declared.used_parameters = {name: list(map(in_utc, values)) for name, values in used.items()}
        except OverflowError as error:  # the day after the last day of the calendar
            raise IncorrectLookupParameters from error
        # Declared filters have taken their parameters out; a year of the date hierarchy has become a range.
        undeclared = set(filters[2])
        if f"{self.date_hierarchy}__year" in self.params:
            undeclared -= {f"{self.date_hierarchy}__gte", f"{self.date_hierarchy}__lt"}
        if undeclared:
            raise DisallowedModelAdminLookup(f"This list has no filter {min(undeclared)[:80]}.")
        return filters


def in_utc(value: Any) -> Any:
    """Return the time of a text with an offset in UTC, since PostgreSQL takes no offset of 16 hours; others as is.

    Raises `OverflowError` for a time that its offset carries out of the calendar.
    """
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:  # a day such as February 30, which the filter refuses itself
        return value
    return value if moment is None or moment.tzinfo is None else moment.astimezone(UTC)


def require_possible_key(model: Any, key: str) -> None:
    """Raise `Invalid` for text that can be the primary key of no row of a model."""
    try:
        model._meta.pk.clean(key, None)
    except ValidationError as error:
        raise Invalid("The selection names a row that no list has; select the rows again.") from error


def require_possible_keys(request: HttpRequest, model: type[Model]) -> None:
    """Check the keys that a form sends for the relations of a model. Django fails on some others.

    The names of fields in a table of the form begin with that of the table: `ownerships-0-user`.
    """
    relations = [field for field in model._meta.get_fields() if field.many_to_one or field.many_to_many]
    related: dict[str, Any] = {field.name: field.related_model for field in relations if field.concrete}
    for name, keys in request.POST.lists():
        column = name.rpartition("-")[2]
        for key in filter(None, keys if column in related else ()):
            require_possible_key(related[column], str(key))


class DomainAdmin(admin.ModelAdmin):
    """Rows that are never deleted here. An error of the domain is shown as a message.

    A form then has changed nothing. An action on many rows changes each in a transaction of its own, so that no other
    writer waits for all of them; it has to know before the first which of them the rules let through.
    """

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeclaredFiltersChangeList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[Any], bool]:
        if len(search_term.split()) > MAX_SEARCH_WORDS:
            raise DisallowedModelAdminLookup(f"Search for at most {MAX_SEARCH_WORDS} words.")
        return super().get_search_results(request, queryset, search_term)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Ignore the query of the URL, with which Django fills in a new form: it breaks on values of another type."""
        return {}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            for model in (self.model, *(inline.model for inline in self.inlines)):
                require_possible_keys(request, model)
            return super().changeform_view(request, *args, **kwargs)
        except RegistryError as error:
            return self.show_error(request, error)
        except DisallowedModelAdminToField as error:
            return self.refuse(request, error)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changelist_view(request, *args, **kwargs)
        except RegistryError as error:
            return self.show_error(request, error)
        except (DisallowedModelAdminLookup, DisallowedModelAdminToField) as error:
            return self.refuse(request, error)

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            require_possible_key(self.model, key)
        return super().response_action(request, *args, **kwargs)

    def show_error(self, request: HttpRequest, error: RegistryError) -> HttpResponseRedirect:
        """Return to the same page, where the message of the error is shown."""
        self.message_user(request, error.message, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def refuse(self, request: HttpRequest, error: Exception) -> TemplateResponse:
        """Return a page of the admin site that says why the query of the URL is refused."""
        annotate(code="lookup_refused")
        context = {**self.admin_site.each_context(request), "title": "Refused", "opts": self.opts, "message": error}
        return TemplateResponse(request, "admin/refused.html", context, status=HTTPStatus.BAD_REQUEST)


class CountedAdmin(DomainAdmin):
    """Rows with a column of their downloads, which the list reads with the rows themselves."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("downloads")

    @admin.display(description="downloads", ordering="downloads__total")
    def download_total(self, row: Any) -> int:
        return row.downloads.total if hasattr(row, "downloads") else 0


class ReadOnlyAdmin(DomainAdmin):
    """Rows for reading only."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyInline(admin.TabularInline):
    """Rows for reading only, on the page of another object."""

    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
