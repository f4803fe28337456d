"""Mails in the admin site: those that wait, were sent and have failed."""

from collections.abc import Iterator

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from registry_site import outbox
from registry_site.admin import front_page
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.front_page import Fact, Notice
from registry_site.models import OutboxEntry


@admin.register(OutboxEntry)
class OutboxEntries(ReadOnlyAdmin):
    list_display = ("created_at", "kind", "recipient", "state", "attempts", "due_at", "ended_at", "error")
    list_filter = ("state", "kind")
    search_fields = ("recipient",)
    exclude = ("arguments",)
    show_full_result_count = False
    actions = ("send_again",)

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry_site.change_outboxentry")

    @admin.action(description="Send the selected failed mails again", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[OutboxEntry]) -> None:
        number = outbox.send_again(queryset, actor=request.user)  # type: ignore[arg-type]  # staff have signed in
        self.message_user(request, f"{number} wait to be sent again.")


@front_page.add("registry_site.view_outboxentry", "Upkeep")
def mails_and_jobs() -> Iterator[Notice | Fact]:
    """Yield the mails and jobs that were given up, and those that wait."""
    backlog = outbox.backlog()
    url = reverse("admin:registry_site_outboxentry_changelist")
    yield Notice(backlog.failed, "failed mail{s} or job{s}", f"{url}?state__exact=failed")
    age = f", the oldest for {backlog.oldest_seconds / 60:.0f} minutes" if backlog.pending else ""
    yield Fact("Mails and jobs that wait", f"{backlog.pending:,}{age}", f"{url}?state__exact=pending")
