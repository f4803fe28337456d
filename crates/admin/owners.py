"""The list of the owners of crates in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from accounts.models import User
from crates import names, ownership
from crates.models import Crate, Ownership
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.search.prefixes import begins


@admin.register(Ownership)
class OwnershipAdmin(ReadOnlyAdmin):
    list_display = ("crate", "user", "added_by", "added_at")
    list_filter = ("added_at",)
    search_fields = ("crate__canonical_name", "user__username")
    search_help_text = "The beginning of a crate's name, or the whole name of an owner."
    staff_actions = (
        StaffAction(
            "remove",
            "Remove these owners",
            "crates.change_crate",
            lambda row, *, actor: ownership.change_as_staff(row.crate, [], [row.user], actor=actor),
            done="removed",
            explanation="They lose all rights to the crate. A crate keeps an owner whose account is open.",
            needs_proof=True,
            undo="crates.crate undo_owners",
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ownership]:
        ownerships: QuerySet[Ownership] = super().get_queryset(request).select_related("crate", "user", "added_by")
        return ownerships

    def find(self, request: HttpRequest, queryset: QuerySet[Any], text: str) -> tuple[QuerySet[Any], bool]:
        crates = Crate.with_removed.filter(begins("canonical_name", names.canonical(text)))
        users = User.objects.named(text)
        return queryset.filter(Q(crate__in=crates.values("pk")) | Q(user__in=users.values("pk"))), False
