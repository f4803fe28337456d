"""Groups of staff in the admin site."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from accounts.admin.staff import confirmed_staff, staff
from accounts.ranks import Rank
from registry_site import audit
from registry_site.admin.base import DomainAdmin
from registry_site.errors import RegistryError

admin.site.unregister(Group)  # Django registers it with a list that takes any lookup


@admin.register(Group)
class Groups(DomainAdmin, GroupAdmin):
    """Groups of permissions, for administrators: a group can give its members every right in this site.

    The ready-made ones stay as they are.
    """

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        # The name of a permission has that of its kind of rows.
        permissions = Prefetch("permissions", Permission.objects.select_related("content_type"))
        groups: QuerySet[Group] = super().get_queryset(request).prefetch_related(permissions)
        return groups

    def has_add_permission(self, request: HttpRequest) -> bool:
        return staff(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return staff(request).is_superuser and (obj is None or obj.name not in Rank.values)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return self.has_change_permission(request, obj)

    def save_related(self, request: HttpRequest, form: ModelForm, formsets: Any, change: bool) -> None:
        actor = confirmed_staff(request)
        group: Group = form.instance
        before = set(group.permissions.all())
        super().save_related(request, form, formsets, change)
        if change and not form.has_changed():
            return
        after = set(group.permissions.all())
        audit.record(
            actor,
            audit.Action.GROUP_CHANGE if change else audit.Action.GROUP_CREATE,
            group,
            added=codenames(after - before),
            removed=codenames(before - after),
        )

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().delete_view(request, *args, **kwargs)
        except RegistryError as error:
            return self.show_error(request, error)

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        self.delete_queryset(request, Group.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        actor = confirmed_staff(request)
        with transaction.atomic():
            for group in queryset:
                permissions = codenames(group.permissions.all())
                audit.record(actor, audit.Action.GROUP_DELETE, group, removed=permissions)
            super().delete_queryset(request, queryset)


def codenames(permissions: Iterable[Permission]) -> list[str]:
    """Return the codenames of permissions in alphabetical order."""
    return sorted(permission.codename for permission in permissions)
