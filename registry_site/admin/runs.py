"""Runs of staff in the admin site: what an action did to which rows, and the way to undo it."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path

from registry_site import staff_runs
from registry_site.admin.actions import run_url
from registry_site.admin.audit_log import lines_of
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.models import StaffRun

EVENTS_PER_PAGE = 100


@admin.register(StaffRun)
class StaffRuns(ReadOnlyAdmin):
    list_display = ("started_at", "label", "model", "actor_name", "outcome", "reason")
    list_filter = ("started_at", "model")
    search_fields = ("actor_name", "reason", "action")

    def get_queryset(self, request: HttpRequest) -> QuerySet[StaffRun]:
        runs: QuerySet[StaffRun] = super().get_queryset(request).defer("problems")
        return runs

    @admin.display
    def outcome(self, run: StaffRun) -> str:
        """Say what became of the rows; of a run without an end, how many were chosen."""
        if run.ended_at is None:
            return f"no end, {run.total:,} chosen"
        return ", ".join(f"{number:,} {word}" for number, word in numbers_of(run))

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.page_view)
        return [path("<uuid:key>/", view, name="registry_site_staffrun_page"), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        run = self.get_object(request, unquote(object_id))
        if run is None:
            return super().change_view(request, object_id, *args, **kwargs)
        return HttpResponseRedirect(run_url(run.pk))

    def page_view(self, request: HttpRequest, key: UUID) -> HttpResponse:
        """`…/staffrun/KEY/`: a run, for its actor and for all who may see runs."""
        run = get_object_or_404(StaffRun.objects.select_related("undoes"), pk=key)
        if run.actor_id != request.user.pk and not self.has_view_permission(request):
            raise PermissionDenied
        page = Paginator(staff_runs.events_of(run), EVENTS_PER_PAGE).get_page(request.GET.get("page"))
        context = {
            **self.admin_site.each_context(request),
            "title": run.label,
            "opts": self.opts,
            "staff_run": run,
            "numbers": numbers_of(run),
            "page": page,
            "lines": lines_of(page.object_list),
            "undone_by": [(other, run_url(other.pk)) for other in run.undone_by.defer("problems")[:10]],
            "undoes_url": run_url(run.undoes_id) if run.undoes_id else "",
            "undo_url": self.undo_url(request, run),
        }
        return TemplateResponse(request, "admin/run.html", context)

    def undo_url(self, request: HttpRequest, run: StaffRun) -> str:
        """Return the page of the action that undoes a run; empty if there is none, or it is not permitted."""
        undo = self.undo_of(run)
        if undo is None:
            return ""
        page, action = undo
        has_changed = staff_runs.events_of(run).filter(object_type=page.opts.label_lower).exists()
        return page.act_url(action, undoes=run) if has_changed and action in page.permitted_actions(request) else ""


def numbers_of(run: StaffRun) -> list[tuple[int, str]]:
    """Return the numbers of rows by what became of them; those that are not zero, and always the first."""
    others = [(run.unchanged, "unchanged"), (run.refused, "refused"), (run.failed, "failed")]
    return [(run.changed, run.done), *(pair for pair in others if pair[0])]
