"""Failed log-ins in the admin site."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.staff import unlock, within_rank
from accounts.models import LoginFailure, User
from registry_site.admin.base import ReadOnlyAdmin


@admin.register(LoginFailure)
class LoginFailures(ReadOnlyAdmin):
    list_display = ("at", "name", "ip_address", "of_code", "forgiven", "unlocked")
    list_filter = ("at", "of_code", "forgiven", "unlocked")
    search_fields = ("name", "ip_address")
    date_hierarchy = "at"
    actions = ["unlock"]

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_loginfailure")

    @admin.action(description="Unlock the accounts of the selected failures", permissions=["unlock"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[LoginFailure]) -> None:
        failed = set(queryset.values_list("name", flat=True))
        users = list(User.objects.named(*failed).select_related("reservation"))
        beyond_rank = set(users).difference(within_rank(self, request, users))
        unlock(self, request, failed - {user.reservation.name for user in beyond_rank})
