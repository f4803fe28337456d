"""Migrations of credentials: stored rows survive them, forwards and backwards."""

from typing import Any

import pytest

from tests.support.migrations import migrate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]

BEFORE = ("accounts", "0003_identities")
AFTER = ("accounts", "0006_credential_ip_address")
SCOPES_BEFORE = {
    "reads": ("app_key", "read"),
    "publishes": ("app_key", "read publish"),
    "does all": ("app_key", "read publish yank owners manage account"),
    "ci": ("cargo_token", "yank read"),
    "useless": ("cargo_token", ""),
    "Login": ("browser_session", "read publish yank owners manage account"),
}


def credentials_at(target: tuple[str, str]) -> Any:
    """Migrate to `target`, and return its model `Credential`."""
    return migrate(target).get_model("accounts", "Credential")


def test_credentials_survive_the_migrations_both_ways() -> None:
    credential = credentials_at(BEFORE)
    apps = credential._meta.apps
    reservation = apps.get_model("accounts", "NameReservation").objects.create(name="alice")
    user = apps.get_model("accounts", "User").objects.create(username="alice", reservation=reservation)
    for name, (kind, scopes) in SCOPES_BEFORE.items():
        credential.objects.create(user=user, kind=kind, name=name, digest=name, scopes=scopes, peer="192.0.2.1")

    rows = {row.name: row for row in credentials_at(AFTER).objects.all()}
    assert {name: row.app_key_type for name, row in rows.items() if row.app_key_type} == {
        "reads": "READ_ONLY",
        "publishes": "PUBLISH",
        "does all": "ALL",
    }
    assert {name: row.scopes for name, row in rows.items()} == {
        name: scopes.split() for name, (_, scopes) in SCOPES_BEFORE.items()
    }
    assert {row.ip_address for row in rows.values()} == {"192.0.2.1"}

    rows = {row.name: row for row in credentials_at(BEFORE).objects.all()}
    assert {name: (row.kind, row.scopes) for name, row in rows.items()} == SCOPES_BEFORE
    assert {row.peer for row in rows.values()} == {"192.0.2.1"}


SCOPES_BY_ACTION = {
    "publish yank": ["publish-new", "publish-update", "yank"],
    "owners read": ["change-owners", "read"],
    "read": ["read"],
    "": [],
    "read publish yank owners manage account": [
        *("read", "publish-new", "publish-update", "yank", "change-owners", "manage", "account")
    ],
}


def test_scopes_by_action_and_back() -> None:
    credential = credentials_at(("accounts", "0015_each_look_of_a_name_once"))
    apps = credential._meta.apps
    reservation = apps.get_model("accounts", "NameReservation").objects.create(name="alice")
    user = apps.get_model("accounts", "User").objects.create(username="alice", reservation=reservation)
    for name in SCOPES_BY_ACTION:
        credential.objects.create(user=user, kind="cargo_token", name=name, digest=name, scopes=name.split())

    credential = credentials_at(("accounts", "0017_scopes_by_action"))
    assert dict(credential.objects.values_list("name", "scopes")) == SCOPES_BY_ACTION
    limited = {"new alone": (["publish-new", "yank"], []), "one crate": (["publish-update", "yank", "read"], ["demo"])}
    for name, (scopes, patterns) in limited.items():
        fields = {"scopes": scopes, "crate_patterns": patterns, "digest": name}
        credential.objects.create(user_id=user.pk, kind="cargo_token", name=name, **fields)

    credential = credentials_at(("accounts", "0015_each_look_of_a_name_once"))
    assert dict(credential.objects.values_list("name", "scopes")) == {
        **{name: name.split() for name in SCOPES_BY_ACTION},
        "new alone": ["yank"],
        "one crate": ["read"],  # without patterns it would allow more
    }
