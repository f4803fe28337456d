"""Versions in the admin site: staff yank them."""

from functools import partial

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import User
from crates import removal, yanking
from crates.admin.removable import LARGE_COLUMNS_OF_CRATE, RemovableAdmin, removal_actions
from crates.models import Version
from registry_site.admin.actions import ReasonForm, StaffAction
from registry_site.admin.base import ReadOnlyAdmin


def yank(version: Version, *, reason: str, actor: User) -> bool:
    """Yank a version with a reason; return whether that changed it."""
    return yanking.set_yanked_as_staff(version, yanked=True, message=reason, actor=actor)


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
    staff_actions = (
        StaffAction(
            "yank",
            "Yank",
            "crates.change_version",
            yank,
            done="yanked",
            explanation="Cargo does not choose these versions any more; lock files that name them still work. Pages "
            "and feeds show the reason.",
            form=ReasonForm,
            undo="unyank",
            applies=lambda version: not version.yanked and version.removed_at is None,
        ),
        StaffAction(
            "unyank",
            "Unyank",
            "crates.change_version",
            partial(yanking.set_yanked_as_staff, yanked=False),
            done="unyanked",
            undo="yank",
            applies=lambda version: version.yanked and version.removed_at is None,
        ),
        *removal_actions("version", removal.remove_version, removal.restore_version, removal.destroy_version),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        versions = super().get_queryset(request).select_related("crate", "published_by")
        without_large: QuerySet[Version] = versions.defer(*Version.LARGE_COLUMNS, *LARGE_COLUMNS_OF_CRATE)
        return without_large
