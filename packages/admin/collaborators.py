"""Collaborators of packages in the admin site: the list of them, with the actions that change their roles."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from namespaces.admin.roles import RoleAdmin, SubjectFilter, role_actions
from packages import collaboration
from packages.models import SEARCH_COLUMNS_OF_PACKAGE, Collaboration


class PackageFilter(SubjectFilter):
    title = "number of the package"
    parameter_name = "package"
    subject_field = "package"


@admin.register(Collaboration)
class CollaborationAdmin(RoleAdmin):
    list_display = fields = ("package", *RoleAdmin.columns)
    list_filter = ("role", "added_at", PackageFilter)
    staff_actions = role_actions(
        "packages", Collaboration, collaboration.give_role_as_staff, collaboration.set_collaborators_by_staff
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).select_related("package__namespace", "user", "added_by")
        return rows.defer(*SEARCH_COLUMNS_OF_PACKAGE)
