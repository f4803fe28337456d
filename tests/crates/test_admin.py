"""Admin of crates, as staff use it."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client

from accounts.models import Credential, User
from crates.models import Crate, IndexLine, Ownership, Version
from registry_site.admin.object_pages import object_url
from registry_site.models import AuditEvent, StaffRun
from tests.support import packing
from tests.support.admin import open_action, run_action, sign_in_to_admin, undo_run
from tests.support.authenticator_apps import add_app
from tests.support.cast import CargoClient
from tests.support.crate_rows import Listing, create_crates


@pytest.fixture(autouse=True)
def demo(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())


CRATES, VERSIONS = "/admin/crates/crate/", "/admin/crates/version/"
OWNERSHIPS = "/admin/crates/ownership/"


def test_lists_are_searched(as_root: Client, as_alice: CargoClient) -> None:
    as_alice.publish(packing.body("other"))
    for model in (Crate, Version, Ownership):
        path = f"/admin/crates/{model._meta.model_name}/"
        whole, matching = (as_root.get(path, {"q": text}).content.decode() for text in ("", "demo"))
        demo, other = (f'"{object_url(model, row.pk)}' for row in model._default_manager.order_by("pk"))
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
    assert '"yanked":true' in IndexLine.objects.get().text
    assert Version.objects.get().yank_message == "It panics."
    assert "1 unyanked" in run_action(as_root, VERSIONS, "unyank", version)
    assert '"yanked":false' in IndexLine.objects.get().text


def test_yank_by_staff_is_recorded_as_theirs(as_root: Client) -> None:
    run_action(as_root, VERSIONS, "yank", Version.objects.get(), reason="It panics.")
    assert AuditEvent.objects.get(action="crate.yank").actor_name == "root"


def owners() -> set[str]:
    return {owner.username for owner in Crate.objects.get().owners.all()}


def test_crate_is_transferred(as_root: Client, bob: User) -> None:
    run_action(as_root, CRATES, "transfer", Crate.objects.get(), user="Bob")
    assert owners() == {"bob"}
    keys = dict(User.objects.values_list("username", "pk"))
    events = AuditEvent.objects.filter(action__contains="owners").order_by("action")
    assert [(event.action, event.actor_name, event.target, event.detail) for event in events] == [
        ("crate.add_owners", "root", "demo", {"users": ["bob"], "user_ids": [keys["bob"]]}),
        ("crate.remove_owners", "root", "demo", {"users": ["alice"], "user_ids": [keys["alice"]]}),
    ]


def test_crate_goes_to_no_closed_account(as_root: Client, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    page = run_action(as_root, CRATES, "transfer", Crate.objects.get(), user="bob")
    assert "The account bob is closed or banned" in page
    assert owners() == {"alice"}


def test_owner_is_removed_but_the_last(as_root: Client, bob: User) -> None:
    run_action(as_root, CRATES, "add_owner", Crate.objects.get(), user="bob")
    first, second = Ownership.objects.order_by("pk")
    assert "1 removed" in run_action(as_root, OWNERSHIPS, "remove", first)
    assert owners() == {"bob"}
    assert "would be left without an owner" in run_action(as_root, OWNERSHIPS, "remove", second)
    assert owners() == {"bob"}


def test_changes_of_owners_are_undone(as_root: Client, bob: User) -> None:
    crate = Crate.objects.get()
    for action, changed in (("transfer", {"bob"}), ("add_owner", {"alice", "bob"})):
        run_action(as_root, CRATES, action, crate, user="bob")
        assert owners() == changed, action
        assert "1 with the former owners." in undo_run(as_root), action
        assert owners() == {"alice"}, action
    run_action(as_root, CRATES, "add_owner", crate, user="bob")
    run_action(as_root, OWNERSHIPS, "remove", Ownership.objects.order_by("pk").first())
    undo_run(as_root)
    assert owners() == {"alice", "bob"}


def test_owners_that_changed_since_stay(as_root: Client, bob: User, charlie: User) -> None:
    crate = Crate.objects.get()
    run_action(as_root, CRATES, "transfer", crate, user="bob")
    run = StaffRun.objects.get()
    run_action(as_root, CRATES, "transfer", crate, user="charlie")
    assert "The owners of demo have changed since: bob." in undo_run(as_root, run)
    assert owners() == {"charlie"}


def test_owners_need_a_fresh_proof(as_root: Client, bob: User) -> None:
    add_app(User.objects.get(username="root"))
    Credential.objects.update(proven_at=None)
    for action in ("add_owner", "transfer"):
        data = {"action": action, "_selected_action": [Crate.objects.get().pk]}
        assert "/account/confirm" in as_root.post(CRATES, data)["Location"], action
    assert owners() == {"alice"}


def test_removal_counts_dependents(as_root: Client, alice: User, django_assert_max_num_queries: Any) -> None:
    create_crates([Listing(f"user{number}", dependencies=("demo", "DEMO")) for number in range(2)], alice)
    create_crates([Listing("own", dependencies=("user0",))], alice)
    with django_assert_max_num_queries(12):
        page = open_action(as_root, CRATES, "remove", *Crate.objects.all())
    assert '<a href="/crates/demo/dependents">2 crates of this registry depend on it</a>.' in page
    assert '<a href="/crates/user0/dependents">1 crate of this registry depends on it</a>.' in page
    assert page.count("No crate of this registry depends on it.") == 2
    assert "4 removed" in run_action(as_root, CRATES, "remove", *Crate.objects.all(), reason="It panics.")


def test_texts_of_publishers_are_escaped(as_root: Client, as_alice: CargoClient) -> None:
    toml = packing.manifest("script", extra='description = "<script>alert(1)</script>"')
    as_alice.publish(packing.body("script", toml=toml))
    version = Version.objects.get(crate__name="script")
    page = as_root.get(f"/admin/crates/version/{version.pk}/").content.decode()
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


def page_of(client: Client, row: Model) -> str:
    response = client.get(object_url(type(row), row.pk))
    assert response.status_code == 200
    return response.content.decode()


def test_page_of_a_crate_has_all_about_it(as_root: Client) -> None:
    create_crates([Listing("needy", dependencies=("demo",))], User.objects.get(username="alice"))
    Version.objects.filter(crate__name="needy").update(yanked=True, yank_message="It panics.")
    demo, needy = Crate.objects.order_by("name")
    page = page_of(as_root, demo)
    for part in ("Usable, up to version 1.0.0.", "needy</a>", "alice</a>", "Published", "act/remove/", "act/transfer/"):
        assert part in page, part
    assert '"cksum"' not in page.replace("&quot;", '"')
    assert "It panics." in page_of(as_root, needy)
    assert f'{object_url(Crate, demo.pk)}">demo</a>' in page_of(as_root, needy)


def test_page_of_a_removed_version_says_why(as_root: Client) -> None:
    version = Version.objects.get()
    run_action(as_root, VERSIONS, "remove", version, reason="malware")
    page = page_of(as_root, version)
    assert "by root: malware" in page
    assert "act/restore/" in page
    assert "act/yank/" not in page
    assert "No version is left" in page_of(as_root, Crate.objects.get())
    run_action(as_root, VERSIONS, "destroy", version, reason="malware")
    assert "/act/" not in page_of(as_root, version)


def test_parts_of_a_page_need_their_rights(charlie: User) -> None:
    User.objects.filter(pk=charlie.pk).update(is_staff=True)
    charlie.user_permissions.set(Permission.objects.filter(codename="view_crate"))
    page = page_of(sign_in_to_admin(charlie), Crate.objects.get())
    assert "Usable, up to version" in page
    for part in ('id="versions"', 'id="owners"', 'id="recent-events"', "act/"):
        assert part not in page, part


def test_version_is_found_by_crate_and_number(as_root: Client, as_alice: CargoClient) -> None:
    as_alice.publish(packing.body(version="2.0.0"))
    checksum = Version.objects.get(number="2.0.0").checksum
    for text, numbers in (("Demo", 2), ("demo@2.0", 1), (checksum[:12], 1), ("alice", 2), ("2.0.0", 0)):
        assert len(as_root.get(VERSIONS, {"q": text}).context["cl"].result_list) == numbers, text
