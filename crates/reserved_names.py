"""Crates and the names that staff reserve. Crates that exist are not affected."""

from typing import Any

from django.db.models import QuerySet

from accounts import reserved_names
from accounts.models import ReservedName
from accounts.name_patterns import NameKind
from crates import names
from crates.models import Crate
from registry_site.errors import PermissionDenied


def check(name: str) -> None:
    """Raise `PermissionDenied`, with the reason of staff, for the name of a new crate that is reserved."""
    reserved = ReservedName.objects.matching(name, NameKind.CRATE)
    if reserved is not None:
        raise PermissionDenied(f"The crate name {name} is reserved here: {reserved.reason}")


def crates_like(reserved: ReservedName) -> QuerySet[Any, str]:
    """Select the names of crates, also of removed ones."""
    crates = Crate.with_removed.filter(canonical_name__fits=names.canonical(reserved.pattern))
    return crates.order_by("name").values_list("name", flat=True)


reserved_names.existing_names[NameKind.CRATE] = crates_like
