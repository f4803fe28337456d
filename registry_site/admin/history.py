"""The history of a row: its events of the audit log, whoever and whatever made the change, latest first."""

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse

from registry_site import audit
from registry_site.admin.audit_log import lines_of
from registry_site.admin.base import DomainAdmin
from registry_site.admin.object_pages import MAX_TITLE, object_url
from registry_site.templatetags.figures import shortened

EVENTS_PER_PAGE = 100
MAX_DIGITS = 18  # of a key


def page_of(page: DomainAdmin, request: HttpRequest, object_id: str) -> HttpResponseBase | None:
    """Return the page of events older than the key in `?before=`; None if there is no such row."""
    row = page.get_object(request, unquote(object_id))
    if row is None:
        return None
    if not page.has_view_or_change_permission(request, row):
        raise PermissionDenied
    subject = page.get_subject(row)
    events, before = audit.events_of(subject), request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) <= MAX_DIGITS:
        events = events.filter(pk__lt=int(before))
    # One more than is shown says whether there is another page: counting all would take longer.
    newest = list(events[: EVENTS_PER_PAGE + 1])
    shown = newest[:EVENTS_PER_PAGE]
    context = {
        **page.admin_site.each_context(request),
        "title": f"History of {shortened(str(subject), MAX_TITLE)}",
        "opts": page.opts,
        "original": row,
        "row_url": object_url(page.model, row.pk),
        "lines": lines_of(shown),
        "is_first": not before,
        "older": f"?before={shown[-1].pk}" if len(newest) > len(shown) else "",
    }
    return TemplateResponse(request, "admin/history.html", context)
