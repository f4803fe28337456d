"""Base classes of the admin site's pages. The rules are in the domain's verbs, and nothing is deleted here."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from registry_site.errors import RegistryError
from registry_site.models import AuditEvent


class DomainAdmin(admin.ModelAdmin):
    """Rows that are never deleted here. An error of the domain is shown as a message, and nothing has changed."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except RegistryError as error:
            return self.show_error(request, error)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changelist_view(request, *args, **kwargs)
        except RegistryError as error:
            return self.show_error(request, error)

    def show_error(self, request: HttpRequest, error: RegistryError) -> HttpResponseRedirect:
        """Return to the same page, where the message of the error is shown."""
        self.message_user(request, error.message, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


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
