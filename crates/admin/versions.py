"""Versions in the admin site: staff yank them."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import User
from crates import names, removal, yanking
from crates.admin import version_page
from crates.admin.removable import RemovableAdmin, removal_actions
from crates.models import Crate, Version
from registry_site.admin.actions import ReasonForm, StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.lists import state_filter
from registry_site.admin.object_pages import Description, ObjectPage
from registry_site.admin.search import CHECKSUM
from registry_site.search.prefixes import begins


def yank(version: Version, *, reason: str, actor: User) -> bool:
    """Yank a version with a reason; return whether that changed it."""
    return yanking.set_yanked_as_staff(version, yanked=True, message=reason, actor=actor)


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin, ObjectPage, RemovableAdmin):
    list_display = ("number", "crate", "yanked", "published_at", "published_by", "removed_at", "download_total", "size")
    list_filter = (
        "yanked",
        "published_at",
        ("removed_at", state_filter("state", "present", "removed")),
        ("destroyed_at", state_filter("texts and file", "kept", "destroyed")),
    )
    search_fields = ("crate__canonical_name",)
    search_help_text = (
        "The beginning of a crate's name or of a checksum, NAME@NUMBER, or the whole name of a publisher."
    )
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
        *removal_actions(
            "version",
            removal.remove_version,
            removal.restore_version,
            removal.destroy_version,
            may_restore=removal.may_restore_version,
            may_destroy=lambda version: version.removed_at is not None and version.destroyed_at is None,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        versions = super().get_queryset(request).select_related("crate", "published_by")
        without_large: QuerySet[Version] = versions.defer(*Version.LARGE_COLUMNS)
        return without_large

    def find(self, request: HttpRequest, queryset: QuerySet[Any], text: str) -> tuple[QuerySet[Any], bool]:
        name, at, number = text.partition("@")
        if at:
            crates = Crate.with_removed.filter(canonical_name=names.canonical(name))
            return queryset.filter(begins("number", number), crate__in=crates.values("pk")), False
        crates = Crate.with_removed.filter(begins("canonical_name", names.canonical(text)))
        condition = Q(crate__in=crates.values("pk")) | Q(published_by__in=User.objects.named(text).values("pk"))
        if CHECKSUM.fullmatch(text.lower()):
            condition |= begins("checksum", text.lower())
        # Apart, or SQLite reads all versions in the order of the list.
        return queryset.filter(pk__in=Version.with_removed.filter(condition).order_by().values("pk")), False

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        return version_page.page_queryset()

    def describe(self, request: HttpRequest, row: Version) -> Description:
        return version_page.VersionPage(row).describe()

    def view_on_site(self, obj: Version) -> str:
        return reverse("crate-version", args=[obj.crate.name, obj.number])
