"""Lists of the admin site as CSV and JSON: their rows by the same filters and search, in the same order and columns.

The keys of all rows are read first, and then the rows piece by piece, so that a slow client holds neither the database
nor memory. Somebody's next export waits for the end of the first.
"""

import csv
import html
import io
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import label_for_field, lookup_field
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db.models import IntegerField, Model, QuerySet
from django.http import (
    HttpRequest,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import path, reverse
from django.utils.html import strip_tags
from django.utils.safestring import SafeString
from django.utils.timezone import now

from registry_site import audit
from registry_site.errors import Invalid, RegistryError, TooManyRequests
from registry_site.file_locks import file_lock

MAX_ROWS = 1_000_000
PIECE = 500  # rows that are in memory at once
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # with which spreadsheets begin a formula, or skip to one

Value = str | int | float | bool | None


class ExportAdmin(admin.ModelAdmin):
    """A list that staff who may view it can have as a file."""

    # Attributes of the rows, by the columns of the list that show them cut, rounded or as links.
    exported_attributes: ClassVar[Mapping[str, str]] = {}

    def get_urls(self) -> Any:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(self.export_view)
        return [path(f"export.{kind}", view, {"kind": kind}, f"{name}_{kind}") for kind in WRITERS] + super().get_urls()

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """`…/export.csv?…`: the rows of the list with this query, as a file. By POST, since it leaves an event."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            return self.export(request, kind)
        except (RegistryError, IncorrectLookupParameters) as error:
            messages.error(request, getattr(error, "message", "This list has no such filter."))
            url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
            return HttpResponseRedirect(f"{url}?{request.GET.urlencode()}" if request.GET else url)

    def export(self, request: HttpRequest, kind: str) -> StreamingHttpResponse:
        """Return the file. Raises `TooManyRequests` and `Invalid`."""
        changelist = self.get_changelist_instance(request)
        columns = [name for name in changelist.list_display if name != "action_checkbox"]
        with ExitStack() as stack:
            if not stack.enter_context(file_lock(f"export of {request.user.pk}", 0)):
                raise TooManyRequests("Another export of yours is not ready yet; wait for its end.", 5)
            keys = read_keys(changelist.queryset, self.model)
            rows = changelist.apply_select_related(self.get_queryset(request))
            export = Export(WRITERS[kind](self.headings(columns)), self.read(rows, keys, columns), stack.pop_all())
        target = str(self.opts.verbose_name_plural)
        query = request.GET.urlencode()[:500]
        audit.record(request.user, audit.Action.REGISTRY_EXPORT, target, format=kind, rows=len(keys), query=query)  # type: ignore[arg-type]
        response = StreamingHttpResponse(export, content_type=CONTENT_TYPES[kind])
        name = f"{self.opts.model_name}-{now():%Y%m%d-%H%M%S}.{kind}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["Cache-Control"] = "no-store"
        return response

    def headings(self, columns: Sequence[Any]) -> list[str]:
        """Return the names of the columns, the key first."""
        return ["key", *(str(label_for_field(name, self.model, self)) for name in columns)]

    def read(self, rows: QuerySet[Any], keys: Sequence[Any], columns: Sequence[Any]) -> Iterator[list[list[Value]]]:
        """Iterate over the cells of the rows, piece by piece; what was deleted meanwhile is left out."""
        for start in range(0, len(keys), PIECE):
            piece = list(keys[start : start + PIECE])
            by_key = {row.pk: row for row in rows.filter(pk__in=piece)}
            present = [by_key[key] for key in piece if key in by_key]
            yield [[plain(row.pk), *(self.cell(row, name) for name in columns)] for row in present]

    def cell(self, row: Model, name: Any) -> Value:
        """Return the whole value of a column of the list, without HTML."""
        try:
            column, _, value = lookup_field(self.exported_attributes.get(name, name), row, self)
        except ObjectDoesNotExist:
            return None
        if column is not None and column.is_relation:
            value = getattr(row, column.name)
        return plain(value)


def read_keys(queryset: QuerySet[Any], model: type[Model]) -> Sequence[Any]:
    """Return the keys of all rows in the order of the list. Raises `Invalid` for more than `MAX_ROWS`."""
    keys = queryset.values_list("pk", flat=True)[: MAX_ROWS + 1].iterator(chunk_size=10_000)
    read: Sequence[Any] = array("q", keys) if isinstance(model._meta.pk, IntegerField) else list(keys)
    if len(read) > MAX_ROWS:
        raise Invalid(f"This list has more than {MAX_ROWS:,} rows; filter it, and export the parts.")
    return read


def plain(value: Any) -> Value:
    """Return a value as text, number or nothing; times in UTC."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return html.unescape(strip_tags(value)) if isinstance(value, SafeString) else str(value)


def defused(value: Value) -> Value:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


class Writer:
    """A form of the file: what stands before, between and after its rows."""

    def __init__(self, headings: Sequence[str]) -> None:
        self.headings = headings
        self.is_first = True

    def begin(self) -> str:
        return ""

    def write(self, rows: Sequence[Sequence[Value]]) -> str:
        raise NotImplementedError

    def end(self) -> str:
        return ""


class CsvWriter(Writer):
    def begin(self) -> str:
        return self.write([self.headings])

    def write(self, rows: Sequence[Sequence[Value]]) -> str:
        text = io.StringIO()
        csv.writer(text).writerows([map(defused, row) for row in rows])
        return text.getvalue()


class JsonWriter(Writer):
    """An array of objects, one on each line. Without its last line it is no JSON: then the file is not whole."""

    def begin(self) -> str:
        return "["

    def write(self, rows: Sequence[Sequence[Value]]) -> str:
        objects = [json.dumps(dict(zip(self.headings, row, strict=True)), ensure_ascii=False) for row in rows]
        before, self.is_first = ("\n" if self.is_first else ",\n"), self.is_first and not objects
        return before + ",\n".join(objects) if objects else ""

    def end(self) -> str:
        return "\n]\n"


WRITERS: dict[str, Callable[[Sequence[str]], Writer]] = {"csv": CsvWriter, "json": JsonWriter}
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


class Export:
    """The pieces of a file. Closed at its end, or when the client leaves, it lets the next export begin."""

    def __init__(self, writer: Writer, pieces: Iterator[list[list[Value]]], lock: ExitStack) -> None:
        self.texts = self.write(writer, pieces)
        self.lock = lock

    def write(self, writer: Writer, pieces: Iterator[list[list[Value]]]) -> Iterator[bytes]:
        yield writer.begin().encode()
        for rows in pieces:
            yield writer.write(rows).encode()
        yield writer.end().encode()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.texts)

    def close(self) -> None:
        self.lock.close()
