"""What staff do with namespaces and packages alike: put them into the trash and restore them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction

from accounts.models import User
from registry_site.admin.actions import StaffAction


def trash_actions(model: Any, permission: str, set_removed: Callable[..., bool]) -> tuple[StaffAction, ...]:
    """Return the actions that put rows into the trash and restore them; `set_removed` takes a locked row."""

    def change(row: Any, *, removed: bool, actor: User) -> bool:
        with transaction.atomic():
            return set_removed(model.objects.for_update().get(pk=row.pk), removed=removed, actor=actor)

    return (
        StaffAction(
            "remove",
            "Put into the trash",
            permission,
            partial(change, removed=True),
            done="removed",
            explanation="Nobody but staff sees them any more. They can be restored as long as they are in the trash.",
            undo="restore",
            applies=lambda row: row.removed_at is None and getattr(row, "user_id", None) is None,
        ),
        StaffAction(
            "restore",
            "Restore",
            permission,
            partial(change, removed=False),
            done="restored",
            undo="remove",
            applies=lambda row: row.removed_at is not None,
        ),
    )
