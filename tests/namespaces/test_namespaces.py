"""Namespaces and their members: yapkg's endpoints, personal namespaces, the trash, and the admin site."""

import importlib
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import timezone

from accounts import bans, names, profiles, registration, roles
from accounts.models import NameReservation, User
from accounts.models import Role as SiteRole
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Membership, Namespace, Role
from namespaces.role_assignments import NewRole
from packages import collaboration, release_input, releasing
from packages.models import Collaboration, Package
from registry_site.errors import RegistryError
from registry_site.models import AuditEvent, StaffRun
from tests.support.admin import new_user_form, run_action, sign_in_to_admin, undo_run
from tests.support.browser import ALL_METHODS, ANONYMOUS, BAD_BODIES, NO_PATH, OK, Browser
from tests.support.cast import PASSWORD
from tests.support.concurrency import count_statuses, post_to_ktra, run_concurrently
from tests.support.live_browser import LiveBrowser
from tests.support.migrations import models_at
from tests.support.roles import BAD_ROLES, NAMES_WITHOUT_ROLE, assert_refused, collaborators_of, members_of
from tests.support.servers import Server
from tests.support.user_import import import_line

NS = "/namespace/acme"
MEMBERS = f"{NS}/members"
BOTH = pytest.mark.parametrize("prefix", ["namespace", "namespaces"])
BOB = {"username": "bob", "role": "MEMBER"}
NO_OWNER_LEFT = "acme would be left without an owner; make somebody else one first."
MISSING = {"error": "namespace_missing", "message": "There is no such namespace."}


@pytest.fixture
def acme(alice: User) -> Namespace:
    """A namespace of alice, its only member."""
    return membership.create_namespace(Principal(alice), "acme")


def add_member(namespace: Namespace, user: User, role: Role) -> None:
    Membership.objects.create(namespace=namespace, user=user, role=role)


def add_package(owner: User, name: str, kind: str = "PUBLIC", namespace: str = "acme") -> Package:
    content = release_input.ReleaseInput(version="1.0.0", type=kind)
    return releasing.create_package(Principal(owner), namespace, name, "java", content).package


def namespace_form(namespace: Namespace, owner: User, *members: tuple[User, str]) -> dict[str, Any]:
    """Return the document's form of a namespace."""
    return {
        "namespace_id": str(namespace.pk),
        "namespace": namespace.name,
        "owner": owner.username,
        "member": [
            {"username": user.username, "role": role, "avatar_uri": user.avatar_uri}
            for user, role in ((owner, "OWNER"), *members)
        ],
    }


def create_namespace(browser: Browser, name: Any, prefix: str = "namespace") -> Any:
    return browser.send("POST", f"/{prefix}", namespace=name)


def add_members(browser: Browser, body: Any) -> Any:
    return browser.post(MEMBERS, body, content_type="application/json")


# --- POST /namespace -------------------------------------------------------------------------------------------------


@BOTH
def test_created_namespace_has_its_owner(browser: Browser, alice: User, prefix: str) -> None:
    response = create_namespace(browser, "acme", prefix)
    assert (response.status_code, response.json()) == (200, namespace_form(Namespace.objects.get(name="acme"), alice))


def test_good_names_are_accepted(browser: Browser) -> None:
    for name in ("a", "7", "a.b-c_d", "ACME", "a..b", "x" * 63):
        assert create_namespace(browser, name).json()["namespace"] == name


def test_bad_names_are_refused(browser: Browser) -> None:
    for name in (
        ".a",
        "a.",
        "-a",
        "a-",
        "_a",
        "a/b",
        "a b",
        " acme",
        "a\n",
        "a:b",
        "..",
        "中文",
        "é",
        "\u0430cme",
        "x" * 64,
    ):
        message = (
            f"The namespace {name[:80]!r} is not allowed: use 1 to 63 of A-Z, a-z, 0-9, -, _ and ., "
            "and begin and end with a letter or a digit."
        )
        assert_refused(create_namespace(browser, name), 400, "name_invalid", message)


def test_reserved_names_are_refused(browser: Browser) -> None:
    for name in ("admin", "Api", "namespaces", "PACKAGES", "settings", "root"):
        assert names.is_reserved(name)
        message = f"The namespace {name!r} is reserved; choose another."
        assert_refused(create_namespace(browser, name), 400, "name_invalid", message)


def test_taken_names_are_refused_in_any_case(browser: Browser, acme: Namespace, bob: User) -> None:
    for name in ("acme", "ACME", "bob", "Bob", "alice"):
        message = f"The name {name!r} is taken by a namespace or a user."
        assert_refused(create_namespace(browser, name), 400, "name_taken", message)


def test_users_cannot_register_the_name(acme: Namespace) -> None:
    address = {"email": "a@example.org"}
    passwords = {"password": PASSWORD, "confirm_password": PASSWORD}
    for name in ("acme", "ACME", "Acme"):
        ktra = Client().post(f"/ktra/api/v1/new_user/{name}", {"password": PASSWORD}, content_type="application/json")
        yapkg = Browser().send("POST", "/register", username=name, password=PASSWORD, **address)
        torrust = Browser().send("POST", "/v1/user/register", username=name, **passwords, **address)
        assert [ktra.status_code, yapkg.status_code, torrust.status_code] == [409, 400, 400]
    assert [user.username for user in User.objects.all()] == ["alice"]


def test_former_name_of_a_user_is_taken(browser: Browser, bob: User) -> None:
    profiles.update_profile(Principal(bob), None, profiles.ProfileChanges(username="robert"))
    for client in (browser, Browser(bob)):
        assert create_namespace(client, "Bob").json()["error"] == "name_taken"


def test_users_cannot_be_renamed_to_the_name(acme: Namespace, bob: User) -> None:
    response = Browser(bob).change(username="ACME")
    assert_refused(response, 400, "name_taken", "The name 'ACME' is taken by a namespace or a user.")
    assert NameReservation.objects.get(name="acme").former_user is None


WRONG_TEXTS = [
    (None, "This field may not be null."),
    ("", "This field may not be blank."),
    (7, "Not a valid string."),
    (True, "Not a valid string."),
    (["acme"], "Not a valid string."),
    ({"a": "b"}, "Not a valid string."),
    ("x" * 256, "Ensure this field has no more than 255 characters."),
]


def test_name_that_is_no_text_is_refused(browser: Browser) -> None:
    for value, reason in WRONG_TEXTS:
        assert_refused(create_namespace(browser, value), 400, "malformed", f"namespace: {reason}")


