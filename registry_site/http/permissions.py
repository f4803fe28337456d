"""The default permission of DRF views."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request


class DenyAll(BasePermission):
    """The default: a view without permission classes of its own refuses everybody."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return False
