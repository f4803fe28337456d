"""Failed log-ins in the admin site."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.utils import timezone

from accounts import names, roles
from accounts.models import LoginFailure, User
from accounts.passwords import login_throttle
from registry_site.admin import front_page
from registry_site.admin.actions import StaffAction
from registry_site.admin.base import ReadOnlyAdmin
from registry_site.admin.front_page import Fact, Notice
from registry_site.admin.lists import address_filter, flag_filter
from registry_site.admin.object_pages import list_url


def refusals(actor: User, failures: Sequence[LoginFailure]) -> Mapping[Any, str]:
    """Return which failures are of accounts with more rights than the actor's."""
    users = list(User.objects.named(*{failure.name for failure in failures}))
    reasons = roles.refusals(actor, users)
    by_name = {names.canonical(user.username): reasons[user.pk] for user in users if user.pk in reasons}
    return {failure.pk: by_name[failure.name] for failure in failures if failure.name in by_name}


@admin.register(LoginFailure)
class LoginFailures(ReadOnlyAdmin):
    list_display = ("at", "name", "ip_address", "cause", "counts")
    list_filter = (
        "at",
        address_filter("ip_address"),
        ("of_code", flag_filter("what was wrong", "the second factor", "something else")),
        "refusal",
        ("forgiven", flag_filter("what followed", "the right one", "nothing right")),
        ("unlocked", flag_filter("what staff did", "unlocked the account", "nothing")),
    )
    search_fields = ("name__startswith",)
    search_help_text = "The beginning of a name; an address or a network."
    address_columns = ("ip_address",)
    staff_actions = (
        StaffAction(
            "unlock",
            "Unlock",
            "accounts.change_loginfailure",
            lambda failure, *, actor: login_throttle.unlock(failure.name, actor=actor) > 0,
            done="unlocked",
            explanation="The recent failures of these names count no more, so that their owners can sign in.",
            applies=login_throttle.is_unlockable,
            refusals=refusals,
        ),
    )

    @admin.display(description="counts at present")
    def counts(self, failure: LoginFailure) -> str:
        return login_throttle.counts_as(failure)


@front_page.add("accounts.view_loginfailure", "Accounts")
def failures_of_a_day() -> Iterator[Fact]:
    """Yield the failed log-ins of the last day."""
    day_ago = timezone.now() - timedelta(days=1)
    url = list_url(LoginFailure, at__gte=str(day_ago))
    yield Fact("Failed log-ins of the last day", "{number}", url, LoginFailure.objects.filter(at__gte=day_ago))


@front_page.add("accounts.view_user", "Accounts")
def locked_accounts() -> Iterator[Notice]:
    """Yield the accounts that wait after too many failed log-ins."""
    url = list_url(User, locked="1")
    yield Notice(login_throttle.locked_users(), "account{s} locked after failed log-ins", url)