def test_name_is_required(browser: Browser) -> None:
    assert_refused(browser.send("POST", "/namespace"), 400, "malformed", "namespace: This field is required.")


# --- GET /namespace/{namespace} --------------------------------------------------------------------------------------


@BOTH
def test_anybody_can_see_a_namespace(acme: Namespace, alice: User, bob: User, charlie: User, prefix: str) -> None:
    User.objects.filter(pk=bob.pk).update(avatar_uri="https://example.org/bob.png")
    bob.refresh_from_db()
    add_member(acme, charlie, Role.READ_ONLY)
    add_member(acme, bob, Role.MANAGER)
    response = Browser().get(f"/{prefix}/acme")
    assert response.status_code == 200
    assert response.json() == namespace_form(acme, alice, (charlie, "READ_ONLY"), (bob, "MANAGER"))


def test_namespace_answers_to_its_name_in_any_case(acme: Namespace, alice: User) -> None:
    for name in ("ACME", "Acme", "%61cme"):
        assert Browser().get(f"/namespace/{name}").json() == namespace_form(acme, alice)


def test_owner_is_listed_first(browser: Browser, acme: Namespace, alice: User, bob: User) -> None:
    add_members(browser, {"username": "bob", "role": "OWNER"})
    browser.send("PATCH", f"{MEMBERS}/alice", role="MEMBER")
    assert Browser().get(NS).json() == namespace_form(acme, bob, (alice, "MEMBER"))


@BOTH
def test_unknown_namespace_is_missing(browser: Browser, acme: Namespace, prefix: str) -> None:
    for name in ("none", "%2e%2e", "..", "%ff", "%25", "%20acme", "acme%0a", "a" * 5000, "%E4%B8%AD", "'"):
        for method in ("GET", "DELETE"):
            response = browser.generic(method, f"/{prefix}/{name}")
            assert (response.status_code, response.json()) == (404, MISSING)


# --- DELETE /namespace/{namespace} -----------------------------------------------------------------------------------


@BOTH
def test_deletion_hides_namespace_and_packages(browser: Browser, acme: Namespace, alice: User, prefix: str) -> None:
    add_package(alice, "tool")
    response = browser.delete(f"/{prefix}/acme")
    assert (response.status_code, response.json()) == (200, OK)
    paths = (
        NS,
        "/namespaces/acme/packages",
        "/namespaces/acme/packages/tool",
        "/namespaces/acme/packages/tool/versions",
    )
    assert [browser.get(path).status_code for path in paths] == [404] * 4
    assert browser.get("/packages?query=").json() == browser.get("/packages?query=tool").json() == []


def test_deleted_namespace_refuses_changes(browser: Browser, acme: Namespace, bob: User) -> None:
    browser.delete(NS)
    package = {"package_name": "tool", "version": "1.0.0", "field": "java"}
    assert (browser.delete(NS).status_code, add_members(browser, BOB).status_code) == (404, 404)
    assert browser.send("PATCH", f"{MEMBERS}/alice", role="OWNER").status_code == 404
    assert browser.send("POST", "/namespaces/acme/packages", **package).json()["error"] == "namespace_missing"
    assert browser.delete("/namespaces/acme/packages/tool").status_code == 204


def test_manager_cannot_delete_namespace(acme: Namespace, bob: User) -> None:
    add_member(acme, bob, Role.MANAGER)
    assert_refused(Browser(bob).delete(NS), 403, "denied", "Only an owner of acme may remove it.")
    assert Browser().get(NS).status_code == 200


# --- Members ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [[BOB], BOB, {"members": [BOB]}], ids=["array", "object", "wrapped"])
def test_member_is_added_in_three_notations(
    browser: Browser, acme: Namespace, alice: User, bob: User, body: Any
) -> None:
    response = add_members(browser, body)
    assert (response.status_code, response.json()) == (200, namespace_form(acme, alice, (bob, "MEMBER")))


def test_several_members_are_added(browser: Browser, acme: Namespace, bob: User, charlie: User) -> None:
    add_members(browser, [{"username": "CHARLIE", "role": "OWNER"}, {"username": "bob", "role": "READ_ONLY"}])
    assert members_of(acme) == {"alice": "OWNER", "charlie": "OWNER", "bob": "READ_ONLY"}


WRONG_INVITATIONS: list[tuple[Any, str]] = [
    ([BOB, {"username": "nobody", "role": "MEMBER"}], "user_missing"),
    ([BOB, {"username": "acme", "role": "MEMBER"}], "user_missing"),
    ([BOB, {"username": "alice", "role": "MEMBER"}], "already_member"),
    ([BOB, {"username": "Bob", "role": "OWNER"}], "invalid"),
    ([{"username": f"user{number}", "role": "MEMBER"} for number in range(51)], "invalid"),
    ([BOB, {"username": "charlie", "role": "member"}], "malformed"),
    ([BOB, {"username": "charlie", "role": "ADMIN"}], "malformed"),
    ([BOB, {"username": "charlie", "role": None}], "malformed"),
    ([BOB, {"username": "charlie", "role": ["MEMBER"]}], "malformed"),
    ([BOB, {"username": "charlie"}], "malformed"),
    ([BOB, {"role": "MEMBER"}], "malformed"),
    ([BOB, {"username": 7, "role": "MEMBER"}], "malformed"),
    ([BOB, {"username": "", "role": "MEMBER"}], "malformed"),
    ([BOB, "charlie"], "malformed"),
    ([BOB, None], "malformed"),
    ([BOB, [BOB]], "malformed"),
    ([], "malformed"),
    ({"members": []}, "malformed"),
    ({"members": None}, "malformed"),
    ({"members": BOB}, "malformed"),
    ({}, "malformed"),
]


def test_bad_invitations_are_refused(browser: Browser, acme: Namespace, bob: User, charlie: User) -> None:
    answers = [(body, add_members(browser, body)) for body, _ in WRONG_INVITATIONS]
    assert [(body, answer.json()["error"]) for body, answer in answers] == WRONG_INVITATIONS
    assert {answer.status_code for _, answer in answers} == {400}
    assert members_of(acme) == {"alice": "OWNER"}


def test_closed_accounts_cannot_be_added(browser: Browser, acme: Namespace, bob: User, charlie: User) -> None:
    bans.ban(bob, actor=None)
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    for name in ("bob", "charlie"):
        response = add_members(browser, {"username": name, "role": "MEMBER"})
        assert_refused(response, 400, "user_missing", f"There is no open account {name!r}.")


