"""Packages in the admin site."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.staff import confirmed_staff
from namespaces.admin.fields import NamespaceField
from namespaces.admin.namespaces import InvitationAdmin, RoleAssignmentInline
from namespaces.admin.roles import give_role_action, has_few_roles, undo_roles_action
from namespaces.admin.trash import trash_actions
from packages import collaboration, releasing
from packages.admin import package_page
from packages.models import (
    SEARCH_COLUMNS,
    SEARCH_COLUMNS_OF_PACKAGE,
    Collaboration,
    CollaboratorInvitation,
    Package,
    Release,
)
from registry_site.admin.actions import ActionForm, StaffAction
from registry_site.admin.base import CountedAdmin, ReadOnlyAdmin
from registry_site.admin.lists import state_filter
from registry_site.admin.object_pages import Description, ObjectPage


class CollaborationInline(RoleAssignmentInline):
    model = Collaboration
    fk_name = "package"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Collaboration]:
        collaborations: QuerySet[Collaboration] = super().get_queryset(request)
        return collaborations.select_related("package__namespace").defer(*SEARCH_COLUMNS_OF_PACKAGE)


class TransferForm(ActionForm):
    """The namespace that packages move to."""

    namespace = NamespaceField()
    field_order = ("namespace", "reason")


@admin.register(Package)
class PackageAdmin(ObjectPage, CountedAdmin):
    """Packages: staff manage collaborators, transfer packages to another namespace, and remove and restore them."""

    list_display = (
        "name",
        "namespace",
        "field",
        "type",
        "newest_version",
        "updated_at",
        "removed_at",
        "download_total",
    )
    list_filter = ("type", ("removed_at", state_filter("state", "in use", "in the trash")), "updated_at")
    search_fields = ("name", "namespace__name")
    staff_actions = (
        *trash_actions(Package, "packages.change_package", releasing.set_removed),
        give_role_action(Collaboration, "packages.add_collaboration", collaboration.give_role_as_staff),
        StaffAction(
            "transfer",
            "Transfer to another namespace",
            "packages.change_package",
            releasing.transfer_package,
            done="transferred",
            explanation="They have another address from now on, and the members of that namespace have their roles in "
            "them. Collaborators stay.",
            form=TransferForm,
            needs_proof=True,
            undo="undo_transfer",
            applies=lambda package: package.removed_at is None,
        ),
        StaffAction(
            "undo_transfer",
            "Undo a transfer",
            "packages.change_package",
            releasing.undo_transfer,
            done="moved back",
            explanation="They have their former addresses again. Packages that were moved again since are left where "
            "they are.",
            needs_proof=True,
            by_run=True,
        ),
        undo_roles_action(Collaboration, "packages.change_package", collaboration.undo_roles_as_staff),
    )
    inlines = [CollaborationInline]
    typed_fields = ("user",)
    fields = ("namespace", "name", "field", "type", "newest_version", "created_at", "updated_at", "removed_at")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Package]:
        large = (*SEARCH_COLUMNS, *(f"newest__{column}" for column in Release.LARGE_COLUMNS))
        packages: QuerySet[Package] = super().get_queryset(request).select_related("namespace", "newest").defer(*large)
        return packages

    def get_inlines(self, request: HttpRequest, obj: Package | None) -> Any:
        return self.inlines if obj and has_few_roles(Collaboration, obj) else []

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[Package]:
        return package_page.package_queryset()

    def describe(self, request: HttpRequest, row: Package) -> Description:
        return package_page.describe_package(request, row)

    @admin.display(description="newest", ordering="newest__published_at")
    def newest_version(self, package: Package) -> str:
        return f"{package.newest.version} ({package.newest.status})" if package.newest else ""

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        formset.save(commit=False)
        saved = [*formset.new_objects, *(row for row, _ in formset.changed_objects)]
        collaboration.set_collaborators_by_staff(
            form.instance, saved, formset.deleted_objects, actor=confirmed_staff(request)
        )


@admin.register(Release)
class ReleaseAdmin(ObjectPage, ReadOnlyAdmin, CountedAdmin):
    list_display = ("package", "version", "status", "publisher", "published_at", "size", "download_total")
    list_filter = ("status", "published_at")
    sortable_by = (
        "package",
        "status",
        "publisher",
        "published_at",
        "size",
        "download_total",
    )  # versions are no texts to sort
    search_fields = ("package__name", "package__namespace__name", "version", "sha256")
    # Without the list of files, which can have thousands of entries.
    fields = (
        *("package", "version", "status", "is_final", "publisher", "published_at", "size", "sha256"),
        *("description", "keywords", "dependencies", "dev_dependencies"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Release]:
        releases = super().get_queryset(request).select_related("package__namespace", "publisher")
        without_large: QuerySet[Release] = releases.defer(*Release.LARGE_COLUMNS, *SEARCH_COLUMNS_OF_PACKAGE)
        return without_large

    def get_page_queryset(self, request: HttpRequest) -> QuerySet[Release]:
        return package_page.release_queryset()

    def describe(self, request: HttpRequest, row: Release) -> Description:
        return package_page.describe_release(request, row)


@admin.register(CollaboratorInvitation)
class CollaboratorInvitationAdmin(InvitationAdmin):
    list_display = fields = ("package", *InvitationAdmin.columns)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        invitations = super().get_queryset(request).select_related("package__namespace", "user", "inviter")
        return invitations.defer(*SEARCH_COLUMNS_OF_PACKAGE)
