"""Admin of crates, as staff use it."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client

from accounts.models import Credential, User
from crates.models import Crate, Ownership, Version
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.admin import run_action, sign_in_to_admin
from tests.support.authenticator_apps import add_app
from tests.support.cast import CargoClient


@pytest.fixture(autouse=True)
def demo(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())


CRATES, VERSIONS = "/admin/crates/crate/", "/admin/crates/version/"


def test_lists_are_searched(as_root: Client, as_alice: CargoClient) -> None:
    as_alice.publish(packing.body("other"))
    for model in (Crate, Version, Ownership):
        path = f"/admin/crates/{model._meta.model_name}/"
        whole, matching = (as_root.get(path, {"q": text}).content.decode() for text in ("", "demo"))
        demo, other = (f"{path}{row.pk}/change/" for row in model._default_manager.order_by("pk"))
        assert (demo in whole, other in whole, demo in matching, other in matching) == (True, True, True, False)


@pytest.mark.parametrize("model", ["crate", "version", "ownership"])
def test_number_of_queries_of_lists_is_constant(
    as_root: Client, as_alice: CargoClient, model: str, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(50) as few:
        as_root.get(f"/admin/crates/{model}/")
    most = len(few)
    for number in range(10):
        as_alice.publish(packing.body(f"crate{number}"))
    with django_assert_max_num_queries(most):
        as_root.get(f"/admin/crates/{model}/")


@pytest.mark.parametrize("model", [Crate, Version, Ownership])
def test_nothing_can_be_deleted(as_root: Client, model: type[Model]) -> None:
    row = model._default_manager.get()
    response = as_root.post(f"/admin/crates/{model._meta.model_name}/{row.pk}/delete/", {"post": "yes"})
    assert response.status_code == 403
    assert model._default_manager.filter(pk=row.pk).exists()


def test_yank_by_staff_changes_the_index(as_root: Client) -> None:
    version = Version.objects.get()
    assert "1 yanked" in run_action(as_root, VERSIONS, "yank", version, reason="It panics.")
    assert '"yanked":true' in Crate.objects.get().index_text
    assert Version.objects.get().yank_message == "It panics."
    assert "1 unyanked" in run_action(as_root, VERSIONS, "unyank", version)
    assert '"yanked":false' in Crate.objects.get().index_text


def test_yank_by_staff_is_recorded_as_theirs(as_root: Client) -> None:
    run_action(as_root, VERSIONS, "yank", Version.objects.get(), reason="It panics.")
    assert AuditEvent.objects.get(action="crate.yank").actor_name == "root"


def owners_form(*rows: dict[str, Any], initial: int = 1) -> dict[str, Any]:
    form = {"ownerships-TOTAL_FORMS": len(rows), "ownerships-INITIAL_FORMS": initial}
    return form | {f"ownerships-{n}-{key}": value for n, row in enumerate(rows) for key, value in row.items()}


def change(client: Client, *rows: dict[str, Any]) -> str:
    crate = Crate.objects.get()
    page = client.post(f"/admin/crates/crate/{crate.pk}/change/", owners_form(*rows), follow=True)
    return page.content.decode()


def present_row() -> dict[str, Any]:
    ownership = Crate.objects.get().ownerships.get()
    return {"id": ownership.pk, "crate": ownership.crate_id, "user": "alice"}


def test_owner_is_added(as_root: Client, bob: User) -> None:
    change(as_root, present_row(), {"crate": Crate.objects.get().pk, "user": "bob"})
    assert {owner.username for owner in Crate.objects.get().owners.all()} == {"alice", "bob"}


def test_owner_is_replaced(as_root: Client, bob: User) -> None:
    change(as_root, {**present_row(), "DELETE": "on"}, {"crate": Crate.objects.get().pk, "user": "bob"})
    assert {owner.username for owner in Crate.objects.get().owners.all()} == {"bob"}


def test_owners_need_a_fresh_proof(as_root: Client, bob: User) -> None:
    add_app(User.objects.get(username="root"))
    Credential.objects.update(proven_at=None)
    assert "/account/confirm" in change(as_root, present_row(), {"crate": Crate.objects.get().pk, "user": "bob"})
    assert Crate.objects.get().owners.count() == 1


def test_last_owner_stays(as_root: Client) -> None:
    assert "would be left without an owner" in change(as_root, {**present_row(), "DELETE": "on"})
    assert Crate.objects.get().owners.count() == 1


def test_texts_of_publishers_are_escaped(as_root: Client, as_alice: CargoClient) -> None:
    toml = packing.manifest("script", extra='description = "<script>alert(1)</script>"')
    as_alice.publish(packing.body("script", toml=toml))
    version = Version.objects.get(crate__name="script")
    page = as_root.get(f"/admin/crates/version/{version.pk}/change/").content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_crates_cannot_be_added(as_root: Client) -> None:
    for model in ("crate", "version", "ownership"):
        assert as_root.get(f"/admin/crates/{model}/add/").status_code == 403


def test_staff_who_may_only_view_cannot_yank(charlie: User) -> None:
    charlie.is_staff = True
    charlie.save()
    charlie.user_permissions.set(Permission.objects.filter(codename__in=["view_crate", "view_version"]))
    client = sign_in_to_admin(charlie)
    assert "demo" in client.get(VERSIONS).content.decode()
    run_action(client, VERSIONS, "yank", Version.objects.get())
    assert not Version.objects.get().yanked


def test_changed_owners_are_recorded(as_root: Client, bob: User) -> None:
    change(as_root, {**present_row(), "DELETE": "on"}, {"crate": Crate.objects.get().pk, "user": "bob"})
    events = AuditEvent.objects.filter(action__contains="owners").order_by("action")
    assert [(event.action, event.actor_name, event.target, event.detail) for event in events] == [
        ("crate.add_owners", "root", "demo", {"users": ["bob"]}),
        ("crate.remove_owners", "root", "demo", {"users": ["alice"]}),
    ]


def test_owners_change_by_their_actions(as_root: Client, bob: User) -> None:
    crate = Crate.objects.get()

    def act(action: str, login: str) -> tuple[str, set[str]]:
        page = run_action(as_root, CRATES, action, crate, user=login)
        return page, {owner.username for owner in crate.owners.all()}

    assert act("remove_owner", "alice")[1] == {"alice"}
    assert "would be left without an owner" in act("remove_owner", "alice")[0]
    assert "There is no account nobody." in act("add_owner", "nobody")[0]
    assert act("add_owner", "bob")[1] == {"alice", "bob"}
    assert "0 with one more owner, 1 unchanged." in act("add_owner", "bob")[0]
    assert act("transfer", "bob")[1] == {"bob"}
    assert "0 transferred, 1 unchanged." in act("transfer", "bob")[0]
    assert act("transfer", "alice")[1] == {"alice"}
