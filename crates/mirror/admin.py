"""What staff see of the mirror, and decide about it."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from crates.mirror import entries, incidents, keeping
from crates.mirror.models import Archive, Entry, Incident
from registry_site.admin import ReadOnlyAdmin


class MirrorAdmin(ReadOnlyAdmin):
    """Rows that only their actions change."""

    show_full_result_count = False

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"mirror.change_{self.opts.model_name}")


@admin.register(Entry)
class Entries(MirrorAdmin):
    list_display = ("name", "status", "upstream", "versions", "changed_at", "checked_at")
    list_filter = ("status", "changed_at", "checked_at")
    search_fields = ("name__startswith",)
    fields = ("name", "path", "status", "upstream", "etag", "changed_at", "checked_at")
    actions = ["ask_again", "accept_changes"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        return super().get_queryset(request).defer("body")

    @admin.display
    def versions(self, entry: Entry) -> int:
        return len(entry.checksums)

    @admin.action(description="Ask upstream again at the next request", permissions=["decide"])
    def ask_again(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        self.message_user(request, f"{entries.outdate(queryset)} will be asked for again.")

    @admin.action(description="Take the checksums that upstream has now", permissions=["decide"])
    def accept_changes(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        self.message_user(request, f"{entries.forget_checksums(queryset)} will be taken as they are upstream.")


@admin.register(Archive)
class Archives(MirrorAdmin):
    list_display = ("name", "version", "size", "upstream", "fetched_at", "asked_at")
    list_filter = ("fetched_at", "asked_at")
    search_fields = ("name__startswith", "sha256__startswith")
    actions = ["remove"]

    @admin.action(
        description="Delete the selected files; they are fetched again when asked for", permissions=["decide"]
    )
    def remove(self, request: HttpRequest, queryset: QuerySet[Archive]) -> None:
        for archive in queryset:
            keeping.remove(archive)
        self.message_user(request, f"{len(queryset)} deleted.")


@admin.register(Incident)
class Incidents(MirrorAdmin):
    list_display = ("subject", "kind", "detail", "count", "first_at", "last_at", "settled_at")
    list_filter = ("kind", ("settled_at", admin.EmptyFieldListFilter), "last_at")
    search_fields = ("subject",)
    actions = ["settle"]

    @admin.action(description="Mark the selected incidents as settled", permissions=["decide"])
    def settle(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self.message_user(request, f"{incidents.settle(queryset)} settled.")
