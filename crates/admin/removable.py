"""What crates and versions share in the admin: staff remove, restore and destroy their rows."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from registry_site.admin.actions import Effects, ReasonForm, StaffAction
from registry_site.admin.base import CountedAdmin


def removal_actions(
    model: str,
    remove: Callable[..., bool],
    restore: Callable[..., bool],
    destroy: Callable[..., bool],
    *,
    may_restore: Callable[[Any], bool],
    may_destroy: Callable[[Any], bool],
    effects: Callable[[Sequence[Any]], Effects] | None = None,
) -> tuple[StaffAction, ...]:
    """Return the actions that remove rows, with a reason, restore them, and destroy removed ones.

    `effects` says what a removal means for others.
    """
    return (
        StaffAction(
            "remove",
            "Remove",
            f"crates.change_{model}",
            remove,
            done="removed",
            explanation="They are out of the index, the search and all lists at once. People who ask for them read the "
            "reason. They can be restored as long as they are in the trash.",
            form=ReasonForm,
            undo="restore",
            effects=effects,
            applies=lambda row: row.removed_at is None,
        ),
        StaffAction(
            "restore",
            "Restore",
            f"crates.change_{model}",
            restore,
            done="restored",
            undo="remove",
            applies=may_restore,
        ),
        StaffAction(
            "destroy",
            "Destroy for good",
            f"crates.delete_{model}",
            destroy,
            done="destroyed",
            explanation="The texts of removed versions are deleted at once, and their files by the next purge. Nobody "
            "can undo this. What is not removed is left as it is.",
            form=ReasonForm,
            needs_proof=True,
            applies=may_destroy,
        ),
    )


class RemovableAdmin(CountedAdmin):
    """Rows that staff remove and restore, together with those that are removed."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.model.with_removed.select_related("downloads", "removed_by")
        return rows.order_by(*(self.get_ordering(request) or ()))
