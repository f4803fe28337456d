"""Namespaces whose names match a name that staff reserve."""

from typing import Any

from django.db.models import QuerySet

from accounts import reserved_names
from accounts.models import ReservedName
from accounts.name_patterns import NameKind
from namespaces.models import Namespace


def namespaces_like(reserved: ReservedName) -> QuerySet[Any, str]:
    """Select the names of personal and shared namespaces, also in the trash."""
    namespaces = Namespace.objects.filter(reserved_names.names_like(reserved, "reservation"))
    return namespaces.order_by("name").values_list("name", flat=True)


reserved_names.existing_names[NameKind.NAMESPACE] = namespaces_like
