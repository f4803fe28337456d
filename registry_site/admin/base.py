"""Base classes of the admin site's pages. The rules are in the domain's verbs, and nothing is deleted here."""

from collections.abc import Collection
from datetime import UTC
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup, DisallowedModelAdminToField
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.dateparse import parse_datetime
from django.utils.text import capfirst

from registry_site import address_lookup
from registry_site.admin.actions import StaffActionsAdmin
from registry_site.admin.address_links import linked
from registry_site.admin.export import ExportAdmin
from registry_site.admin.keys import require_possible_key, require_possible_keys
from registry_site.admin.lists import CappedPaginator
from registry_site.download_counts import total_of
from registry_site.errors import RegistryError
from registry_site.http.dialects import status_of
from registry_site.http.request_log import annotate, annotate_refusal

MAX_SEARCH_WORDS = 32  # each adds conditions to the query, of which SQLite takes a thousand


class DeclaredFiltersChangeList(ChangeList):
    """A list that takes the parameters of its declared filters, and no other lookup.

    Django takes every lookup of every column: a regular expression that never ends, or the start of a hidden secret.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.is_popup:  # in which a row is to be selected
            self.title = str(capfirst(self.opts.verbose_name_plural))

    def get_filters(self, request: HttpRequest) -> Any:
        try:
            filters = super().get_filters(request)
            for declared in filters[0]:
                if isinstance(declared, admin.DateFieldListFilter):
                    used: Any = declared.used_parameters
                    declared.used_parameters = {name: list(map(in_utc, values)) for name, values in used.items()}
        except OverflowError as error:  # the day after the last day of the calendar
            raise IncorrectLookupParameters from error
        if filters[2]:  # declared filters have taken their parameters out
            raise DisallowedModelAdminLookup(f"This list has no filter {min(filters[2])[:80]}.")
        return filters


def in_utc(value: Any) -> Any:
    """Return the time of a text, such as a day, in UTC, since PostgreSQL takes no offset of 16 hours; others as is.

    Raises `OverflowError` for a time that its offset carries out of the calendar.
    """
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:  # a day such as February 30, which the filter refuses itself
        return value
    if moment is None:
        return value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class RefusedForm(forms.ModelForm):
    """A form that a verb of the domain has refused: it is shown again, with all that was typed."""

    refusal: RegistryError

    def full_clean(self) -> None:
        super().full_clean()
        self.add_error(None, self.refusal.message)


class DomainAdmin(ExportAdmin, StaffActionsAdmin):
    """Rows that are never deleted here. A form that a verb of the domain refuses has changed nothing."""

    typed_fields: Collection[str] = ()  # relations that the form, or a table in it, takes by name and not by key

    list_per_page = 50
    show_full_result_count = False  # a database counts rows one by one
    show_facets = admin.ShowFacets.NEVER  # they count all rows, once for each filter
    paginator = CappedPaginator
    address_columns: tuple[str, ...] = ()  # an address or a network in the search is looked for in these alone

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeclaredFiltersChangeList

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Let addresses lead to their pages."""
        return [linked(self.model, column) for column in super().get_list_display(request)]

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[Any], bool]:
        """Find an address or a network in `address_columns`, and other text as `find` does."""
        if len(search_term.split()) > MAX_SEARCH_WORDS:
            raise DisallowedModelAdminLookup(f"Search for at most {MAX_SEARCH_WORDS} words.")
        text = search_term.strip()
        if not text:
            return queryset, False
        if self.address_columns and address_lookup.is_network(text):
            return queryset.filter(address_lookup.within_any(self.address_columns, text)), False
        return self.find(request, queryset, text)

    def find(self, request: HttpRequest, queryset: Any, text: str) -> tuple[QuerySet[Any], bool]:
        """Find a text in `search_fields`, and say whether rows may come twice."""
        return super().get_search_results(request, queryset, text)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Ignore the query of the URL, with which Django fills in a new form: it breaks on values of another type."""
        return {}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        refusal = getattr(request, "refusal", None)
        return type(form.__name__, (RefusedForm, form), {"refusal": refusal}) if refusal else form

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            for model in (self.model, *(inline.model for inline in self.inlines)):
                require_possible_keys(request, model, self.typed_fields)
        except RegistryError as error:
            return self.show_error(request, error)
        try:
            return super().changeform_view(request, *args, **kwargs)
        except RegistryError as error:
            request.refusal = error  # type: ignore[attr-defined]  # for `get_form`
            annotate_refusal(status_of(error), error.code, error.message)
            return super().changeform_view(request, *args, **kwargs)
        except DisallowedModelAdminToField as error:
            return self.refuse(request, error)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changelist_view(request, *args, **kwargs)
        except RegistryError as error:
            return self.show_error(request, error)
        except (DisallowedModelAdminLookup, DisallowedModelAdminToField) as error:
            return self.refuse(request, error)

    def get_subject(self, row: Any) -> Any:
        """Return the row whose events are the history of a row: itself, or what the events of such rows are about."""
        return row

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """`…/PK/history/`: the events of the audit log, instead of what Django logs of its forms alone."""
        from registry_site.admin import history  # late: it needs this class

        return history.page_of(self, request, object_id) or super().history_view(request, object_id, extra_context)

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


class UnchangedAdmin(DomainAdmin):
    """Rows that are added and ended, but never changed."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and bool(super().has_change_permission(request))


class CountedAdmin(DomainAdmin):
    """Rows with a column of their downloads, which the list reads with the rows themselves."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("downloads")

    @admin.display(description="downloads", ordering="downloads__total")
    def download_total(self, row: Any) -> int:
        return total_of(row)


class ReadOnlyAdmin(DomainAdmin):
    """Rows for reading only."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