@BOTH
def test_member_gets_another_role(browser: Browser, acme: Namespace, bob: User, prefix: str) -> None:
    add_member(acme, bob, Role.READ_ONLY)
    response = browser.send("PATCH", f"/{prefix}/acme/members/BOB", role="MANAGER")
    assert response.status_code == 200
    assert response.json() == {"username": "bob", "role": "MANAGER", "avatar_uri": ""}
    assert members_of(acme)["bob"] == "MANAGER"


@BOTH
def test_member_is_removed(browser: Browser, acme: Namespace, bob: User, prefix: str) -> None:
    add_member(acme, bob, Role.MEMBER)
    response = browser.delete(f"/{prefix}/acme/members/bob")
    assert (response.status_code, response.json()) == (200, OK)
    assert members_of(acme) == {"alice": "OWNER"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_account_without_role_is_missing(browser: Browser, acme: Namespace, bob: User, method: str) -> None:
    for name in NAMES_WITHOUT_ROLE:
        response = browser.send(method, f"{MEMBERS}/{name}", role="MEMBER")
        assert (response.status_code, response.json()["error"]) == (404, "member_missing")


def test_bad_role_is_refused(browser: Browser, acme: Namespace, bob: User) -> None:
    add_member(acme, bob, Role.MEMBER)
    for role in BAD_ROLES:
        response = browser.send("PATCH", f"{MEMBERS}/bob", role=role)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
    assert members_of(acme)["bob"] == "MEMBER"


@pytest.mark.parametrize("role", [Role.MANAGER, Role.MEMBER, Role.READ_ONLY])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_last_owner_stays(browser: Browser, acme: Namespace, bob: User, role: Role, method: str) -> None:
    add_member(acme, bob, role)
    assert_refused(browser.send(method, f"{MEMBERS}/alice", role="MEMBER"), 400, "last_owner", NO_OWNER_LEFT)
    assert members_of(acme) == {"alice": "OWNER", "bob": role}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_closed_owner_does_not_count(browser: Browser, acme: Namespace, bob: User, charlie: User, method: str) -> None:
    add_member(acme, bob, Role.OWNER)
    add_member(acme, charlie, Role.OWNER)
    bans.ban(bob, actor=None)
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    assert_refused(browser.send(method, f"{MEMBERS}/alice", role="MANAGER"), 400, "last_owner", NO_OWNER_LEFT)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_owner_can_demote_or_remove_banned_owner(browser: Browser, acme: Namespace, bob: User, method: str) -> None:
    add_member(acme, bob, Role.OWNER)
    bans.ban(bob, actor=None)
    assert browser.send(method, f"{MEMBERS}/bob", role="MEMBER").status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_manager_acts_while_only_owner_is_banned(
    acme: Namespace, alice: User, bob: User, charlie: User, method: str
) -> None:
    add_member(acme, bob, Role.MANAGER)
    add_member(acme, charlie, Role.MEMBER)
    bans.ban(alice, actor=None)
    assert Browser(bob).send(method, f"{MEMBERS}/charlie", role="READ_ONLY").status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_owner_leaves_or_steps_down_beside_another(browser: Browser, acme: Namespace, bob: User, method: str) -> None:
    add_member(acme, bob, Role.OWNER)
    assert browser.send(method, f"{MEMBERS}/alice", role="MEMBER").status_code == 200
    assert members_of(acme) == ({"alice": "MEMBER", "bob": "OWNER"} if method == "PATCH" else {"bob": "OWNER"})


def test_member_of_any_role_may_leave(acme: Namespace, bob: User) -> None:
    for role in (Role.MANAGER, Role.MEMBER, Role.READ_ONLY):
        add_member(acme, bob, role)
        assert Browser(bob).delete(f"{MEMBERS}/bob").json() == OK
        assert members_of(acme) == {"alice": "OWNER"}


@pytest.mark.parametrize("theirs", [Role.OWNER, Role.MANAGER])
def test_manager_cannot_change_managers_or_owners(acme: Namespace, bob: User, charlie: User, theirs: Role) -> None:
    add_member(acme, bob, Role.MANAGER)
    add_member(acme, charlie, theirs)
    manager = Browser(bob)
    answers = [
        manager.send("PATCH", f"{MEMBERS}/charlie", role="MEMBER"),
        manager.delete(f"{MEMBERS}/charlie"),
        manager.send("PATCH", f"{MEMBERS}/bob", role=theirs),
    ]
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(403, "denied")] * 3
    assert members_of(acme) == {"alice": "OWNER", "bob": "MANAGER", "charlie": theirs}


@pytest.mark.parametrize("role", [Role.OWNER, Role.MANAGER])
def test_manager_cannot_appoint_managers_or_owners(acme: Namespace, bob: User, charlie: User, role: Role) -> None:
    add_member(acme, bob, Role.MANAGER)
    body = [{"username": "charlie", "role": role}]
    assert add_members(Browser(bob), body).status_code == 403
    add_member(acme, charlie, Role.READ_ONLY)
    assert Browser(bob).send("PATCH", f"{MEMBERS}/charlie", role=role).status_code == 403
    assert members_of(acme)["charlie"] == "READ_ONLY"


def test_new_role_counts_at_once(browser: Browser, acme: Namespace, bob: User, charlie: User) -> None:
    add_member(acme, bob, Role.MANAGER)
    manager = Browser(bob)
    assert add_members(manager, {"username": "charlie", "role": "MEMBER"}).status_code == 200
    browser.send("PATCH", f"{MEMBERS}/bob", role="MEMBER")
    assert manager.delete(f"{MEMBERS}/charlie").status_code == 403


def test_administrators_need_no_membership(acme: Namespace, root: User, bob: User, charlie: User) -> None:
    roles.grant(bob, SiteRole.SYSTEM_ADMIN, actor=None)
    assert add_members(Browser(root), {"username": "charlie", "role": "OWNER"}).status_code == 200
    assert Browser(bob).delete(f"{MEMBERS}/alice").status_code == 200
    assert members_of(acme) == {"charlie": "OWNER"}


# --- Removal of a member takes all rights ----------------------------------------------------------------------------


@pytest.fixture
def member(acme: Namespace, bob: User) -> User:
    """Bob, who created a public and a private package in alice's namespace."""
    add_member(acme, bob, Role.MEMBER)
    add_package(bob, "tool")
    add_package(bob, "secret", "PRIVATE")
    return bob


