"""Who of staff may do what, and to whom: each ready-made group, each action, and accounts of each rank."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import reverse

from accounts import bans, registration
from accounts.credentials import cargo_tokens
from accounts.models import Credential, LoginFailure, User
from accounts.ranks import Rank
from registry_site.errors import PermissionDenied
from registry_site.http import client_address
from registry_site.models import StaffRun
from tests.support.admin import run_action, sign_in_to_admin, undo_run
from tests.support.authenticator_apps import add_app
from tests.support.cast import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.database_independent]

SUPPORT, CURATOR, SECURITY = Rank.SUPPORT, Rank.CURATOR, Rank.SECURITY
# By action: the groups that may use it. Administrators may use all, auditors none.
GROUPS_OF_ACTIONS: dict[str, set[Rank]] = {
    "accounts.ban lift": {SECURITY, SUPPORT},
    "accounts.credential revoke": {SECURITY},
    "accounts.loginfailure unlock": {SECURITY, SUPPORT},
    "accounts.reservedname release": {CURATOR},
    "accounts.user ban": {SECURITY, SUPPORT},
    "accounts.user close": set(),
    "accounts.user make_token": {SECURITY},
    "accounts.user remove_second_factor": {SECURITY, SUPPORT},
    "accounts.user reopen": set(),
    "accounts.user revoke_tokens": {SECURITY},
    "accounts.user send_reset_link": {SECURITY, SUPPORT},
    "accounts.user set_rank": set(),
    "accounts.user undo_ban": {SECURITY, SUPPORT},
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
    "crates.crate undo_owners": {CURATOR, SECURITY},
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
    "mirror.cachedindexfile exempt": {CURATOR, SECURITY},
    "mirror.cachedindexfile mark_stale": {CURATOR},
    "mirror.incident accept": {CURATOR},
    "mirror.incident reopen": {CURATOR, SECURITY},
    "mirror.incident settle": {CURATOR, SECURITY},
    "mirror.incident take_back": {CURATOR},
    "mirror.override end": {CURATOR, SECURITY},
    "namespaces.membership change_role": {CURATOR},
    "namespaces.membership remove": {CURATOR},
    "namespaces.namespace give_role": {CURATOR},
    "namespaces.namespace remove": {CURATOR},
    "namespaces.namespace restore": {CURATOR},
    "namespaces.namespace transfer": {CURATOR},
    "namespaces.namespace undo_roles": {CURATOR},
    "packages.collaboration change_role": {CURATOR},
    "packages.collaboration remove": {CURATOR},
    "packages.package give_role": {CURATOR},
    "packages.package remove": {CURATOR},
    "packages.package restore": {CURATOR},
    "packages.package transfer": {CURATOR},
    "packages.package undo_roles": {CURATOR},
    "packages.package undo_transfer": {CURATOR},
    "registry_site.announcement withdraw": {CURATOR},
    "registry_site.outboxentry send_again": {SUPPORT},
}
# By form for a new row: the groups that have it. Administrators have all.
GROUPS_OF_FORMS: dict[str, set[Rank]] = {
    "accounts.ban": {SECURITY, SUPPORT},
    "accounts.reservedname": {CURATOR},
    "accounts.user": set(),
    "auth.group": set(),
    "files.client": {SECURITY},
    "files.file": {CURATOR},
    "mirror.allowedname": {CURATOR},
    "mirror.override": {CURATOR, SECURITY},
    "namespaces.namespace": {CURATOR},
    "registry_site.announcement": {CURATOR},
}
# What an action asks for on its page beside the reason, and what its verb takes.
FIELDS: dict[str, dict[str, Any]] = {
    "accounts.user make_token": {"name": "ci", "scopes": "read"},
    "accounts.user set_rank": {"rank": "none"},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ban": {"reason": "spam", "until": None},
    "undo_ban": {"events": []},
    "make_token": {"name": "ci", "scopes": ["read"], "patterns": [], "expires_at": None},
}


# --- Accounts, and rows of theirs -----------------------------------------------------------------------------------


def hire(name: str, *ranks: Rank) -> User:
    """Open an account of staff; one without a rank administers."""
    user = registration.register(name, PASSWORD, admin=not ranks)
    if ranks:
        User.objects.filter(pk=user.pk).update(is_staff=True)
        user.groups.set(Group.objects.filter(name__in=ranks))
    member: User = User.objects.get(pk=user.pk)
    return member


def new_token(user: User) -> Credential:
    cargo_tokens.create(user, "ci")
    return user.credentials.get(name="ci")


def fail(user: User) -> LoginFailure:
    network = client_address.network_of("192.0.2.1")
    return LoginFailure.objects.create(name=user.reservation.name, ip_address="192.0.2.1", network=network)


def lock(user: User) -> User:
    fail(user)
    return user


def protect(user: User) -> User:
    User.objects.filter(pk=user.pk).update(email=f"{user.username}@example.com")
    add_app(user)
    return user


def closed(user: User) -> User:
    User.objects.filter(pk=user.pk).update(is_active=False)
    return user


# The row that each action on accounts is tried with.
ROWS: dict[str, Callable[[User], Any]] = {
    "accounts.ban lift": lambda user: bans.ban(user, actor=None),
    "accounts.credential revoke": new_token,
    "accounts.loginfailure unlock": fail,
    "accounts.user ban": lambda user: user,
    "accounts.user close": lambda user: user,
    "accounts.user make_token": lambda user: user,
    "accounts.user remove_second_factor": protect,
    "accounts.user reopen": closed,
    "accounts.user revoke_tokens": lambda user: new_token(user).user,
    "accounts.user send_reset_link": protect,
    "accounts.user set_rank": lambda user: user,
    "accounts.user unban": lambda user: bans.ban(user, actor=None).user,
    "accounts.user unlock": lock,
}
NOT_TO_ONESELF = {"accounts.user ban", "accounts.user make_token", "accounts.user remove_second_factor"}
NOT_TO_ADMINISTRATORS = {"accounts.user set_rank"}  # they have every right
BY_RUN = {"accounts.user undo_ban"}  # which have no page without a run
BY_OTHERS = {"accounts.ban lift", "accounts.user unban"}  # who is banned does not sign in


# --- What each group has --------------------------------------------------------------------------------------------


@pytest.fixture
def requests(db: None) -> dict[Rank | None, Any]:
    """A request by a member of each group, and by an administrator (None)."""
    requests = {}
    for rank in (None, *Rank):
        requests[rank] = RequestFactory().get("/admin/")
        requests[rank].user = hire(f"the-{rank}", *([rank] if rank else []))
    return requests


def pages() -> Iterator[tuple[str, Any]]:
    """Iterate over the pages of the admin site by the models of their rows."""
    for model, page in admin.site._registry.items():
        yield model._meta.label_lower, page


def groups_with(requests: dict[Rank | None, Any], names: Callable[[Any], Iterator[str]]) -> dict[str, set[Rank]]:
    """Return, for each name that an administrator gets, the groups that get it, too."""
    names_of = {rank: set(names(request)) for rank, request in requests.items()}
    return {name: {rank for rank in Rank if name in names_of[rank]} for name in names_of[None]}


def test_groups_have_exactly_their_actions(requests: dict[Rank | None, Any]) -> None:
    def names(request: Any) -> Iterator[str]:
        for label, page in pages():
            yield from (f"{label} {action.name}" for action in page.permitted_actions(request))

    assert groups_with(requests, names) == GROUPS_OF_ACTIONS


def test_groups_have_exactly_their_forms(requests: dict[Rank | None, Any]) -> None:
    def names(request: Any) -> Iterator[str]:
        yield from (label for label, page in pages() if page.has_add_permission(request))

    assert groups_with(requests, names) == GROUPS_OF_FORMS


def test_each_group_looks_at_every_list(requests: dict[Rank | None, Any]) -> None:
    def names(request: Any) -> Iterator[str]:
        yield from (label for label, page in pages() if page.has_view_permission(request))

    assert groups_with(requests, names) == {label: set(Rank) for label, _ in pages()}


def test_only_administrators_have_the_account_form(db: None) -> None:
    users = [registration.register("plain", PASSWORD), *(hire(f"the-{rank}", rank) for rank in Rank)]
    paths = [f"/admin/accounts/user/{user.pk}/{form}/" for user in users for form in ("change", "password")]
    clients = {rank: sign_in_to_admin(user) for rank, user in zip(Rank, users[1:], strict=True)}
    cases = [(rank, path) for rank in Rank for path in paths]
    assert [(rank, path) for rank, path in cases if clients[rank].post(path, {"email": ""}).status_code != 403] == []


# --- Whom it acts on ------------------------------------------------------------------------------------------------


def is_changed(client: Client, name: str, target: User) -> bool:
    """Run an action on the row of an account through its page, and undo it all; return whether it changed the row."""
    label, action = name.split()
    path = reverse(f"admin:{label.replace('.', '_')}_changelist")
    with transaction.atomic():
        run_action(client, path, action, ROWS[name](target), reason="It is needed.", **FIELDS.get(name, {}))
        changed = any(StaffRun.objects.values_list("changed", flat=True))
        transaction.set_rollback(True)
    return changed


def test_groups_act_on_no_higher_rank(db: None, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.org"  # Django's tests keep the mails
    outcomes = {
        registration.register("plain", PASSWORD): True,
        hire("auditor", Rank.AUDITOR): True,
        hire("curator", CURATOR): False,
        hire("both", SUPPORT, SECURITY): False,
        hire("administrator"): False,
    }
    offenders = []
    for rank in (SUPPORT, SECURITY):
        actor, equal = hire(f"one-{rank}", rank), hire(f"other-{rank}", rank)
        client = sign_in_to_admin(actor)
        for name in (name for name in ROWS if rank in GROUPS_OF_ACTIONS[name]):
            own = {} if name in BY_OTHERS else {actor: name not in NOT_TO_ONESELF}
            for target, expected in {**outcomes, equal: True, **own}.items():
                if is_changed(client, name, target) != expected:
                    offenders.append(f"{rank}: {name}, {target}")
    assert offenders == []


def test_administrators_act_on_every_rank(root: User, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.org"
    targets = [hire(f"the-{rank}", rank) for rank in Rank] + [hire("administrator")]
    client = sign_in_to_admin(root)
    cases = {
        (name, target): not (name in NOT_TO_ADMINISTRATORS and target.is_superuser)
        for name in ROWS
        for target in targets
    }
    assert [case for case, expected in cases.items() if is_changed(client, *case) != expected] == []


def test_verbs_refuse_higher_ranks_themselves(root: User) -> None:
    both = protect(hire("both", SUPPORT, SECURITY))
    protect(root)
    users: Any = admin.site._registry[User]
    actors = {rank: hire(f"one-{rank}", rank) for rank in (SUPPORT, SECURITY)}
    cases = [
        (actor, action, target)
        for rank, actor in actors.items()
        for action in users.staff_actions
        if rank in GROUPS_OF_ACTIONS[f"accounts.user {action.name}"]
        for target in (both, root)
    ]
    offenders = []
    for actor, action, target in cases:
        try:
            action.apply(target, actor=actor, **ARGUMENTS.get(action.name, {}))
            offenders.append(f"{actor} {action.name} {target}")
        except PermissionDenied:
            pass
    assert offenders == []


def test_every_action_on_accounts_is_tried(db: None) -> None:
    on_accounts = ("accounts.user ", "accounts.ban ", "accounts.credential ", "accounts.loginfailure ")
    assert set(ROWS) | BY_RUN == {name for name in GROUPS_OF_ACTIONS if name.startswith(on_accounts)}


def test_undoing_needs_the_rank_of_the_action(root: User) -> None:
    both, plain = hire("both", SUPPORT, SECURITY), registration.register("plain", PASSWORD)
    run_action(sign_in_to_admin(root), "/admin/accounts/user/", "ban", both, plain, reason="spam")
    page = undo_run(sign_in_to_admin(hire("one", SUPPORT)))
    assert "1 as before, 1 refused." in page
    assert (both.bans.in_force().count(), plain.bans.in_force().count()) == (1, 0)
