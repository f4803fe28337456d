"""What the lists of crates and of versions share: staff remove, restore and destroy their rows."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.staff import confirmed_staff, staff
from accounts.models import User
from crates import removal
from crates.models import Crate
from registry_site.admin.base import CountedAdmin

# Large columns of the crate of a version or an owner.
LARGE_COLUMNS_OF_CRATE = tuple(f"crate__{column}" for column in Crate.LARGE_COLUMNS)


class ReasonForm(ActionForm):
    """The form above a list, with a reason for the actions that remove or destroy."""

    reason = forms.CharField(required=False, max_length=removal.MAX_REASON_LENGTH, label="Reason for a removal:")


class RemovableAdmin(CountedAdmin):
    """Rows that staff remove, with a reason, and restore; removed ones can be destroyed, which nobody can undo.

    Each row is changed in a transaction of its own, and the message counts those that were.
    """

    action_form = ReasonForm
    actions = ["remove", "restore", "destroy"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.model.with_removed.select_related("downloads", "removed_by")
        return rows.order_by(*(self.get_ordering(request) or ()))

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"crates.change_{self.opts.model_name}")

    @admin.action(description="Remove the selected %(verbose_name_plural)s, with a reason", permissions=["act"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        reason = request.POST.get("reason", "")
        removal.require_reason(reason)
        removed = sum(self.remove_row(row, reason, actor=staff(request)) for row in queryset)
        self.message_user(request, f"{removed} removed; the others already were. The action Restore undoes it.")

    @admin.action(description="Restore the selected %(verbose_name_plural)s", permissions=["act"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        restored = sum(self.restore_row(row, actor=staff(request)) for row in queryset)
        self.message_user(request, f"{restored} restored; the others are not removed.")

    @admin.action(
        description="Destroy the selected %(verbose_name_plural)s for good, once they are removed", permissions=["act"]
    )
    def destroy(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        reason = request.POST.get("reason", "")
        removal.require_reason(reason)
        actor = confirmed_staff(request)
        destroyed = sum(self.destroy_row(row, reason, actor=actor) for row in queryset)
        self.message_user(request, f"{destroyed} destroyed; the others are not removed, or are destroyed already.")

    def remove_row(self, row: Any, reason: str, *, actor: User) -> bool:
        raise NotImplementedError

    def restore_row(self, row: Any, *, actor: User) -> bool:
        raise NotImplementedError

    def destroy_row(self, row: Any, reason: str, *, actor: User) -> bool:
        raise NotImplementedError
