"""The rule for views that state none."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request


class DenyAll(BasePermission):
    """The default rule: a view that states no rule of its own answers nobody."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return False
