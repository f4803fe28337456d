"""The audit log in the admin site, and events as lines on other pages."""

from collections.abc import Iterable
from typing import NamedTuple

from django.contrib import admin

from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.object_pages import Link, as_html, object_url
from registry_site.event_sentences import sentence_of
from registry_site.models import AuditEvent, AuditSeal


class EventLine(NamedTuple):
    """An event as a line of a page."""

    event: AuditEvent
    sentence: str
    target_url: str
    run_url: str


def lines_of(events: Iterable[AuditEvent]) -> list[EventLine]:
    """Return events as lines, with what happened and the ways on."""
    return [
        EventLine(
            event,
            sentence_of(event),
            object_url(event.object_type, event.object_id),
            object_url("registry_site.staffrun", event.run),
        )
        for event in events
    ]


@admin.register(AuditEvent)
class AuditEvents(ReadOnlyAdmin):
    list_display = ("at", "actor_name", "action", "target_link", "ip_address", "details")
    list_filter = ("action", "at")
    search_fields = ("actor_name", "target", "ip_address", "action", "request_id")
    date_hierarchy = "at"
    show_full_result_count = False

    @admin.display(description="target")
    def target_link(self, event: AuditEvent) -> str:
        """Link the target to its page in the admin, if there is one."""
        url = object_url(event.object_type, event.object_id)
        return as_html(Link(event.target, url))

    @admin.display
    def details(self, event: AuditEvent) -> str:
        return ", ".join(f"{key}: {value}" for key, value in event.detail.items())


@admin.register(AuditSeal)
class AuditSeals(ReadOnlyAdmin):
    """Seals of the audit log. `manage.py verifyaudit` proves that they are right; this list does not."""

    list_display = ("number", "count", "first_event", "last_event", "sealed_at", "digest", "exported_to")
    list_filter = (("exported_to", admin.EmptyFieldListFilter), "sealed_at")
    search_fields = ("digest__startswith",)
    exclude = ("marks",)
