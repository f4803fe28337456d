"""Mails in the admin site: those that wait, were sent and have failed."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from registry_site import outbox
from registry_site.admin import front_page
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.front_page import Fact, Notice
from registry_site.admin.lists import SelectFilter
from registry_site.admin.object_pages import list_url
from registry_site.models import OutboxEntry


class KindFilter(SelectFilter):
    title = column = "kind"
    parameter_name = "kind__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return sorted(OutboxEntry.labels.items(), key=lambda kind: kind[1])


@admin.register(OutboxEntry)
class OutboxEntries(ReadOnlyAdmin):
    list_display = ("created_at", "label", "recipient", "state", "attempts", "due_at", "ended_at", "error")
    list_filter = ("state", KindFilter)
    search_fields = ("recipient",)
    exclude = ("arguments",)
    staff_actions = (
        StaffAction(
            "send_again",
            "Send again",
            "registry_site.change_outboxentry",
            lambda entry, *, actor: outbox.send_again([entry], actor=actor) > 0,
            done="to be sent again",
            explanation="Failed mails are tried for another day; others are left as they are.",
            applies=lambda entry: entry.state == OutboxEntry.State.FAILED,
        ),
    )

    @admin.display(description="kind", ordering="kind")
    def label(self, entry: OutboxEntry) -> str:
        return entry.label


@front_page.add("registry_site.view_outboxentry", "Upkeep")
def mails_and_jobs() -> Iterator[Notice | Fact]:
    """Yield the mails and jobs that were given up, and those that wait."""
    failed = OutboxEntry.objects.filter(state=OutboxEntry.State.FAILED)
    yield Notice(failed, "failed mail{s} or job{s}", list_url(OutboxEntry, state__exact="failed"))
    backlog = outbox.backlog()
    age = f", the oldest for {backlog.oldest_seconds / 60:.0f} minutes" if backlog.pending else ""
    waiting = list_url(OutboxEntry, state__exact="pending")
    yield Fact("Mails and jobs that wait", f"{backlog.pending:,}{age}", waiting)
