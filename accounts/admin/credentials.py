"""Tokens, sessions and app keys in the admin site."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from accounts.admin.staff import rank_over
from accounts.credentials import revocation
from accounts.models import Credential, User
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.lists import state_filter
from registry_site.search.prefixes import begins


@admin.register(Credential)
class Credentials(ReadOnlyAdmin):
    """Tokens, sessions and app keys, without their secrets and digests."""

    list_display = ("name", "user", "kind", "created_at", "expires_at", "revoked_at", "last_used_at", "live")
    list_filter = ("kind", ("revoked_at", state_filter("state", "not revoked", "revoked")), "created_at", "expires_at")
    search_fields = ("name",)
    search_help_text = "The whole name of a user, or the beginning of a token's name; an address or a network."
    address_columns = ("ip_address", "last_used_ip")
    list_select_related = ("user",)
    fields = (
        *("user", "kind", "name", "allowed_scopes", "crates", "ip_address", "created_at", "expires_at", "revoked_at"),
        *("last_used_at", "last_used_ip"),
    )
    staff_actions = (
        StaffAction(
            "revoke",
            "Revoke",
            "accounts.change_credential",
            lambda credential, *, actor: revocation.revoke(credential, actor),
            done="revoked",
            explanation="These tokens, sessions and keys end at once, and for good.",
            applies=lambda credential: not credential.is_revoked,
            refusals=rank_over(lambda credential: credential.user),
        ),
    )

    def find(self, request: HttpRequest, queryset: QuerySet[Any], text: str) -> tuple[QuerySet[Any], bool]:
        users = User.objects.named(text).values("pk")
        # Apart, or SQLite reads all rows in the order of the list, and looks for the user of each.
        matching = Credential.objects.filter(Q(user__in=users) | begins("name", text)).order_by().values("pk")
        return queryset.filter(pk__in=matching), False

    def get_subject(self, row: Credential) -> User:
        return row.user  # the use and the end of a credential are events of its account

    @admin.display(description="scopes")
    def allowed_scopes(self, credential: Credential) -> str:
        return " ".join(credential.scopes)

    @admin.display(description="crates that it may change")
    def crates(self, credential: Credential) -> str:
        return " ".join(credential.crate_patterns) or "all of its user"

    @admin.display(boolean=True)
    def live(self, credential: Credential) -> bool:
        return credential.is_live