@pytest.mark.parametrize("actor", ["alice", "bob"])
def test_removed_member_loses_all_rights(browser: Browser, member: User, actor: str) -> None:
    bobs_browser = Browser(member)
    assert (browser if actor == "alice" else bobs_browser).delete(f"{MEMBERS}/bob").status_code == 200
    path, release = "/namespaces/acme/packages", {"version": "2.0.0"}
    assert bobs_browser.send("PUT", f"{path}/tool", **release).status_code == 403
    assert bobs_browser.send("POST", path, package_name="new", field="java", **release).status_code == 403
    assert bobs_browser.get(f"{path}/secret").status_code == 404
    assert bobs_browser.delete(f"{path}/tool").status_code == 403
    assert [package["package_name"] for package in bobs_browser.get(path).json()] == ["tool"]


def test_packages_go_to_owner_of_namespace(browser: Browser, member: User) -> None:
    browser.delete(f"{MEMBERS}/bob")
    assert [collaborators_of(package) for package in Package.objects.all()] == [{"alice": "OWNER"}] * 2


def test_heir_with_lower_role_becomes_owner(browser: Browser, member: User, alice: User) -> None:
    tool = Package.objects.get(name="tool")
    Collaboration.objects.create(package=tool, user=alice, role=Role.READ_ONLY)
    browser.delete(f"{MEMBERS}/bob")
    assert collaborators_of(tool) == {"alice": "OWNER"}


def test_banned_owner_inherits_nothing(acme: Namespace, member: User, alice: User, charlie: User, root: User) -> None:
    add_member(acme, charlie, Role.OWNER)
    bans.ban(alice, actor=None)
    Browser(root).delete(f"{MEMBERS}/bob")
    assert collaborators_of(Package.objects.get(name="tool")) == {"charlie": "OWNER"}


def test_package_with_other_owner_gets_no_heir(browser: Browser, member: User, charlie: User) -> None:
    tool = Package.objects.get(name="tool")
    Collaboration.objects.create(package=tool, user=charlie, role=Role.OWNER)
    browser.delete(f"{MEMBERS}/bob")
    assert collaborators_of(tool) == {"charlie": "OWNER"}


def test_removed_package_is_inherited_too(browser: Browser, member: User) -> None:
    browser.delete("/namespaces/acme/packages/tool")
    browser.delete(f"{MEMBERS}/bob")
    assert collaborators_of(Package.objects.get(name="tool")) == {"alice": "OWNER"}


def test_rights_in_other_namespaces_stay(browser: Browser, member: User, alice: User) -> None:
    other = membership.create_namespace(Principal(alice), "other")
    add_member(other, member, Role.MEMBER)
    package = add_package(member, "elsewhere", namespace="other")
    browser.delete(f"{MEMBERS}/bob")
    assert (members_of(other)["bob"], collaborators_of(package)) == ("MEMBER", {"bob": "OWNER"})


def test_refused_removal_changes_nothing(browser: Browser, acme: Namespace, alice: User) -> None:
    package = add_package(alice, "tool")
    assert browser.delete(f"{MEMBERS}/alice").status_code == 400
    assert (members_of(acme), collaborators_of(package)) == ({"alice": "OWNER"}, {"alice": "OWNER"})


# --- Personal namespaces ---------------------------------------------------------------------------------------------


def register_by_ktra() -> None:
    Client().post("/ktra/api/v1/new_user/dora", {"password": PASSWORD}, content_type="application/json")


def register_by_torrust() -> None:
    fields = {"email": "dora@example.org", "password": PASSWORD, "confirm_password": PASSWORD}
    Browser().send("POST", "/v1/user/register", username="dora", **fields)


def register_by_yapkg() -> None:
    Browser().send("POST", "/register", username="dora", password=PASSWORD, email="dora@example.org")


def register_by_admin_form() -> None:
    sign_in_to_admin(registration.register("root", PASSWORD, admin=True)).post(
        "/admin/accounts/user/add/", new_user_form()
    )


def register_by_createuser() -> None:
    call_command("createuser", "dora", password=PASSWORD, verbosity=0)


def register_by_createsuperuser() -> None:
    call_command("createsuperuser", "--no-input", username="dora", verbosity=0)


def register_by_create_superuser() -> None:
    User.objects.create_superuser("dora", "dora@example.org", PASSWORD)


REGISTRATIONS = [
    register_by_ktra,
    register_by_torrust,
    register_by_yapkg,
    register_by_admin_form,
    register_by_createuser,
    register_by_createsuperuser,
    register_by_create_superuser,
]


def assert_has_personal_namespace(name: str) -> None:
    namespace = Namespace.objects.get(name=name)
    assert (str(namespace.user), members_of(namespace)) == (name, {name: "OWNER"})
    response = Client().get(f"/namespaces/{name}/packages")
    assert (response.status_code, response.json()) == (200, [])
    assert Client().get(f"/namespace/{name}").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("register", REGISTRATIONS)
def test_registration_creates_personal_namespace(register: Callable[[], None]) -> None:
    register()
    assert_has_personal_namespace("dora")


@pytest.mark.django_db
def test_imported_accounts_have_personal_namespaces(tmp_path: Path) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text(f"{import_line('dora')}\n{import_line('erin', is_active=False)}\n")
    call_command("importusers", str(file), verbosity=0)
    assert_has_personal_namespace("dora")
    assert_has_personal_namespace("erin")


def test_staff_and_commands_cannot_register_the_name(acme: Namespace, root: User, tmp_path: Path) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text(import_line("Acme"))
    for command in (("importusers", str(file)), ("createuser", "ACME")):
        with pytest.raises(Exception, match=r"(taken|already exists)"):
            call_command(*command)
    page = sign_in_to_admin(root).post("/admin/accounts/user/add/", new_user_form(username="acme"))
    assert "is taken by a namespace or a user." in page.content.decode()
    assert sorted(user.username for user in User.objects.all()) == ["alice", "root"]


@BOTH
def test_personal_namespace_is_missing_on_all_routes(browser: Browser, bob: User, root: User, prefix: str) -> None:
    for client in (browser, Browser(root)):
        answers = [
            client.get(f"/{prefix}/alice"),
            client.delete(f"/{prefix}/alice"),
            client.send("POST", f"/{prefix}/alice/members", **BOB),
            client.send("PATCH", f"/{prefix}/alice/members/alice", role="MEMBER"),
            client.delete(f"/{prefix}/alice/members/alice"),
        ]
        assert [(answer.status_code, answer.json()) for answer in answers] == [(404, MISSING)] * 5


def test_renamed_user_renames_personal_namespace(browser: Browser, alice: User) -> None:
    assert browser.change(username="Alicia").status_code == 200
    assert_has_personal_namespace("Alicia")
    assert Client().get("/namespaces/alicia/packages").status_code == 200
    assert Client().get("/namespaces/alice/packages").status_code == 404
    release = {"package_name": "tool", "version": "1.0.0", "field": "java"}
    assert browser.send("POST", "/namespaces/alicia/packages", **release).json()["namespace"] == "Alicia"


