"""The audit log in the admin site."""

from django.contrib import admin
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from registry_site.admin.base import ReadOnlyAdmin
from registry_site.models import AuditEvent


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
        try:
            url = reverse(f"admin:{event.object_type.replace('.', '_')}_change", args=[event.object_id])
        except NoReverseMatch:
            return event.target
        return format_html('<a href="{}">{}</a>', url, event.target)

    @admin.display
    def details(self, event: AuditEvent) -> str:
        return ", ".join(f"{key}: {value}" for key, value in event.detail.items())
