"""Crates and their owners in the admin site."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.fields import AssignmentForm
from accounts.admin.staff import confirmed_staff
from accounts.models import User
from crates import ownership, removal
from crates.admin.owner_actions import OWNER_ACTIONS
from crates.admin.owner_mails import MAIL_OWNERS
from crates.admin.removable import LARGE_COLUMNS_OF_CRATE, RemovableAdmin, removal_actions
from crates.mirror import shared_names
from crates.models import Crate, Ownership, Version
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import ReadOnlyAdmin


def set_served(crate: Crate, *, served: bool, actor: User) -> bool:
    """Let the mirror serve upstream's crate of a name, or never ask for it; return whether that changed it."""
    rows = Crate.with_removed.without_large_columns().filter(pk=crate.pk)
    return shared_names.set_served(rows, served=served, actor=actor) > 0


class OwnerInline(admin.TabularInline):
    model = Ownership
    fk_name = "crate"
    form = AssignmentForm
    extra = 0
    readonly_fields = ("added_by", "added_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ownership]:
        ownerships = super().get_queryset(request).select_related("crate", "user", "added_by")
        return ownerships.defer(*LARGE_COLUMNS_OF_CRATE)


@admin.register(Crate)
class CrateAdmin(RemovableAdmin):
    list_display = (
        "name",
        "max_number",
        "version_count",
        "owner_names",
        "created_at",
        "upstream_value",
        "removed_at",
        "download_total",
    )
    list_filter = (
        "upstream",
        "created_at",
        ("max_version", admin.EmptyFieldListFilter),
        ("removed_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("name", "default_version__description")
    inlines = [OwnerInline]
    typed_fields = ("user",)
    staff_actions = (
        *removal_actions("crate", removal.remove_crate_as_staff, removal.restore_crate, removal.destroy_crate),
        StaffAction(
            "serve_upstream",
            "Serve upstream's crates of these names",
            "crates.change_crate",
            partial(set_served, served=True),
            done="served",
            explanation="The mirror serves what upstream has under these names, beside our own crates.",
            undo="hide_upstream",
            applies=lambda crate: crate.upstream != Crate.Upstream.HAS,
        ),
        StaffAction(
            "hide_upstream",
            "Never ask upstream for these names",
            "crates.change_crate",
            partial(set_served, served=False),
            done="hidden",
            explanation="The mirror answers that there are no such crates, and never asks upstream for these names.",
            undo="serve_upstream",
            applies=lambda crate: crate.upstream != Crate.Upstream.LACKS,
        ),
        *OWNER_ACTIONS,
        MAIL_OWNERS,
    )
    fields = (
        "name",
        "max_number",
        "version_count",
        "created_at",
        "updated_at",
        "upstream",
        "index_path",
        "index_etag",
        "index_modified",
        "removed_at",
        "removed_by",
        "removal_reason",
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Crate | None = None) -> Any:
        return self.fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Crate]:
        large = (*Crate.LARGE_COLUMNS, *(f"max_version__{column}" for column in Version.LARGE_COLUMNS))
        crates = super().get_queryset(request).select_related("max_version").defer(*large).prefetch_related("owners")
        without_large: QuerySet[Crate] = crates
        return without_large

    @admin.display(description="upstream", ordering="upstream")
    def upstream_value(self, crate: Crate) -> str:
        return crate.upstream  # the column is too narrow for the label

    @admin.display(description="highest version", empty_value="none that is usable")
    def max_number(self, crate: Crate) -> str | None:
        return crate.max_version.number if crate.max_version else None

    @admin.display(description="owners")
    def owner_names(self, crate: Crate) -> str:
        return ", ".join(user.username for user in crate.owners.all())

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        # The domain function saves, since it knows that the last owner has to stay; the formset only parses.
        actor = confirmed_staff(request)
        formset.save(commit=False)
        added = [row.user for row in formset.new_objects]
        removed = [row.user for row in formset.deleted_objects]
        ownership.change_as_staff(form.instance, added, removed, actor=actor)


@admin.register(Ownership)
class OwnershipAdmin(ReadOnlyAdmin):
    list_display = ("crate", "user", "added_by", "added_at")
    list_filter = ("added_at",)
    search_fields = ("crate__name", "user__username")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ownership]:
        ownerships = super().get_queryset(request).select_related("crate", "user", "added_by")
        without_large: QuerySet[Ownership] = ownerships.defer(*LARGE_COLUMNS_OF_CRATE)
        return without_large
