"""Who of staff may do what: each ready-made group and each action, on accounts of equal, lower and higher rank."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import RequestFactory

from accounts import registration
from accounts.models import User
from accounts.ranks import Rank
from registry_site.errors import PermissionDenied
from tests.support.authenticator_apps import add_app
from tests.support.cast import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.no_cover]

SUPPORT, CURATOR, SECURITY = Rank.SUPPORT, Rank.CURATOR, Rank.SECURITY
# By action: the groups that may use it. Administrators may use all, auditors none.
GROUPS_OF_ACTIONS: dict[str, set[Rank]] = {
    "accounts.ban lift": {SECURITY, SUPPORT},
    "accounts.credential revoke": {SECURITY},
    "accounts.loginfailure unlock": {SECURITY, SUPPORT},
    "accounts.reservedname release": {CURATOR},
    "accounts.user ban": {SECURITY, SUPPORT},
    "accounts.user make_token": {SECURITY},
    "accounts.user remove_second_factor": {SECURITY, SUPPORT},
    "accounts.user revoke_tokens": {SECURITY},
    "accounts.user send_reset_link": {SECURITY, SUPPORT},
    "accounts.user unban": {SECURITY, SUPPORT},
    "accounts.user unlock": {SECURITY, SUPPORT},
    "crates.crate add_owner": {CURATOR, SECURITY},
    "crates.crate destroy": {SECURITY},
    "crates.crate hide_upstream": {CURATOR, SECURITY},
    "crates.crate mail_owners": {CURATOR, SECURITY},
    "crates.crate remove": {CURATOR, SECURITY},
    "crates.crate remove_owner": {CURATOR, SECURITY},
    "crates.crate restore": {CURATOR, SECURITY},
    "crates.crate serve_upstream": {CURATOR, SECURITY},
    "crates.crate transfer": {CURATOR, SECURITY},
    "crates.ownership remove": {CURATOR, SECURITY},
    "crates.version destroy": {SECURITY},
    "crates.version remove": {CURATOR, SECURITY},
    "crates.version restore": {CURATOR, SECURITY},
    "crates.version unyank": {CURATOR, SECURITY},
    "crates.version yank": {CURATOR, SECURITY},
    "files.client disable": {SECURITY},
    "files.client enable": {SECURITY},
    "files.client end_sessions": {SECURITY},
    "files.client rotate": {SECURITY},
    "files.file remove": {CURATOR},
    "files.session end": {SECURITY},
    "mirror.allowedname withdraw": {CURATOR},
    "mirror.cachedcrate delete_and_block": {CURATOR},
    "mirror.cachedcrate delete_crates": {CURATOR},
    "mirror.cachedindexfile accept_changes": {CURATOR},
    "mirror.cachedindexfile block": {CURATOR, SECURITY},
    "mirror.cachedindexfile mark_stale": {CURATOR},
    "mirror.incident settle": {CURATOR, SECURITY},
    "mirror.override end": {CURATOR, SECURITY},
    "namespaces.membership change_role": {CURATOR},
    "namespaces.membership remove": {CURATOR},
    "namespaces.namespace give_role": {CURATOR},
    "namespaces.namespace remove": {CURATOR},
    "namespaces.namespace restore": {CURATOR},
    "namespaces.namespace transfer": {CURATOR},
    "packages.collaboration change_role": {CURATOR},
    "packages.collaboration remove": {CURATOR},
    "packages.package give_role": {CURATOR},
    "packages.package remove": {CURATOR},
    "packages.package restore": {CURATOR},
    "packages.package transfer": {CURATOR},
    "registry_site.announcement withdraw": {CURATOR},
    "registry_site.outboxentry send_again": {SUPPORT},
}
# What nobody does to the own account by these pages.
NOT_TO_ONESELF = {"ban", "make_token", "remove_second_factor"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ban": {"reason": "spam", "until": None},
    "make_token": {"name": "ci", "scopes": ["read"], "patterns": [], "expires_at": None},
}


def staff_of(rank: Rank, name: str) -> User:
    """Return a member of a group of staff."""
    user = registration.register(name, PASSWORD)
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.groups.add(Group.objects.get(name=rank))
    member: User = User.objects.get(pk=user.pk)
    return member


def actions_of(user: User) -> Iterator[tuple[str, Any]]:
    """Iterate over the actions that a member of staff may use, by model and name."""
    request = RequestFactory().get("/admin/")
    request.user = user
    pages: dict[Any, Any] = admin.site._registry
    for model, page in pages.items():
        for action in page.permitted_actions(request):
            yield f"{model._meta.label_lower} {action.name}", action


def test_groups_may_use_exactly_their_actions(root: User) -> None:
    groups: dict[str, set[Rank]] = {name: set() for name, _ in actions_of(root)}
    for rank in Rank:
        for name, _ in actions_of(staff_of(rank, f"in-{rank}")):
            groups[name].add(rank)
    assert groups == GROUPS_OF_ACTIONS


def test_nobody_acts_on_accounts_above_their_rank(root: User, alice: User) -> None:
    both = staff_of(SUPPORT, "both")
    both.groups.add(Group.objects.get(name=SECURITY))
    offenders = []
    for rank in (SUPPORT, SECURITY):
        actor, equal = staff_of(rank, f"one-{rank}"), staff_of(rank, f"other-{rank}")
        higher = [root, both]
        for name, action in actions_of(actor):
            if not name.startswith("accounts.user "):
                continue
            refused = set(action.refusals_of(actor, [actor, equal, alice, *higher]))
            expected = {row.pk for row in higher} | ({actor.pk} if action.name in NOT_TO_ONESELF else set())
            if refused != expected:
                offenders.append(f"{rank} {name} leaves out {refused}")
            offenders += [f"{rank} {name} on {user}" for user in higher if not is_refused(action, user, actor)]
    assert offenders == []


def is_refused(action: Any, user: User, actor: User) -> bool:
    """Return whether the verb itself refuses an action on an account, whatever its page has left out."""
    if not user.authenticators.exists():
        add_app(user)
    try:
        action.apply(user, actor=actor, **ARGUMENTS.get(action.name, {}))
    except PermissionDenied:
        return True
    return False
