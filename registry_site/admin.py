"""What the pages of all rooms in the admin site share: the rules are in the verbs, and nothing is deleted."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from registry_site.errors import RegistryError
from registry_site.models import AuditEvent


class DomainAdmin(admin.ModelAdmin):
    """Rows that are never deleted here; what a verb of the domain refuses is told, and nothing has changed."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except RegistryError as error:
            return self._tell(request, error)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changelist_view(request, *args, **kwargs)
        except RegistryError as error:
            return self._tell(request, error)

    def _tell(self, request: HttpRequest, error: RegistryError) -> HttpResponseRedirect:
        self.message_user(request, error.message, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


class ReadOnlyAdmin(DomainAdmin):
    """Rows that are only looked at."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyInline(admin.TabularInline):
    """Rows that are only looked at."""

    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AuditEvent)
class AuditEvents(ReadOnlyAdmin):
    list_display = ("at", "actor_name", "action", "target_link", "ip_address", "details")
    list_filter = ("action", "at")
    search_fields = ("actor_name", "target", "ip_address", "action", "request_id")
    date_hierarchy = "at"
    show_full_result_count = False

    @admin.display(description="target")
    def target_link(self, event: AuditEvent) -> str:
        """The target, linked to its page in the admin if there is one."""
        try:
            url = reverse(f"admin:{event.object_type.replace('.', '_')}_change", args=[event.object_id])
        except NoReverseMatch:
            return event.target
        return format_html('<a href="{}">{}</a>', url, event.target)

    @admin.display
    def details(self, event: AuditEvent) -> str:
        return ", ".join(f"{key}: {value}" for key, value in event.detail.items())
