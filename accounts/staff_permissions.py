"""Permissions of staff in the admin site, read in one query. Both ways to sign in share it."""

from typing import Any

from django.contrib.auth.models import Permission
from django.db.models import Q


class StaffPermissions:
    """The part of an authentication backend of Django's that knows what a user may do in the admin site.

    Django reads the user's own permissions and those of groups apart, and each page of the admin needs both.
    """

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Return permissions such as `crates.change_crate`; a superuser has all."""
        if obj is not None or user_obj.is_anonymous or user_obj.is_superuser or not user_obj.is_active:
            every: set[str] = super().get_all_permissions(user_obj, obj)  # type: ignore[misc]  # of the backend
            return every
        if not hasattr(user_obj, "_perm_cache"):  # Django's own name for it
            rows = Permission.objects.filter(Q(user=user_obj) | Q(group__user=user_obj)).order_by()
            names = rows.values_list("content_type__app_label", "codename")
            user_obj._perm_cache = {f"{app}.{codename}" for app, codename in names}
        permissions: set[str] = user_obj._perm_cache
        return permissions