def test_personal_namespace_follows_every_rename(browser: Browser) -> None:
    for name in ("alicia", "alice", "ALICE"):
        assert browser.change(username=name).status_code == 200
    assert_has_personal_namespace("ALICE")


def test_user_with_packages_cannot_be_renamed(browser: Browser, alice: User) -> None:
    add_package(alice, "tool", namespace="alice")
    message = "The name 'alice' cannot change while there are packages under it."
    for name in ("alicia", "ALICE"):
        assert_refused(browser.change(username=name), 400, "name_in_use", message)
    assert browser.get("/users/alice").json()["username"] == "alice"
    assert browser.get("/namespaces/alice/packages/tool").json()["namespace"] == "alice"
    assert not NameReservation.objects.filter(name="alicia").exists()


def test_user_can_be_renamed_after_purge(browser: Browser, alice: User) -> None:
    add_package(alice, "tool", namespace="alice")
    browser.delete("/namespaces/alice/packages/tool")
    with override_settings(TRASH_DAYS=0):
        call_command("purge", verbosity=0)
    assert browser.change(username="alicia").status_code == 200


def test_memberships_follow_a_renamed_user(browser: Browser, acme: Namespace, bob: User) -> None:
    add_member(acme, bob, Role.MEMBER)
    Browser(bob).change(username="robert")
    assert members_of(acme) == {"alice": "OWNER", "robert": "MEMBER"}
    assert browser.delete(f"{MEMBERS}/bob").status_code == 404
    assert browser.delete(f"{MEMBERS}/robert").status_code == 200


MIGRATION = ("namespaces", "0002_personal")


def run_migration() -> None:
    """Run the migration's function on the models of its time."""
    module = importlib.import_module(".".join((MIGRATION[0], "migrations", MIGRATION[1])))
    module.open_namespaces(models_at(MIGRATION), None)


def test_migration_creates_missing_personal_namespaces(acme: Namespace, bob: User, charlie: User) -> None:
    Namespace.objects.filter(user__in=(bob, charlie)).delete()
    run_migration()
    for name in ("alice", "bob", "charlie"):
        assert_has_personal_namespace(name)
    assert Namespace.objects.count() == 4


@pytest.mark.django_db
def test_migration_handles_many_users_and_repeats() -> None:
    reservations = [NameReservation(name=f"user-{n}", skeleton=f"user-{n}") for n in range(2500)]
    NameReservation.objects.bulk_create(reservations)
    User.objects.bulk_create(User(username=row.name, reservation=row) for row in reservations)
    run_migration()
    run_migration()
    assert Namespace.objects.filter(user__reservation__namespace__isnull=False).count() == 2500
    assert Membership.objects.filter(role="OWNER").count() == 2500


# --- The trash, and the admin site -----------------------------------------------------------------------------------

ADMIN = "/admin/namespaces/namespace/"


def test_restored_namespace_has_members_and_packages(
    as_root: Client, browser: Browser, acme: Namespace, alice: User, bob: User
) -> None:
    add_member(acme, bob, Role.MEMBER)
    add_package(alice, "tool")
    browser.delete(NS)
    assert "1 restored" in run_action(as_root, ADMIN, "restore", acme)
    assert browser.get(NS).json() == namespace_form(acme, alice, (bob, "MEMBER"))
    assert [package["package_name"] for package in browser.get("/packages?query=tool").json()] == ["tool"]


def test_staff_remove_a_namespace_once(as_root: Client, acme: Namespace) -> None:
    assert "1 removed" in run_action(as_root, ADMIN, "remove", acme)
    assert "0 removed" in run_action(as_root, ADMIN, "remove", acme)
    assert Client().get(NS).status_code == 404


def test_package_restored_before_its_namespace(as_root: Client, browser: Browser, acme: Namespace, alice: User) -> None:
    tool = add_package(alice, "tool")
    browser.delete("/namespaces/acme/packages/tool")
    browser.delete(NS)
    run_action(as_root, "/admin/packages/package/", "restore", tool)
    assert browser.get("/packages?query=acme").json() == []
    run_action(as_root, ADMIN, "restore", acme)
    assert [package["package_name"] for package in browser.get("/packages?query=acme").json()] == ["tool"]


def test_staff_cannot_remove_personal_namespace(as_root: Client, alice: User) -> None:
    page = run_action(as_root, ADMIN, "remove", Namespace.objects.get(user=alice))
    assert "A personal namespace cannot be removed." in page
    assert_has_personal_namespace("alice")


def test_personal_namespace_takes_no_members(alice: User, root: User) -> None:
    with pytest.raises(RegistryError, match="belongs to its user alone"):
        membership.set_members_by_staff(Namespace.objects.get(user=alice), [], [], actor=root)


def test_one_refusal_stops_no_other_removal(as_root: Client, acme: Namespace, alice: User) -> None:
    page = run_action(as_root, ADMIN, "remove", acme, Namespace.objects.get(user=alice))
    assert "1 removed, 1 refused." in page
    assert Client().get(NS).status_code == 404


def set_removal_age(namespace: Namespace, days: float) -> None:
    Namespace.objects.filter(pk=namespace.pk).update(removed_at=timezone.now() - timedelta(days=days))


def test_name_stays_reserved_until_purge(browser: Browser, acme: Namespace) -> None:
    for days in (0, 13.9):
        set_removal_age(acme, days)
        call_command("purge", verbosity=0)
        assert create_namespace(browser, "ACME").json()["error"] == "name_taken"
        assert browser.change(username="acme").json()["error"] == "name_taken"
        with pytest.raises(RegistryError):
            registration.sign_up("acme", PASSWORD)


def test_purge_deletes_packages_and_frees_name(browser: Browser, acme: Namespace, alice: User) -> None:
    add_package(alice, "tool")
    set_removal_age(acme, 14.1)
    call_command("purge", verbosity=0)
    assert not Package.objects.exists()
    assert create_namespace(browser, "acme").status_code == 200
    assert browser.get("/namespaces/acme/packages").json() == []


def test_user_can_register_a_purged_name(acme: Namespace, alice: User) -> None:
    set_removal_age(acme, 15)
    call_command("purge", verbosity=0)
    registration.sign_up("acme", PASSWORD, "acme@example.org")
    assert_has_personal_namespace("acme")


