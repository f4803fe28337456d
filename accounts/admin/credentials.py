"""Tokens, sessions and app keys in the admin site."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.staff import staff, within_rank
from accounts.credentials import revocation
from accounts.models import Credential, User
from registry_site.admin.base import ReadOnlyAdmin


@admin.register(Credential)
class Credentials(ReadOnlyAdmin):
    """Tokens, sessions and app keys, without their secrets and digests."""

    list_display = ("name", "user", "kind", "created_at", "expires_at", "revoked_at", "last_used_at", "live")
    list_filter = ("kind", ("revoked_at", admin.EmptyFieldListFilter), "created_at", "expires_at")
    search_fields = ("user__username", "name", "ip_address")
    list_select_related = ("user",)
    actions = ["revoke"]
    fields = (
        *("user", "kind", "name", "allowed_scopes", "crates", "ip_address", "created_at", "expires_at", "revoked_at"),
        *("last_used_at", "last_used_ip"),
    )

    @admin.display(description="scopes")
    def allowed_scopes(self, credential: Credential) -> str:
        return " ".join(credential.scopes)

    @admin.display(description="crates that it may change")
    def crates(self, credential: Credential) -> str:
        return " ".join(credential.crate_patterns) or "all of its user"

    @admin.display(boolean=True)
    def live(self, credential: Credential) -> bool:
        return credential.is_live

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_credential")

    @admin.action(description="Revoke the selected tokens, sessions and keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Credential]) -> None:
        users = within_rank(self, request, User.objects.filter(credentials__in=queryset).distinct())
        credentials = queryset.filter(user__in=users)
        revoked = sum(revocation.revoke(credential, staff(request)) for credential in credentials)
        self.message_user(request, f"{revoked} revoked; {len(credentials) - revoked} had ended before.")
