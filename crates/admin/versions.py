"""Versions in the admin site: staff yank them."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.staff import staff
from accounts.models import User
from crates import removal, yanking
from crates.admin.removable import LARGE_COLUMNS_OF_CRATE, RemovableAdmin
from crates.models import Version
from registry_site.admin.base import ReadOnlyAdmin


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin, RemovableAdmin):
    list_display = ("crate", "number", "yanked", "size", "published_by", "published_at", "removed_at", "download_total")
    list_filter = (
        "yanked",
        "published_at",
        ("removed_at", admin.EmptyFieldListFilter),
        ("destroyed_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("crate__name", "number", "checksum", "published_by__username")
    actions = ["yank", "unyank", *RemovableAdmin.actions]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        versions = super().get_queryset(request).select_related("crate", "published_by")
        without_large: QuerySet[Version] = versions.defer(*Version.LARGE_COLUMNS, *LARGE_COLUMNS_OF_CRATE)
        return without_large

    def remove_row(self, row: Version, reason: str, *, actor: User) -> bool:
        return removal.remove_version(row, reason, actor=actor)

    def restore_row(self, row: Version, *, actor: User) -> bool:
        return removal.restore_version(row, actor=actor)

    def destroy_row(self, row: Version, reason: str, *, actor: User) -> bool:
        return removal.destroy_version(row, reason, actor=actor)

    @admin.action(description="Yank the selected versions", permissions=["act"])
    def yank(self, request: HttpRequest, queryset: QuerySet[Version]) -> None:
        self._set_yanked(request, queryset, yanked=True)

    @admin.action(description="Unyank the selected versions", permissions=["act"])
    def unyank(self, request: HttpRequest, queryset: QuerySet[Version]) -> None:
        self._set_yanked(request, queryset, yanked=False)

    def _set_yanked(self, request: HttpRequest, queryset: QuerySet[Version], *, yanked: bool) -> None:
        changed = sum(yanking.set_yanked_as_staff(v, yanked=yanked, actor=staff(request)) for v in queryset)
        self.message_user(request, f"{changed} {'yanked' if yanked else 'unyanked'}; the others were so before.")
