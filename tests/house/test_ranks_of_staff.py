"""Ranks of staff: what each may do in the admin, and to whom. A new action or list needs a row here."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client
from django.urls import reverse

from accounts import bans, registration
from accounts.credentials import cargo_tokens
from accounts.models import Credential, LoginFailure, User
from accounts.ranks import Rank
from registry_site.http import client_address
from registry_site.models import StaffRun
from tests.support.admin import run_action, sign_in_to_admin
from tests.support.authenticator_apps import add_app
from tests.support.cast import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.database_independent, pytest.mark.no_cover]

ADMINISTRATOR = "administrator"
STAFF = (*Rank.values, ADMINISTRATOR)

# Of each action: the ranks that have it, beside administrators.
ACTIONS = {
    "accounts.ban lift": "support security",
    "accounts.credential revoke": "security",
    "accounts.loginfailure unlock": "support security",
    "accounts.reservedname release": "curator",
    "accounts.user ban": "support security",
    "accounts.user make_token": "security",
    "accounts.user remove_second_factor": "support security",
    "accounts.user revoke_tokens": "security",
    "accounts.user send_reset_link": "support security",
    "accounts.user unban": "support security",
    "accounts.user unlock": "support security",
    "crates.crate add_owner": "curator security",
    "crates.crate destroy": "security",
    "crates.crate hide_upstream": "curator security",
    "crates.crate mail_owners": "curator security",
    "crates.crate remove": "curator security",
    "crates.crate remove_owner": "curator security",
    "crates.crate restore": "curator security",
    "crates.crate serve_upstream": "curator security",
    "crates.crate transfer": "curator security",
    "crates.ownership remove": "curator security",
    "crates.version destroy": "security",
    "crates.version remove": "curator security",
    "crates.version restore": "curator security",
    "crates.version unyank": "curator security",
    "crates.version yank": "curator security",
    "files.client disable": "security",
    "files.client enable": "security",
    "files.client end_sessions": "security",
    "files.client rotate": "security",
    "files.file remove": "curator",
    "files.session end": "security",
    "mirror.allowedname withdraw": "curator",
    "mirror.cachedcrate delete_and_block": "curator",
    "mirror.cachedcrate delete_crates": "curator",
    "mirror.cachedindexfile accept_changes": "curator",
    "mirror.cachedindexfile block": "curator security",
    "mirror.cachedindexfile mark_stale": "curator",
    "mirror.incident settle": "curator security",
    "mirror.override end": "curator security",
    "namespaces.membership change_role": "curator",
    "namespaces.membership remove": "curator",
    "namespaces.namespace give_role": "curator",
    "namespaces.namespace remove": "curator",
    "namespaces.namespace restore": "curator",
    "namespaces.namespace transfer": "curator",
    "packages.collaboration change_role": "curator",
    "packages.collaboration remove": "curator",
    "packages.package give_role": "curator",
    "packages.package remove": "curator",
    "packages.package restore": "curator",
    "packages.package transfer": "curator",
    "registry_site.announcement withdraw": "curator",
    "registry_site.outboxentry send_again": "support",
}
# Of each form for a new row: the ranks that have it, beside administrators.
FORMS = {
    "accounts.ban": "support security",
    "accounts.reservedname": "curator",
    "accounts.user": "",
    "auth.group": "",
    "files.client": "security",
    "files.file": "curator",
    "mirror.allowedname": "curator",
    "mirror.override": "curator security",
    "namespaces.namespace": "curator",
    "registry_site.announcement": "curator",
}


def new_token(user: User) -> Credential:
    cargo_tokens.create(user, "ci")
    return user.credentials.get(name="ci")


def fail(user: User) -> LoginFailure:
    address = "192.0.2.1"
    network = client_address.network_of(address)
    return LoginFailure.objects.create(name=user.reservation.name, ip_address=address, network=network)


def lock(user: User) -> User:
    fail(user)
    return user


def protect(user: User) -> User:
    add_app(user)
    return user


def with_address(user: User) -> User:
    User.objects.filter(pk=user.pk).update(email=f"{user.username}@example.com")
    return user


# Rows that the actions on accounts are tried with, for the account that they act on.
ROWS: dict[str, Callable[[User], Any]] = {
    "accounts.ban lift": lambda user: bans.ban(user, actor=None),
    "accounts.credential revoke": new_token,
    "accounts.loginfailure unlock": fail,
    "accounts.user ban": lambda user: user,
    "accounts.user make_token": lambda user: user,
    "accounts.user remove_second_factor": protect,
    "accounts.user revoke_tokens": lambda user: new_token(user).user,
    "accounts.user send_reset_link": with_address,
    "accounts.user unban": lambda user: bans.ban(user, actor=None).user,
    "accounts.user unlock": lock,
}
FIELDS = {"reason": "It is needed.", "name": "ci", "scopes": "read"}  # of the forms of all these actions
# What becomes of an account of each kind, whoever of those with the action acts.
CHANGED, REFUSED = "changed", "refused"
TARGETS = {"nobody of the staff": CHANGED, "the same rank": CHANGED, "another rank": REFUSED, ADMINISTRATOR: REFUSED}
# Of one's own account.
NOT_TO_ONESELF = ("ban", "make_token", "remove_second_factor")
ONESELF = dict.fromkeys(ROWS, CHANGED) | {f"accounts.user {name}": REFUSED for name in NOT_TO_ONESELF}


def hire(name: str, rank: str) -> User:
    """Open an account of staff."""
    user = registration.register(name, PASSWORD, admin=rank == ADMINISTRATOR)
    if rank != ADMINISTRATOR:
        User.objects.filter(pk=user.pk).update(is_staff=True)
        user.groups.add(Group.objects.get(name=rank))
    return user


@pytest.fixture(autouse=True)
def mail(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.org"  # Django's tests keep the mails


@pytest.fixture
def clients(db: None) -> dict[str, Client]:
    """The admin site, as one of each rank has it."""
    return {rank: sign_in_to_admin(hire(f"the-{rank}", rank)) for rank in STAFF}


def pages() -> Iterator[tuple[str, Any]]:
    for model, page in admin.site._registry.items():
        yield model._meta.label_lower, page


def url(label: str, view: str, *args: Any) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_{view}", args=args)


def ranks_admitted(clients: dict[str, Client], path: str) -> str:
    return " ".join(rank for rank in Rank.values if clients[rank].get(path).status_code != 403)


# --- What ---------------------------------------------------------------------------------------------------------


def test_each_rank_looks_at_every_list(clients: dict[str, Client]) -> None:
    everybody = " ".join(Rank.values)
    assert [label for label, _ in pages() if ranks_admitted(clients, url(label, "changelist")) != everybody] == []


def test_each_rank_has_its_actions(clients: dict[str, Client]) -> None:
    actions = [(label, action) for label, page in pages() for action in page.staff_actions]
    admitted = {
        f"{label} {action.name}": ranks_admitted(clients, url(label, "act", action.name)) for label, action in actions
    }
    assert admitted == ACTIONS


def test_each_rank_has_its_forms(clients: dict[str, Client]) -> None:
    root = User.objects.get(username="the-administrator")
    request = clients[ADMINISTRATOR].get("/admin/").wsgi_request
    request.user = root
    adding = {
        label: ranks_admitted(clients, url(label, "add")) for label, page in pages() if page.has_add_permission(request)
    }
    assert adding == FORMS


# --- To whom ------------------------------------------------------------------------------------------------------


def outcome(client: Client, name: str, target: User) -> str:
    """Run an action on the row of an account, and undo it all; return what became of the row."""
    label, action = name.split()
    with transaction.atomic():
        row = ROWS[name](target)
        run_action(client, url(label, "changelist"), action, row, **FIELDS)
        runs = StaffRun.objects.values_list("changed", flat=True)
        changed = CHANGED if any(runs) else REFUSED
        transaction.set_rollback(True)
    return changed


def test_ranks_respect_more_rights_than_theirs(clients: dict[str, Client]) -> None:
    plain, administrator = registration.register("plain", PASSWORD), hire("other-administrator", ADMINISTRATOR)
    others = {rank: hire(f"other-{rank}", rank) for rank in Rank.values}
    offenders = []
    for name in ROWS:
        for rank in ACTIONS[name].split():
            another = others["curator"]
            targets = dict(zip(TARGETS, (plain, others[rank], another, administrator), strict=True))
            offenders += [
                f"{rank}: {name}, {kind}"
                for kind, target in targets.items()
                if outcome(clients[rank], name, target) != TARGETS[kind]
            ]
    assert offenders == []


def test_administrators_act_on_every_rank(clients: dict[str, Client]) -> None:
    targets = [hire(f"other-{rank}", rank) for rank in STAFF]
    administrator = clients[ADMINISTRATOR]
    cases = [(name, target) for name in ROWS for target in targets]
    assert [f"{name} {target}" for name, target in cases if outcome(administrator, name, target) != CHANGED] == []


def test_staff_act_on_themselves_within_limits(clients: dict[str, Client]) -> None:
    offenders = []
    for name in set(ROWS) - {"accounts.ban lift", "accounts.user unban"}:  # who is banned does not sign in
        for rank in (*ACTIONS[name].split(), ADMINISTRATOR):
            user = User.objects.get(username=f"the-{rank}")
            if outcome(clients[rank], name, user) != ONESELF[name]:
                offenders.append(f"{rank}: {name}")
    assert offenders == []


def test_actions_on_accounts_have_a_row(clients: dict[str, Client]) -> None:
    of_accounts = {name for name in ACTIONS if name.startswith("accounts.") and "reservedname" not in name}
    assert set(ROWS) == of_accounts


def test_only_administrators_have_the_account_form(clients: dict[str, Client]) -> None:
    users = [registration.register("plain", PASSWORD), *User.objects.filter(username__startswith="the-")]
    paths = [f"/admin/accounts/user/{user.pk}/{form}/" for user in users for form in ("change", "password")]
    cases = [(rank, path) for rank in Rank.values for path in paths]
    assert [
        case for case in cases if clients[case[0]].post(case[1], {"email": "x@example.com"}).status_code != 403
    ] == []