def test_purge_keeps_namespaces_in_use(acme: Namespace, alice: User) -> None:
    add_package(alice, "tool")
    with override_settings(TRASH_DAYS=0):
        call_command("purge", verbosity=0)
    assert (Client().get(NS).status_code, Package.objects.count(), Namespace.objects.count()) == (200, 1, 2)


def test_restored_namespace_is_not_purged(acme: Namespace, as_root: Client) -> None:
    set_removal_age(acme, 15)
    run_action(as_root, ADMIN, "restore", acme)
    call_command("purge", verbosity=0)
    assert Client().get(NS).status_code == 200


def submit_members(client: Client, namespace: Namespace, *rows: dict[str, Any]) -> str:
    """Send the form of a namespace and return the page that follows. A row without an id is a new member."""
    initial = sum("id" in row for row in rows)
    form: dict[str, Any] = {"memberships-TOTAL_FORMS": len(rows), "memberships-INITIAL_FORMS": initial}
    for number, row in enumerate(rows):
        form |= {f"memberships-{number}-{key}": value for key, value in {"namespace": namespace.pk, **row}.items()}
    response = client.post(f"{ADMIN}{namespace.pk}/change/", form, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def form_row(namespace: Namespace, user: User, **changes: Any) -> dict[str, Any]:
    """Return the row of a member in the form."""
    member = Membership.objects.get(namespace=namespace, user=user)
    return {"id": member.pk, "user": user.username, "role": member.role, **changes}


def test_staff_add_change_and_remove_members(
    as_root: Client, acme: Namespace, alice: User, bob: User, charlie: User
) -> None:
    add_member(acme, bob, Role.MEMBER)
    rows = (
        form_row(acme, alice, role="MANAGER"),
        form_row(acme, bob, DELETE="on"),
        {"user": "charlie", "role": "OWNER"},
    )
    submit_members(as_root, acme, *rows)
    assert members_of(acme) == {"alice": "MANAGER", "charlie": "OWNER"}


@pytest.mark.parametrize("changes", [{"role": "MEMBER"}, {"DELETE": "on"}])
def test_staff_cannot_remove_the_last_owner(
    as_root: Client, acme: Namespace, alice: User, bob: User, changes: dict[str, str]
) -> None:
    page = submit_members(as_root, acme, form_row(acme, alice, **changes), {"user": "bob", "role": "MANAGER"})
    assert NO_OWNER_LEFT[1:] in page
    assert members_of(acme) == {"alice": "OWNER"}


def test_staff_transfer_a_namespace(as_root: Client, acme: Namespace, alice: User, bob: User) -> None:
    assert "1 transferred." in run_action(as_root, ADMIN, "transfer", acme, user="bob")
    assert members_of(acme) == {"alice": "MANAGER", "bob": "OWNER"}
    assert "0 transferred, 1 unchanged." in run_action(as_root, ADMIN, "transfer", acme, user="bob")
    run_action(as_root, ADMIN, "transfer", acme, user="alice")
    assert members_of(acme) == {"alice": "OWNER", "bob": "MANAGER"}
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert "would be left without an owner" in run_action(as_root, ADMIN, "transfer", acme, user="bob")
    personal = Namespace.objects.get(user=alice)
    assert "belongs to its user alone" in run_action(as_root, ADMIN, "transfer", personal, user="bob")


def test_transfer_of_a_namespace_is_undone(as_root: Client, acme: Namespace, alice: User, bob: User) -> None:
    run_action(as_root, ADMIN, "transfer", acme, user="bob")
    assert "1 with the former roles." in undo_run(as_root)
    assert members_of(acme) == {"alice": "OWNER"}
    run_action(as_root, ADMIN, "give_role", acme, user="bob", role="MEMBER")
    run_action(as_root, "/admin/namespaces/membership/", "change_role", acme.memberships.get(user=bob), role="OWNER")
    undo_run(as_root)
    assert members_of(acme) == {"alice": "OWNER", "bob": "MEMBER"}


@pytest.mark.parametrize(("action", "role"), [("transfer", {}), ("give_role", {"role": "MEMBER"})])
def test_undoing_leaves_older_roles_in_packages(
    as_root: Client, acme: Namespace, alice: User, bob: User, action: str, role: dict[str, str]
) -> None:
    tool, secret = add_package(alice, "tool"), add_package(alice, "secret", "PRIVATE")
    Collaboration.objects.filter(package=tool).update(user=bob)
    Collaboration.objects.create(package=secret, user=bob, role=Role.READ_ONLY)
    run_action(as_root, ADMIN, action, acme, user="bob", **role)
    assert "1 with the former roles." in undo_run(as_root)
    assert members_of(acme) == {"alice": "OWNER"}
    assert collaborators_of(tool) == {"bob": "OWNER"}
    assert collaborators_of(secret) == {"alice": "OWNER", "bob": "READ_ONLY"}
    assert AuditEvent.objects.latest("pk").action == "namespace.remove_member"


def test_roles_that_changed_since_stay(as_root: Client, acme: Namespace, alice: User, bob: User) -> None:
    run_action(as_root, ADMIN, "transfer", acme, user="bob")
    run = StaffRun.objects.get()
    run_action(as_root, ADMIN, "give_role", acme, user="alice", role="READ_ONLY")
    assert "The role of alice in acme has changed since." in undo_run(as_root, run)
    assert members_of(acme) == {"alice": "READ_ONLY", "bob": "OWNER"}


def test_staff_remove_a_member_with_all_rights(as_root: Client, acme: Namespace, member: User, alice: User) -> None:
    submit_members(as_root, acme, form_row(acme, alice), form_row(acme, member, DELETE="on"))
    assert [collaborators_of(package) for package in Package.objects.all()] == [{"alice": "OWNER"}] * 2


def test_staff_cannot_exchange_the_user_of_a_row(
    as_root: Client, acme: Namespace, member: User, alice: User, charlie: User
) -> None:
    submit_members(as_root, acme, form_row(acme, alice), {**form_row(acme, member), "user": "charlie"})
    assert Collaboration.objects.filter(user=member).exists() == ("bob" in members_of(acme))


def test_staff_cannot_add_a_member_twice(as_root: Client, acme: Namespace, alice: User, bob: User) -> None:
    for rows in ([{"user": "bob", "role": "MEMBER"}] * 2, [{"user": "alice", "role": "MEMBER"}]):
        page = submit_members(as_root, acme, form_row(acme, alice), *rows)
        assert "errorlist" in page or "errornote" in page
    assert members_of(acme) == {"alice": "OWNER"}


def test_staff_search_and_open_namespaces(as_root: Client, acme: Namespace) -> None:
    listed = as_root.get(f"{ADMIN}?q=acm").content.decode()
    assert f'"{ADMIN}{acme.pk}/?' in listed
    assert "alice" in as_root.get(f"{ADMIN}{acme.pk}/change/").content.decode()


def test_staff_cannot_delete_namespaces(as_root: Client, acme: Namespace) -> None:
    assert as_root.post(f"{ADMIN}{acme.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in as_root.get(ADMIN).content.decode()


# --- Audit log -------------------------------------------------------------------------------------------------------


def audit_trail() -> list[tuple[str, str, str, Any]]:
    """Return actor, action, target and detail of all audit events of namespaces, the oldest first."""
    rows = AuditEvent.objects.filter(action__startswith="namespace.").order_by("pk")
    return [(row.actor_name, row.action, row.target, row.detail) for row in rows]


def test_audit_log_records_each_change(browser: Browser, bob: User, root: User) -> None:
    create_namespace(browser, "acme")
    add_members(browser, [BOB])
    browser.send("PATCH", f"{MEMBERS}/bob", role="MANAGER")
    Browser(bob).delete(f"{MEMBERS}/bob")
    browser.delete(NS)
    run_action(sign_in_to_admin(root), ADMIN, "restore", Namespace.objects.get(name="acme"))
    assert audit_trail() == [
        ("alice", "namespace.create", "acme", {}),
        ("alice", "namespace.add_members", "acme", {"members": {"bob": "MEMBER"}}),
        ("alice", "namespace.change_role", "acme", {"member": "bob", "role": "MANAGER"}),
        ("bob", "namespace.remove_member", "acme", {"member": "bob"}),
        ("alice", "namespace.remove", "acme", {}),
        ("root", "namespace.restore", "acme", {}),
    ]


def test_audit_log_records_changes_by_staff(as_root: Client, acme: Namespace, alice: User, member: User) -> None:
    submit_members(as_root, acme, form_row(acme, alice), form_row(acme, member, DELETE="on"))
    assert audit_trail()[1:] == [("root", "namespace.remove_member", "acme", {"member": "bob"})]


def test_audit_log_leaves_out_refusals(browser: Browser, acme: Namespace, bob: User) -> None:
    create_namespace(browser, "acme")
    add_members(browser, [{"username": "nobody", "role": "MEMBER"}])
    browser.delete(f"{MEMBERS}/alice")
    Browser(bob).delete(NS)
    assert [action for _, action, _, _ in audit_trail()] == ["namespace.create"]


# --- All routes ------------------------------------------------------------------------------------------------------

WRITES = [
    ("POST", "/namespace"),
    ("DELETE", NS),
    ("POST", MEMBERS),
    ("PATCH", f"{MEMBERS}/alice"),
    ("DELETE", f"{MEMBERS}/alice"),
]
BODY_ROUTES = [row for row in WRITES if row[0] != "DELETE"]


def test_anonymous_cannot_change_namespaces(acme: Namespace) -> None:
    for method, path in WRITES:
        for name in ("acme", "none", "alice"):
            response = Browser().generic(method, path.replace("acme", name), b"{}", "application/json")
            assert (response.status_code, response.json()) == (401, ANONYMOUS)


def test_other_sites_cannot_use_the_cookie(alice: User, acme: Namespace) -> None:
    forged = Client(enforce_csrf_checks=True, raise_request_exception=False, headers={"Origin": "http://evil.example"})
    forged.force_login(alice)
    for method, path in WRITES:
        response = forged.generic(method, path, b"{}", "application/json")
        assert (response.status_code, set(response.json())) == (403, {"error", "message"})


def test_bad_bodies_are_refused(browser: Browser, acme: Namespace) -> None:
    for method, path in BODY_ROUTES:
        for body, message in BAD_BODIES:
            response = browser.generic(method, path, body, "application/json")
            assert (response.status_code, set(response.json())) == (400, {"error", "message"})
            assert path == MEMBERS or response.json()["message"] == message


def test_unreadable_bodies_are_refused(browser: Browser, acme: Namespace) -> None:
    for method, path in BODY_ROUTES:
        huge = browser.generic(method, path, b"[" + b" " * 1024 * 1024, "application/json")
        form = browser.generic(method, path, b"a=b", "application/x-www-form-urlencoded")
        parts = browser.generic(method, path, b"--x--", "multipart/form-data; boundary=x")
        chunked = browser.generic(method, path, b"{}", CONTENT_LENGTH="", headers={"Transfer-Encoding": "chunked"})
        assert [answer.status_code for answer in (huge, form, parts, chunked)] == [413, 415, 415, 411]


METHODS = {"": {"POST"}, "/acme": {"GET", "HEAD", "DELETE"}, "/acme/members": {"POST"}}
METHODS["/acme/members/alice"] = {"PATCH", "DELETE"}


@BOTH
def test_other_methods_are_refused(browser: Browser, acme: Namespace, prefix: str) -> None:
    for path, methods in METHODS.items():
        for method in ALL_METHODS - methods:
            response = browser.generic(method, f"/{prefix}{path}", b"{}", "application/json")
            assert_refused(response, 405, "method_not_allowed", f'Method "{method}" not allowed.')
            assert {word.strip() for word in response["Allow"].split(",")} - {"OPTIONS"} == methods


@BOTH
def test_unknown_paths_have_yapkg_refusals(browser: Browser, acme: Namespace, prefix: str) -> None:
    for path in ("/", "/acme/", "/acme/members/", "/acme/members/alice/", "/acme/owner", "/a%2fb", "//", "/acme%2f"):
        response = browser.get(f"/{prefix}{path}")
        assert (response.status_code, response.json()) == (404, NO_PATH)


def test_shared_caches_do_not_store_answers(alice: User, acme: Namespace) -> None:
    for browser in (Browser(alice), Browser()):
        for path in (NS, "/namespace/none"):
            response = browser.get(path)
            assert {"Cookie", "Token", "X-Auth-Token"} <= {word.strip() for word in response["Vary"].split(",")}
            assert "private" in response["Cache-Control"]


def test_collaborator_has_no_rights_in_namespace(acme: Namespace, alice: User, charlie: User) -> None:
    add_package(alice, "tool")
    collaboration.add_collaborators(Principal(alice), "acme", "tool", [NewRole("charlie", Role.OWNER)])
    stranger = Browser(charlie)
    assert (stranger.delete(NS).status_code, add_members(stranger, BOB).status_code) == (403, 403)
    assert "charlie" not in {row["username"] for row in stranger.get(NS).json()["member"]}


def test_namespaces_of_one_account_are_limited(browser: Browser, bob: User, settings: Any) -> None:
    settings.NAMESPACES_PER_DAY = 2
    names = ("one", "two", "three")
    responses = [browser.send("POST", "/namespace", namespace=name) for name in names]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[2].json()["error"] == "too_many"
    assert 86_000 < int(responses[2]["Retry-After"]) <= 86_401
    assert browser.delete("/namespace/one").status_code == 200  # a removed one counts, too
    assert browser.send("POST", "/namespace", namespace="three").status_code == 429
    assert Browser(bob).send("POST", "/namespace", namespace="three").status_code == 200
    settings.NAMESPACES_PER_DAY = 0
    assert browser.send("POST", "/namespace", namespace="four").status_code == 200


# --- Concurrency, on a running server --------------------------------------------------------------------------------

RACERS = 25
SERVER_SETTINGS = {"REGISTRY_THREADS": "128"}  # enough for all racers to hash at the same time


def test_users_and_namespaces_race_for_a_name(server: Server) -> None:
    browser = LiveBrowser(server, "opener")
    names = ("dora", "DORA", "Dora")
    users = [partial(post_to_ktra, server, "new_user", name, password=PASSWORD) for name in names]
    namespaces = [partial(browser.send, "POST", "/namespace", namespace=name) for name in names]
    racers = [(users if number < RACERS else namespaces)[number % 3] for number in range(2 * RACERS)]
    answers = run_concurrently(racers)
    statuses = count_statuses(answers[:RACERS]), count_statuses(answers[RACERS:])
    user_wins = {200: 1, 409: RACERS - 1}, {400: RACERS}
    namespace_wins = {409: RACERS}, {200: 1, 400: RACERS - 1}
    assert statuses in (user_wins, namespace_wins)
    assert (browser.send("GET", "/namespace/dora").status == 200) == (statuses == namespace_wins)
    assert browser.send("GET", "/namespaces/dora/packages").status == 200


def test_renamed_users_and_namespaces_race_for_a_name(server: Server) -> None:
    browsers = [LiveBrowser(server, f"renamed-{number}") for number in range(5)]
    renames = [partial(browser.send, "PATCH", "/settings/profile", username="erin") for browser in browsers]
    creations = [partial(browser.send, "POST", "/namespace", namespace="erin") for browser in browsers]
    answers = run_concurrently([*renames, *creations])
    assert count_statuses(answers) == {200: 1, 400: 9}
    assert {answer.body["error"] for answer in answers if answer.status == 400} == {"name_taken"}


def test_concurrent_namespaces_are_all_created(server: Server) -> None:
    browser = LiveBrowser(server, "founder")
    names = [f"ns-{number}" for number in range(RACERS)]
    answers = run_concurrently([partial(browser.send, "POST", "/namespace", namespace=name) for name in names])
    assert count_statuses(answers) == {200: RACERS}
    assert {browser.send("GET", f"/namespace/{name}").status for name in names} == {200}


def test_two_owners_cannot_both_leave(server: Server) -> None:
    first, second = LiveBrowser(server, "first"), LiveBrowser(server, "second")
    first.send("POST", "/namespace", namespace="pair")
    first.send("POST", "/namespace/pair/members", username="second", role="OWNER")
    leave = [
        partial(first.send, "DELETE", "/namespace/pair/members/first"),
        partial(second.send, "DELETE", "/namespace/pair/members/second"),
    ]
    assert count_statuses(run_concurrently(leave)) == {200: 1, 400: 1}
    (member,) = first.send("GET", "/namespace/pair").body["member"]
    assert member["role"] == "OWNER"


def invite_second(first: LiveBrowser, second: LiveBrowser, name: str) -> dict[str, str]:
    """Create a namespace and invite the second account; return the fields of its acceptance."""
    first.send("POST", "/namespace", namespace=name)
    first.submit("/account/name", f"/namespaces/{name}/invitations", username=second.name, role="MEMBER")
    _, page = second.get_page("/account/invitations")
    [key] = re.findall(r'name="invitation" value="(\d+)"', page)
    return {"kind": "namespace", "invitation": key, "role": "MEMBER", "answer": "accept"}


def test_invitation_is_accepted_once(server: Server) -> None:
    first, second = LiveBrowser(server, "inviter"), LiveBrowser(server, "invited")
    fields = invite_second(first, second, "invitations")
    accept = partial(second.submit, "/account/name", "/account/invitations", **fields)
    answers = run_concurrently([accept] * RACERS)
    assert sorted(answers) == ["/account/invitations"] * (RACERS - 1) + ["/namespaces/invitations"]
    members = first.send("GET", "/namespace/invitations").body["member"]
    assert [member["username"] for member in members] == ["inviter", "invited"]


def test_acceptance_and_withdrawal_exclude_each_other(server: Server) -> None:
    first, second = LiveBrowser(server, "withdrawer"), LiveBrowser(server, "accepter")
    for number in range(5):
        name = f"withdrawn-{number}"
        fields = invite_second(first, second, name)
        accept = partial(second.submit, "/account/name", "/account/invitations", **fields)
        key, path = fields["invitation"], f"/namespaces/{name}/invitations"
        withdraw = partial(first.submit, "/account/name", path, withdraw=key)
        accepted, _ = run_concurrently([accept, withdraw])
        members = [member["username"] for member in first.send("GET", f"/namespace/{name}").body["member"]]
        assert ("accepter" in members) == (accepted == f"/namespaces/{name}")
        _, page = first.get_page(f"/namespaces/{name}/members")
        assert 'name="withdraw"' not in page


# --- Addresses of members ----------------------------------------------------------------------------------------


def seen_address(viewer: User, name: str) -> Any:
    return Browser(viewer).get(f"/users/{name}").json()["email"]


def test_co_members_see_addresses_of_who_works_there(alice: User, bob: User, charlie: User) -> None:
    for user in (alice, bob):
        User.objects.filter(pk=user.pk).update(email=f"{user}@example.org")
    membership.create_namespace(Principal(alice), "acme")
    membership.add_members(Principal(alice), "acme", [NewRole("bob", Role.MANAGER)])
    # Anybody can add anybody: that alone shows nobody's address.
    seen = [seen_address(bob, "alice"), seen_address(alice, "bob"), seen_address(charlie, "alice")]
    assert seen == ["alice@example.org", None, None]
    membership.add_members(Principal(bob), "acme", [NewRole("charlie", Role.MEMBER)])
    assert [seen_address(user, "bob") for user in (alice, charlie)] == ["bob@example.org"] * 2
    membership.remove_namespace(Principal(alice), "acme")
    assert seen_address(bob, "alice") is None
