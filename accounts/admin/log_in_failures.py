"""Failed log-ins in the admin site."""

from collections.abc import Iterator
from datetime import timedelta

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from accounts.admin.staff import unlock, within_rank
from accounts.models import LoginFailure, User
from accounts.passwords import login_throttle
from registry_site.admin import front_page
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.front_page import Fact, Notice


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


@front_page.add("accounts.view_loginfailure", "Accounts")
def failures_of_a_day() -> Iterator[Fact]:
    """Yield the failed log-ins of the last day."""
    day_ago = timezone.now() - timedelta(days=1)
    url = f"{reverse('admin:accounts_loginfailure_changelist')}?{urlencode({'at__gte': str(day_ago)})}"
    yield Fact("Failed log-ins of the last day", "{number}", url, LoginFailure.objects.filter(at__gte=day_ago))


@front_page.add("accounts.view_user", "Accounts")
def locked_accounts() -> Iterator[Notice]:
    """Yield the accounts that wait after too many failed log-ins."""
    url = f"{reverse('admin:accounts_user_changelist')}?locked=1"
    yield Notice(login_throttle.locked_users(), "accounts locked after failed log-ins", url)
