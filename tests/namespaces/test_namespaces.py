"""Namespaces and their members: yapkg's endpoints, everybody's own namespace, the trash, and the admin site."""

import importlib
import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client, override_settings
from django.utils import timezone

from accounts import bans, names, profiles, registration, roles
from accounts.models import NameReservation, User
from accounts.models import Role as SiteRole
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Membership, Namespace, Role
from namespaces.role_assignments import Invitation
from packages import collaboration, release_input, releasing
from packages.models import Collaboration, Package
from registry_site.errors import RegistryError
from registry_site.models import AuditEvent
from tests.support.admin import new_user_form, run_action, sign_in_to_admin
from tests.support.browser import ALL_METHODS, ANONYMOUS, BAD_BODIES, NO_PATH, OK, Browser
from tests.support.cast import PASSWORD
from tests.support.concurrency import Response, count_statuses, post_to_ktra, run_concurrently
from tests.support.servers import Server
from tests.support.user_import import import_line

NS = "/namespace/acme"
PEOPLE = f"{NS}/members"
BOTH = pytest.mark.parametrize("prefix", ["namespace", "namespaces"])
BOB = {"username": "bob", "role": "MEMBER"}
LAST = "acme would be left without an owner; make somebody else one first."
MISSING = {"error": "namespace_missing", "message": "There is no such namespace."}


@pytest.fixture
def acme(alice: User) -> Namespace:
    """Alice's, who is alone in it."""
    return membership.create_namespace(Principal(alice), "acme")


def join(namespace: Namespace, user: User, role: Role) -> None:
    Membership.objects.create(namespace=namespace, user=user, role=role)


def add_package(owner: User, name: str, kind: str = "PUBLIC", namespace: str = "acme") -> Package:
    draft = release_input.ReleaseInput(version="1.0.0", type=kind)
    return releasing.create_package(Principal(owner), namespace, name, "java", draft).package


def shown(namespace: Namespace, owner: User, *members: tuple[User, str]) -> dict[str, Any]:
    """As the document has it."""
    return {
        "namespace_id": str(namespace.pk),
        "namespace": namespace.name,
        "owner": owner.username,
        "member": [
            {"username": user.username, "role": role, "avatar_uri": user.avatar_uri}
            for user, role in ((owner, "OWNER"), *members)
        ],
    }


def roles_in(namespace: Namespace) -> dict[str, str]:
    return {row.user.username: row.role for row in namespace.memberships.select_related("user")}


def roles_at(package: Package) -> dict[str, str]:
    return {row.user.username: row.role for row in package.collaborations.select_related("user")}


def open_namespace(browser: Browser, name: Any, prefix: str = "namespace") -> Any:
    return browser.send("POST", f"/{prefix}", namespace=name)


def invite(browser: Browser, body: Any) -> Any:
    return browser.post(PEOPLE, body, content_type="application/json")


def assert_refused(response: Any, status: int, code: str, message: str) -> None:
    assert (response.status_code, response.json()) == (status, {"error": code, "message": message})


# --- POST /namespace -------------------------------------------------------------------------------------------------


@BOTH
def test_opened_namespace_is_shown_with_its_owner(browser: Browser, alice: User, prefix: str) -> None:
    response = open_namespace(browser, "acme", prefix)
    assert (response.status_code, response.json()) == (200, shown(Namespace.objects.get(name="acme"), alice))


@pytest.mark.parametrize("name", ["a", "7", "a.b-c_d", "ACME", "a..b", "x" * 63])
def test_name_is_allowed(browser: Browser, name: str) -> None:
    assert open_namespace(browser, name).json()["namespace"] == name


def test_name_that_is_not_allowed_is_refused_with_its_reason(browser: Browser) -> None:
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
        assert_refused(open_namespace(browser, name), 400, "name_invalid", message)


@pytest.mark.parametrize("name", ["admin", "Api", "namespaces", "PACKAGES", "settings", "root"])
def test_reserved_name_is_refused(browser: Browser, name: str) -> None:
    assert names.is_reserved(name)
    message = f"The namespace {name!r} is reserved; choose another."
    assert_refused(open_namespace(browser, name), 400, "name_invalid", message)


@pytest.mark.parametrize("name", ["acme", "ACME", "bob", "Bob", "alice"])
def test_name_of_a_namespace_or_a_user_is_taken_in_any_case(
    browser: Browser, acme: Namespace, bob: User, name: str
) -> None:
    message = f"The name {name!r} is taken by a namespace or a user."
    assert_refused(open_namespace(browser, name), 400, "name_taken", message)


@pytest.mark.parametrize("name", ["acme", "ACME", "Acme"])
def test_name_of_a_namespace_is_taken_for_users(acme: Namespace, name: str) -> None:
    address = {"email": "a@example.org"}
    ktra = Client().post(f"/ktra/api/v1/new_user/{name}", {"password": PASSWORD}, content_type="application/json")
    yapkg = Browser().send("POST", "/register", username=name, password=PASSWORD, **address)
    passwords = {"password": PASSWORD, "confirm_password": PASSWORD}
    torrust = Browser().send("POST", "/v1/user/register", username=name, **passwords, **address)
    assert [ktra.status_code, yapkg.status_code, torrust.status_code] == [409, 400, 400]
    assert [user.username for user in User.objects.all()] == ["alice"]


def test_former_name_of_a_user_is_taken(browser: Browser, bob: User) -> None:
    profiles.update_profile(Principal(bob), None, profiles.ProfileChanges(username="robert"))
    for asker in (browser, Browser(bob)):
        assert open_namespace(asker, "Bob").json()["error"] == "name_taken"


def test_name_of_a_namespace_is_taken_for_who_wants_to_be_called_so(acme: Namespace, bob: User) -> None:
    response = Browser(bob).change(username="ACME")
    assert_refused(response, 400, "name_taken", "The name 'ACME' is taken.")
    assert NameReservation.objects.get(name="acme").former_user is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "This field may not be null."),
        ("", "This field may not be blank."),
        (7, "Not a valid string."),
        (True, "Not a valid string."),
        (["acme"], "Not a valid string."),
        ({"a": "b"}, "Not a valid string."),
        ("x" * 256, "Ensure this field has no more than 255 characters."),
    ],
    ids=["null", "blank", "number", "true", "list", "object", "long"],
)
def test_name_is_a_text(browser: Browser, value: Any, reason: str) -> None:
    assert_refused(open_namespace(browser, value), 400, "malformed", f"namespace: {reason}")


def test_name_is_needed(browser: Browser) -> None:
    assert_refused(browser.send("POST", "/namespace"), 400, "malformed", "namespace: This field is required.")


# --- GET /namespace/{namespace} --------------------------------------------------------------------------------------


@BOTH
def test_namespace_is_shown_to_anybody(acme: Namespace, alice: User, bob: User, charlie: User, prefix: str) -> None:
    User.objects.filter(pk=bob.pk).update(avatar_uri="https://example.org/bob.png")
    bob.refresh_from_db()
    join(acme, charlie, Role.READ_ONLY)
    join(acme, bob, Role.MANAGER)
    response = Browser().get(f"/{prefix}/acme")
    assert response.status_code == 200
    assert response.json() == shown(acme, alice, (charlie, "READ_ONLY"), (bob, "MANAGER"))


@pytest.mark.parametrize("name", ["ACME", "Acme", "%61cme"])
def test_namespace_is_found_in_any_case(acme: Namespace, alice: User, name: str) -> None:
    assert Browser().get(f"/namespace/{name}").json() == shown(acme, alice)


def test_owner_stands_first_after_the_namespace_changed_hands(
    browser: Browser, acme: Namespace, alice: User, bob: User
) -> None:
    invite(browser, {"username": "bob", "role": "OWNER"})
    browser.send("PATCH", f"{PEOPLE}/alice", role="MEMBER")
    assert Browser().get(NS).json() == shown(acme, bob, (alice, "MEMBER"))


@BOTH
def test_unknown_namespace_is_missing(browser: Browser, acme: Namespace, prefix: str) -> None:
    for name in ("none", "%2e%2e", "..", "%ff", "%25", "%20acme", "acme%0a", "a" * 5000, "%E4%B8%AD", "'"):
        for method in ("GET", "DELETE"):
            response = browser.generic(method, f"/{prefix}/{name}")
            assert (response.status_code, response.json()) == (404, MISSING)


# --- DELETE /namespace/{namespace} -----------------------------------------------------------------------------------


@BOTH
def test_deleted_namespace_is_gone_with_its_packages(
    browser: Browser, acme: Namespace, alice: User, prefix: str
) -> None:
    add_package(alice, "tool")
    response = browser.delete(f"/{prefix}/acme")
    assert (response.status_code, response.json()) == (200, OK)
    gone = (
        NS,
        "/namespaces/acme/packages",
        "/namespaces/acme/packages/tool",
        "/namespaces/acme/packages/tool/versions",
    )
    assert [browser.get(path).status_code for path in gone] == [404] * 4
    assert browser.get("/packages?query=").json() == browser.get("/packages?query=tool").json() == []


def test_nothing_is_done_in_a_deleted_namespace(browser: Browser, acme: Namespace, bob: User) -> None:
    browser.delete(NS)
    package = {"package_name": "tool", "version": "1.0.0", "field": "java"}
    assert (browser.delete(NS).status_code, invite(browser, BOB).status_code) == (404, 404)
    assert browser.send("PATCH", f"{PEOPLE}/alice", role="OWNER").status_code == 404
    assert browser.send("POST", "/namespaces/acme/packages", **package).json()["error"] == "namespace_missing"
    assert browser.delete("/namespaces/acme/packages/tool").status_code == 204


def test_refused_deletion_leaves_the_namespace(acme: Namespace, bob: User) -> None:
    join(acme, bob, Role.MANAGER)
    assert_refused(Browser(bob).delete(NS), 403, "denied", "Only an owner of acme may remove it.")
    assert Browser().get(NS).status_code == 200


# --- Members ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [[BOB], BOB, {"members": [BOB]}], ids=["array", "object", "wrapped"])
def test_member_is_added_however_it_is_written(
    browser: Browser, acme: Namespace, alice: User, bob: User, body: Any
) -> None:
    response = invite(browser, body)
    assert (response.status_code, response.json()) == (200, shown(acme, alice, (bob, "MEMBER")))


def test_several_are_added_at_once(browser: Browser, acme: Namespace, bob: User, charlie: User) -> None:
    invite(browser, [{"username": "CHARLIE", "role": "OWNER"}, {"username": "bob", "role": "READ_ONLY"}])
    assert roles_in(acme) == {"alice": "OWNER", "charlie": "OWNER", "bob": "READ_ONLY"}


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


def test_bad_invitations_add_nobody(browser: Browser, acme: Namespace, bob: User, charlie: User) -> None:
    answers = [(body, invite(browser, body)) for body, _ in WRONG_INVITATIONS]
    assert [(body, answer.json()["error"]) for body, answer in answers] == WRONG_INVITATIONS
    assert {answer.status_code for _, answer in answers} == {400}
    assert roles_in(acme) == {"alice": "OWNER"}


def test_closed_accounts_are_not_added(browser: Browser, acme: Namespace, bob: User, charlie: User) -> None:
    bans.ban(bob, actor=None)
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    for name in ("bob", "charlie"):
        response = invite(browser, {"username": name, "role": "MEMBER"})
        assert_refused(response, 400, "user_missing", f"There is no open account {name!r}.")


@BOTH
def test_changed_member_is_shown(browser: Browser, acme: Namespace, bob: User, prefix: str) -> None:
    join(acme, bob, Role.READ_ONLY)
    response = browser.send("PATCH", f"/{prefix}/acme/members/BOB", role="MANAGER")
    assert response.status_code == 200
    assert response.json() == {"username": "bob", "role": "MANAGER", "avatar_uri": ""}
    assert roles_in(acme)["bob"] == "MANAGER"


@BOTH
def test_removed_member_is_gone(browser: Browser, acme: Namespace, bob: User, prefix: str) -> None:
    join(acme, bob, Role.MEMBER)
    response = browser.delete(f"/{prefix}/acme/members/bob")
    assert (response.status_code, response.json()) == (200, OK)
    assert roles_in(acme) == {"alice": "OWNER"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_who_is_no_member_is_missing(browser: Browser, acme: Namespace, bob: User, method: str) -> None:
    for name in ("bob", "nobody", "%2e%2e", "%ff", "a" * 300, "%E4%B8%AD"):
        response = browser.send(method, f"{PEOPLE}/{name}", role="MEMBER")
        assert (response.status_code, response.json()["error"]) == (404, "member_missing")


def test_bad_role_is_refused(browser: Browser, acme: Namespace, bob: User) -> None:
    join(acme, bob, Role.MEMBER)
    for role in (None, "", "member", "BOSS", 7, True, ["MEMBER"], {"role": "MEMBER"}):
        response = browser.send("PATCH", f"{PEOPLE}/bob", role=role)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
    assert roles_in(acme)["bob"] == "MEMBER"


@pytest.mark.parametrize("role", [Role.MANAGER, Role.MEMBER, Role.READ_ONLY])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_last_owner_stays(browser: Browser, acme: Namespace, bob: User, role: Role, method: str) -> None:
    join(acme, bob, role)
    assert_refused(browser.send(method, f"{PEOPLE}/alice", role="MEMBER"), 400, "last_owner", LAST)
    assert roles_in(acme) == {"alice": "OWNER", "bob": role}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_owner_who_is_closed_out_does_not_count_as_one(
    browser: Browser, acme: Namespace, bob: User, charlie: User, method: str
) -> None:
    join(acme, bob, Role.OWNER)
    join(acme, charlie, Role.OWNER)
    bans.ban(bob, actor=None)
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    assert_refused(browser.send(method, f"{PEOPLE}/alice", role="MANAGER"), 400, "last_owner", LAST)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_banned_owner_can_be_put_out_by_another(browser: Browser, acme: Namespace, bob: User, method: str) -> None:
    join(acme, bob, Role.OWNER)
    bans.ban(bob, actor=None)
    assert browser.send(method, f"{PEOPLE}/bob", role="MEMBER").status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_manager_goes_on_while_the_only_owner_is_banned(
    acme: Namespace, alice: User, bob: User, charlie: User, method: str
) -> None:
    join(acme, bob, Role.MANAGER)
    join(acme, charlie, Role.MEMBER)
    bans.ban(alice, actor=None)
    assert Browser(bob).send(method, f"{PEOPLE}/charlie", role="READ_ONLY").status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_owner_steps_back_when_there_is_another(browser: Browser, acme: Namespace, bob: User, method: str) -> None:
    join(acme, bob, Role.OWNER)
    assert browser.send(method, f"{PEOPLE}/alice", role="MEMBER").status_code == 200
    assert roles_in(acme) == ({"alice": "MEMBER", "bob": "OWNER"} if method == "PATCH" else {"bob": "OWNER"})


@pytest.mark.parametrize("role", [Role.MANAGER, Role.MEMBER, Role.READ_ONLY])
def test_everybody_may_leave(acme: Namespace, bob: User, role: Role) -> None:
    join(acme, bob, role)
    assert Browser(bob).delete(f"{PEOPLE}/bob").json() == OK
    assert roles_in(acme) == {"alice": "OWNER"}


@pytest.mark.parametrize("theirs", [Role.OWNER, Role.MANAGER])
def test_manager_touches_no_manager_and_no_owner(acme: Namespace, bob: User, charlie: User, theirs: Role) -> None:
    join(acme, bob, Role.MANAGER)
    join(acme, charlie, theirs)
    manager = Browser(bob)
    answers = [
        manager.send("PATCH", f"{PEOPLE}/charlie", role="MEMBER"),
        manager.delete(f"{PEOPLE}/charlie"),
        manager.send("PATCH", f"{PEOPLE}/bob", role=theirs),
    ]
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(403, "denied")] * 3
    assert roles_in(acme) == {"alice": "OWNER", "bob": "MANAGER", "charlie": theirs}


@pytest.mark.parametrize("role", [Role.OWNER, Role.MANAGER])
def test_manager_makes_no_manager_and_no_owner(acme: Namespace, bob: User, charlie: User, role: Role) -> None:
    join(acme, bob, Role.MANAGER)
    body = [{"username": "charlie", "role": role}]
    assert invite(Browser(bob), body).status_code == 403
    join(acme, charlie, Role.READ_ONLY)
    assert Browser(bob).send("PATCH", f"{PEOPLE}/charlie", role=role).status_code == 403
    assert roles_in(acme)["charlie"] == "READ_ONLY"


def test_role_counts_from_the_next_request_on(browser: Browser, acme: Namespace, bob: User, charlie: User) -> None:
    join(acme, bob, Role.MANAGER)
    manager = Browser(bob)
    assert invite(manager, {"username": "charlie", "role": "MEMBER"}).status_code == 200
    browser.send("PATCH", f"{PEOPLE}/bob", role="MEMBER")
    assert manager.delete(f"{PEOPLE}/charlie").status_code == 403


def test_administrators_need_no_membership(acme: Namespace, root: User, bob: User, charlie: User) -> None:
    roles.grant(bob, SiteRole.SYSTEM_ADMIN, actor=None)
    assert invite(Browser(root), {"username": "charlie", "role": "OWNER"}).status_code == 200
    assert Browser(bob).delete(f"{PEOPLE}/alice").status_code == 200
    assert roles_in(acme) == {"charlie": "OWNER"}


# --- Removal takes every right at once -------------------------------------------------------------------------------


@pytest.fixture
def member(acme: Namespace, bob: User) -> User:
    """Bob, who has made a public and a private package in Alice's namespace."""
    join(acme, bob, Role.MEMBER)
    add_package(bob, "tool")
    add_package(bob, "secret", "PRIVATE")
    return bob


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_removed_member_loses_every_right_at_once(browser: Browser, member: User, who: str) -> None:
    his = Browser(member)
    assert (browser if who == "alice" else his).delete(f"{PEOPLE}/bob").status_code == 200
    there, release = "/namespaces/acme/packages", {"version": "2.0.0"}
    assert his.send("PUT", f"{there}/tool", **release).status_code == 403
    assert his.send("POST", there, package_name="new", field="java", **release).status_code == 403
    assert his.get(f"{there}/secret").status_code == 404
    assert his.delete(f"{there}/tool").status_code == 403
    assert [package["package_name"] for package in his.get(there).json()] == ["tool"]


def test_packages_of_a_removed_member_get_an_owner_of_the_namespace(browser: Browser, member: User) -> None:
    browser.delete(f"{PEOPLE}/bob")
    assert [roles_at(package) for package in Package.objects.all()] == [{"alice": "OWNER"}] * 2


def test_heir_who_works_on_the_package_already_becomes_its_owner(browser: Browser, member: User, alice: User) -> None:
    tool = Package.objects.get(name="tool")
    Collaboration.objects.create(package=tool, user=alice, role=Role.READ_ONLY)
    browser.delete(f"{PEOPLE}/bob")
    assert roles_at(tool) == {"alice": "OWNER"}


def test_heir_is_an_owner_who_is_not_banned(
    acme: Namespace, member: User, alice: User, charlie: User, root: User
) -> None:
    join(acme, charlie, Role.OWNER)
    bans.ban(alice, actor=None)
    Browser(root).delete(f"{PEOPLE}/bob")
    assert roles_at(Package.objects.get(name="tool")) == {"charlie": "OWNER"}


def test_package_with_another_owner_gets_no_heir(browser: Browser, member: User, charlie: User) -> None:
    tool = Package.objects.get(name="tool")
    Collaboration.objects.create(package=tool, user=charlie, role=Role.OWNER)
    browser.delete(f"{PEOPLE}/bob")
    assert roles_at(tool) == {"charlie": "OWNER"}


def test_package_in_the_trash_is_inherited_too(browser: Browser, member: User) -> None:
    browser.delete("/namespaces/acme/packages/tool")
    browser.delete(f"{PEOPLE}/bob")
    assert roles_at(Package.objects.get(name="tool")) == {"alice": "OWNER"}


def test_rights_elsewhere_stay(browser: Browser, member: User, alice: User) -> None:
    other = membership.create_namespace(Principal(alice), "other")
    join(other, member, Role.MEMBER)
    package = add_package(member, "elsewhere", namespace="other")
    browser.delete(f"{PEOPLE}/bob")
    assert (roles_in(other)["bob"], roles_at(package)) == ("MEMBER", {"bob": "OWNER"})


def test_refused_removal_takes_nothing(browser: Browser, acme: Namespace, alice: User) -> None:
    package = add_package(alice, "tool")
    assert browser.delete(f"{PEOPLE}/alice").status_code == 400
    assert (roles_in(acme), roles_at(package)) == ({"alice": "OWNER"}, {"alice": "OWNER"})


# --- Everybody's own namespace ---------------------------------------------------------------------------------------


def by_ktra() -> None:
    Client().post("/ktra/api/v1/new_user/dora", {"password": PASSWORD}, content_type="application/json")


def by_torrust() -> None:
    given = {"email": "dora@example.org", "password": PASSWORD, "confirm_password": PASSWORD}
    Browser().send("POST", "/v1/user/register", username="dora", **given)


def by_yapkg() -> None:
    Browser().send("POST", "/register", username="dora", password=PASSWORD, email="dora@example.org")


def by_admin_form() -> None:
    sign_in_to_admin(registration.register("root", PASSWORD, admin=True)).post(
        "/admin/accounts/user/add/", new_user_form()
    )


def by_createuser() -> None:
    call_command("createuser", "dora", password=PASSWORD, verbosity=0)


def by_createsuperuser() -> None:
    call_command("createsuperuser", "--no-input", username="dora", verbosity=0)


def by_create_superuser() -> None:
    User.objects.create_superuser("dora", "dora@example.org", PASSWORD)


WAYS = [by_ktra, by_torrust, by_yapkg, by_admin_form, by_createuser, by_createsuperuser, by_create_superuser]


def assert_has_own_namespace(name: str) -> None:
    namespace = Namespace.objects.get(name=name)
    assert (str(namespace.user), roles_in(namespace)) == (name, {name: "OWNER"})
    listed = Client().get(f"/namespaces/{name}/packages")
    assert (listed.status_code, listed.json()) == (200, [])
    assert Client().get(f"/namespace/{name}").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_everybody_has_a_namespace_from_the_beginning(way: Callable[[], None]) -> None:
    way()
    assert_has_own_namespace("dora")


@pytest.mark.django_db
def test_imported_accounts_have_their_namespaces(tmp_path: Path) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text(f"{import_line('dora')}\n{import_line('erin', is_active=False)}\n")
    call_command("importusers", str(file), verbosity=0)
    assert_has_own_namespace("dora")
    assert_has_own_namespace("erin")


def test_account_is_not_opened_by_the_name_of_a_namespace(acme: Namespace, root: User, tmp_path: Path) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text(import_line("Acme"))
    for command in (("importusers", str(file)), ("createuser", "ACME")):
        with pytest.raises(Exception, match=r"(taken|already exists)"):
            call_command(*command)
    page = sign_in_to_admin(root).post("/admin/accounts/user/add/", new_user_form(username="acme"))
    assert "This name is taken." in page.content.decode()
    assert sorted(user.username for user in User.objects.all()) == ["alice", "root"]


@BOTH
def test_own_namespace_is_missing_on_every_route_of_namespaces(
    browser: Browser, bob: User, root: User, prefix: str
) -> None:
    for asker in (browser, Browser(root)):
        answers = [
            asker.get(f"/{prefix}/alice"),
            asker.delete(f"/{prefix}/alice"),
            asker.send("POST", f"/{prefix}/alice/members", **BOB),
            asker.send("PATCH", f"/{prefix}/alice/members/alice", role="MEMBER"),
            asker.delete(f"/{prefix}/alice/members/alice"),
        ]
        assert [(answer.status_code, answer.json()) for answer in answers] == [(404, MISSING)] * 5


def test_own_namespace_follows_its_user(browser: Browser, alice: User) -> None:
    assert browser.change(username="Alicia").status_code == 200
    assert_has_own_namespace("Alicia")
    assert Client().get("/namespaces/alicia/packages").status_code == 200
    assert Client().get("/namespaces/alice/packages").status_code == 404
    release = {"package_name": "tool", "version": "1.0.0", "field": "java"}
    assert browser.send("POST", "/namespaces/alicia/packages", **release).json()["namespace"] == "Alicia"


def test_own_namespace_follows_its_user_back(browser: Browser) -> None:
    for name in ("alicia", "alice", "ALICE"):
        assert browser.change(username=name).status_code == 200
    assert_has_own_namespace("ALICE")


@pytest.mark.parametrize("name", ["alicia", "ALICE"])
def test_name_stays_while_there_are_packages_under_it(browser: Browser, alice: User, name: str) -> None:
    add_package(alice, "tool", namespace="alice")
    message = "The name 'alice' cannot change while there are packages under it."
    assert_refused(browser.change(username=name), 400, "name_in_use", message)
    assert browser.get("/users/alice").json()["username"] == "alice"
    assert browser.get("/namespaces/alice/packages/tool").json()["namespace"] == "alice"
    assert not NameReservation.objects.filter(name="alicia").exists()


def test_name_can_change_when_the_packages_are_gone_for_good(browser: Browser, alice: User) -> None:
    add_package(alice, "tool", namespace="alice")
    browser.delete("/namespaces/alice/packages/tool")
    with override_settings(TRASH_DAYS=0):
        call_command("purge", verbosity=0)
    assert browser.change(username="alicia").status_code == 200


def test_memberships_follow_a_user_who_is_renamed(browser: Browser, acme: Namespace, bob: User) -> None:
    join(acme, bob, Role.MEMBER)
    Browser(bob).change(username="robert")
    assert roles_in(acme) == {"alice": "OWNER", "robert": "MEMBER"}
    assert browser.delete(f"{PEOPLE}/bob").status_code == 404
    assert browser.delete(f"{PEOPLE}/robert").status_code == 200


MIGRATION = ("namespaces", "0002_personal")


def migrate() -> None:
    """Run the migration's own function on the models as they were then."""
    state = MigrationExecutor(connection).loader.project_state(MIGRATION)
    importlib.import_module(".".join((MIGRATION[0], "migrations", MIGRATION[1]))).open_namespaces(state.apps, None)


def test_migration_opens_a_namespace_for_whoever_has_none(acme: Namespace, bob: User, charlie: User) -> None:
    Namespace.objects.filter(user__in=(bob, charlie)).delete()
    migrate()
    for name in ("alice", "bob", "charlie"):
        assert_has_own_namespace(name)
    assert Namespace.objects.count() == 4


@pytest.mark.django_db
def test_migration_reaches_everybody_however_many() -> None:
    reserved = NameReservation.objects.bulk_create(NameReservation(name=f"user-{number}") for number in range(2500))
    User.objects.bulk_create(User(username=row.name, reservation=row) for row in reserved)
    migrate()
    migrate()
    assert Namespace.objects.filter(user__reservation__namespace__isnull=False).count() == 2500
    assert Membership.objects.filter(role="OWNER").count() == 2500


# --- The trash, and the admin site -----------------------------------------------------------------------------------

ADMIN = "/admin/namespaces/namespace/"


def test_removed_namespace_is_restored_with_all_that_was_in_it(
    as_root: Client, browser: Browser, acme: Namespace, alice: User, bob: User
) -> None:
    join(acme, bob, Role.MEMBER)
    add_package(alice, "tool")
    browser.delete(NS)
    assert "1 restored" in run_action(as_root, ADMIN, "restore", acme)
    assert browser.get(NS).json() == shown(acme, alice, (bob, "MEMBER"))
    assert [package["package_name"] for package in browser.get("/packages?query=tool").json()] == ["tool"]


def test_namespace_is_removed_in_the_admin_site(as_root: Client, acme: Namespace) -> None:
    assert "1 removed" in run_action(as_root, ADMIN, "remove", acme)
    assert "0 removed" in run_action(as_root, ADMIN, "remove", acme)
    assert Client().get(NS).status_code == 404


def test_package_restored_before_its_namespace_is_found_with_it(
    as_root: Client, browser: Browser, acme: Namespace, alice: User
) -> None:
    tool = add_package(alice, "tool")
    browser.delete("/namespaces/acme/packages/tool")
    browser.delete(NS)
    run_action(as_root, "/admin/packages/package/", "restore", tool)
    assert browser.get("/packages?query=acme").json() == []
    run_action(as_root, ADMIN, "restore", acme)
    assert [package["package_name"] for package in browser.get("/packages?query=acme").json()] == ["tool"]


def test_own_namespace_is_not_removed_in_the_admin_site(as_root: Client, alice: User) -> None:
    page = run_action(as_root, ADMIN, "remove", Namespace.objects.get(user=alice))
    assert "A personal namespace cannot be removed." in page
    assert_has_own_namespace("alice")


def test_one_refusal_leaves_all_of_the_selected(as_root: Client, acme: Namespace, alice: User) -> None:
    run_action(as_root, ADMIN, "remove", acme, Namespace.objects.get(user=alice))
    assert Client().get(NS).status_code == 200


def age(namespace: Namespace, days: float) -> None:
    """It was removed so long ago."""
    Namespace.objects.filter(pk=namespace.pk).update(removed_at=timezone.now() - timedelta(days=days))


@pytest.mark.parametrize("days", [0, 13.9])
def test_name_stays_reserved_while_the_namespace_can_be_restored(
    browser: Browser, acme: Namespace, days: float
) -> None:
    age(acme, days)
    call_command("purge", verbosity=0)
    assert open_namespace(browser, "ACME").json()["error"] == "name_taken"
    assert browser.change(username="acme").json()["error"] == "name_taken"
    with pytest.raises(RegistryError):
        registration.sign_up("acme", PASSWORD)


def test_purge_frees_the_name_and_all_that_was_in_it(browser: Browser, acme: Namespace, alice: User) -> None:
    add_package(alice, "tool")
    age(acme, 14.1)
    call_command("purge", verbosity=0)
    assert not Package.objects.exists()
    assert open_namespace(browser, "acme").status_code == 200
    assert browser.get("/namespaces/acme/packages").json() == []


def test_name_that_was_freed_can_become_a_users(acme: Namespace, alice: User) -> None:
    age(acme, 15)
    call_command("purge", verbosity=0)
    registration.sign_up("acme", PASSWORD, "acme@example.org")
    assert_has_own_namespace("acme")


def test_purge_leaves_what_is_not_in_the_trash(acme: Namespace, alice: User) -> None:
    add_package(alice, "tool")
    with override_settings(TRASH_DAYS=0):
        call_command("purge", verbosity=0)
    assert (Client().get(NS).status_code, Package.objects.count(), Namespace.objects.count()) == (200, 1, 2)


def test_restored_namespace_is_not_purged(acme: Namespace, as_root: Client) -> None:
    age(acme, 15)
    run_action(as_root, ADMIN, "restore", acme)
    call_command("purge", verbosity=0)
    assert Client().get(NS).status_code == 200


def change_members(client: Client, namespace: Namespace, *rows: dict[str, Any]) -> str:
    """Send the page of a namespace; what the page after it says. A row without an id is a new member."""
    known = sum("id" in row for row in rows)
    form: dict[str, Any] = {"memberships-TOTAL_FORMS": len(rows), "memberships-INITIAL_FORMS": known}
    for number, row in enumerate(rows):
        form |= {f"memberships-{number}-{key}": value for key, value in {"namespace": namespace.pk, **row}.items()}
    response = client.post(f"{ADMIN}{namespace.pk}/change/", form, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def row_of(namespace: Namespace, user: User, **changes: Any) -> dict[str, Any]:
    """A member's line of the form."""
    member = Membership.objects.get(namespace=namespace, user=user)
    return {"id": member.pk, "user": user.pk, "role": member.role, **changes}


def test_staff_add_change_and_remove_members(
    as_root: Client, acme: Namespace, alice: User, bob: User, charlie: User
) -> None:
    join(acme, bob, Role.MEMBER)
    rows = row_of(acme, alice, role="MANAGER"), row_of(acme, bob, DELETE="on"), {"user": charlie.pk, "role": "OWNER"}
    change_members(as_root, acme, *rows)
    assert roles_in(acme) == {"alice": "MANAGER", "charlie": "OWNER"}


@pytest.mark.parametrize("changes", [{"role": "MEMBER"}, {"DELETE": "on"}])
def test_staff_leave_a_namespace_an_owner(
    as_root: Client, acme: Namespace, alice: User, bob: User, changes: dict[str, str]
) -> None:
    page = change_members(as_root, acme, row_of(acme, alice, **changes), {"user": bob.pk, "role": "MANAGER"})
    assert LAST[1:] in page
    assert roles_in(acme) == {"alice": "OWNER"}


def test_staff_remove_a_member_with_every_right(as_root: Client, acme: Namespace, member: User, alice: User) -> None:
    change_members(as_root, acme, row_of(acme, alice), row_of(acme, member, DELETE="on"))
    assert [roles_at(package) for package in Package.objects.all()] == [{"alice": "OWNER"}] * 2


def test_member_whom_staff_replace_loses_every_right(
    as_root: Client, acme: Namespace, member: User, alice: User, charlie: User
) -> None:
    change_members(as_root, acme, row_of(acme, alice), {**row_of(acme, member), "user": charlie.pk})
    assert Collaboration.objects.filter(user=member).exists() == ("bob" in roles_in(acme))


def test_member_is_not_added_twice_by_staff(as_root: Client, acme: Namespace, alice: User, bob: User) -> None:
    for rows in ([{"user": bob.pk, "role": "MEMBER"}] * 2, [{"user": alice.pk, "role": "MEMBER"}]):
        page = change_members(as_root, acme, row_of(acme, alice), *rows)
        assert "errorlist" in page or "errornote" in page
    assert roles_in(acme) == {"alice": "OWNER"}


def test_namespaces_are_listed_searched_and_opened(as_root: Client, acme: Namespace) -> None:
    listed = as_root.get(f"{ADMIN}?q=acm").content.decode()
    assert f"{ADMIN}{acme.pk}/change/" in listed
    assert "alice" in as_root.get(f"{ADMIN}{acme.pk}/change/").content.decode()


def test_namespaces_are_never_deleted_or_added_in_the_admin_site(as_root: Client, acme: Namespace) -> None:
    assert as_root.post(f"{ADMIN}{acme.pk}/delete/", {"post": "yes"}).status_code == 403
    assert as_root.post(f"{ADMIN}add/", {"name": "x"}).status_code == 403
    assert "delete_selected" not in as_root.get(ADMIN).content.decode()


# --- The record ------------------------------------------------------------------------------------------------------


def recorded() -> list[tuple[str, str, str, Any]]:
    """Who did what to which namespace, the first deed first."""
    rows = AuditEvent.objects.filter(action__startswith="namespace.").order_by("pk")
    return [(row.actor_name, row.action, row.target, row.detail) for row in rows]


def test_deeds_are_recorded(browser: Browser, bob: User, root: User) -> None:
    open_namespace(browser, "acme")
    invite(browser, [BOB])
    browser.send("PATCH", f"{PEOPLE}/bob", role="MANAGER")
    Browser(bob).delete(f"{PEOPLE}/bob")
    browser.delete(NS)
    run_action(sign_in_to_admin(root), ADMIN, "restore", Namespace.objects.get(name="acme"))
    assert recorded() == [
        ("alice", "namespace.create", "acme", {}),
        ("alice", "namespace.add_members", "acme", {"members": {"bob": "MEMBER"}}),
        ("alice", "namespace.change_role", "acme", {"member": "bob", "role": "MANAGER"}),
        ("bob", "namespace.remove_member", "acme", {"member": "bob"}),
        ("alice", "namespace.remove", "acme", {}),
        ("root", "namespace.restore", "acme", {}),
    ]


def test_deeds_of_staff_are_recorded(as_root: Client, acme: Namespace, alice: User, member: User) -> None:
    change_members(as_root, acme, row_of(acme, alice), row_of(acme, member, DELETE="on"))
    assert recorded()[1:] == [("root", "namespace.remove_member", "acme", {"member": "bob"})]


def test_refusals_are_not_recorded(browser: Browser, acme: Namespace, bob: User) -> None:
    open_namespace(browser, "acme")
    invite(browser, [{"username": "nobody", "role": "MEMBER"}])
    browser.delete(f"{PEOPLE}/alice")
    Browser(bob).delete(NS)
    assert [action for _, action, _, _ in recorded()] == ["namespace.create"]


# --- All of them -----------------------------------------------------------------------------------------------------

WRITES = [
    ("POST", "/namespace"),
    ("DELETE", NS),
    ("POST", PEOPLE),
    ("PATCH", f"{PEOPLE}/alice"),
    ("DELETE", f"{PEOPLE}/alice"),
]
WITH_BODIES = [row for row in WRITES if row[0] != "DELETE"]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_anonymous_changes_nothing_whatever_is_there(acme: Namespace, method: str, path: str) -> None:
    for place in (path, path.replace("acme", "none"), path.replace("acme", "alice")):
        response = Browser().generic(method, place, b"{}", "application/json")
        assert (response.status_code, response.json()) == (401, ANONYMOUS)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_page_of_another_site_changes_nothing(alice: User, acme: Namespace, method: str, path: str) -> None:
    forged = Client(enforce_csrf_checks=True, raise_request_exception=False, headers={"Origin": "http://evil.example"})
    forged.force_login(alice)
    response = forged.generic(method, path, b"{}", "application/json")
    assert (response.status_code, set(response.json())) == (403, {"error", "message"})


@pytest.mark.parametrize(("method", "path"), WITH_BODIES)
def test_bad_bodies_are_refused(browser: Browser, acme: Namespace, method: str, path: str) -> None:
    for body, message in BAD_BODIES:
        response = browser.generic(method, path, body, "application/json")
        assert (response.status_code, set(response.json())) == (400, {"error", "message"})
        assert path == PEOPLE or response.json()["message"] == message


@pytest.mark.parametrize(("method", "path"), WITH_BODIES)
def test_bodies_that_are_not_read_are_refused(browser: Browser, acme: Namespace, method: str, path: str) -> None:
    huge = browser.generic(method, path, b"[" + b" " * 1024 * 1024, "application/json")
    form = browser.generic(method, path, b"a=b", "application/x-www-form-urlencoded")
    parts = browser.generic(method, path, b"--x--", "multipart/form-data; boundary=x")
    chunked = browser.generic(method, path, headers={"Transfer-Encoding": "chunked"})
    assert [answer.status_code for answer in (huge, form, parts, chunked)] == [413, 415, 415, 411]


METHODS = {"": {"POST"}, "/acme": {"GET", "HEAD", "DELETE"}, "/acme/members": {"POST"}}
METHODS["/acme/members/alice"] = {"PATCH", "DELETE"}


@BOTH
@pytest.mark.parametrize("path", METHODS)
def test_other_methods_are_refused(browser: Browser, acme: Namespace, prefix: str, path: str) -> None:
    for method in ALL_METHODS - METHODS[path]:
        response = browser.generic(method, f"/{prefix}{path}", b"{}", "application/json")
        assert_refused(response, 405, "method_not_allowed", f'Method "{method}" not allowed.')
        assert {word.strip() for word in response["Allow"].split(",")} - {"OPTIONS"} == METHODS[path]


@BOTH
def test_unknown_path_is_told_as_yapkg_tells_it(browser: Browser, acme: Namespace, prefix: str) -> None:
    for path in ("/", "/acme/", "/acme/members/", "/acme/members/alice/", "/acme/owner", "/a%2fb", "//", "/acme%2f"):
        response = browser.get(f"/{prefix}{path}")
        assert (response.status_code, response.json()) == (404, NO_PATH)


@pytest.mark.parametrize("who", ["alice", "nobody"])
def test_no_cache_shows_an_answer_to_somebody_else(alice: User, acme: Namespace, who: str) -> None:
    browser = Browser(alice if who == "alice" else None)
    for path in (NS, "/namespace/none"):
        response = browser.get(path)
        assert {"Cookie", "Token", "X-Auth-Token"} <= {word.strip() for word in response["Vary"].split(",")}
        assert "private" in response["Cache-Control"]


def test_collaborators_are_no_members(acme: Namespace, alice: User, charlie: User) -> None:
    add_package(alice, "tool")
    collaboration.add_collaborators(Principal(alice), "acme", "tool", [Invitation("charlie", Role.OWNER)])
    his = Browser(charlie)
    assert (his.delete(NS).status_code, invite(his, BOB).status_code) == (403, 403)
    assert "charlie" not in {row["username"] for row in his.get(NS).json()["member"]}


# --- Many at once ----------------------------------------------------------------------------------------------------

RACERS = 25


def ask(server: Server, method: str, path: str, cookie: str, **body: str) -> Response:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Content-Type": "application/json", "Origin": server.url, "Cookie": cookie}
    try:
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        return Response(answer.status, json.loads(answer.read()))
    finally:
        connection.close()


def cookie_of(server: Server, name: str) -> str:
    """Somebody new, signed in."""
    server.sign_up(name)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Content-Type": "application/json", "Origin": server.url}
    try:
        connection.request("POST", "/login", json.dumps({"username": name, "password": PASSWORD}), headers)
        answer = connection.getresponse()
        answer.read()
        cookies = SimpleCookie("; ".join(answer.headers.get_all("Set-Cookie", [])))
        return f"registry_session={cookies['registry_session'].value}"
    finally:
        connection.close()


def test_one_of_many_users_and_namespaces_takes_a_name(server: Server) -> None:
    cookie = cookie_of(server, "opener")
    users = [partial(post_to_ktra, server, "new_user", name, password=PASSWORD) for name in ("dora", "DORA", "Dora")]
    spaces = [partial(ask, server, "POST", "/namespace", cookie, namespace=name) for name in ("dora", "DORA", "Dora")]
    racers = [(users if number < RACERS else spaces)[number % 3] for number in range(2 * RACERS)]
    answers = run_concurrently(racers)
    told = count_statuses(answers[:RACERS]), count_statuses(answers[RACERS:])
    assert told in (({200: 1, 409: RACERS - 1}, {400: RACERS}), ({409: RACERS}, {200: 1, 400: RACERS - 1}))
    shared = ask(server, "GET", "/namespace/dora", cookie).status == 200
    assert shared == (200 in told[1])
    assert ask(server, "GET", "/namespaces/dora/packages", cookie).status == 200


def test_one_of_many_renamed_users_and_namespaces_takes_a_name(server: Server) -> None:
    cookies = [cookie_of(server, f"renamed-{number}") for number in range(5)]
    rename = [partial(ask, server, "PATCH", "/settings/profile", cookie, username="erin") for cookie in cookies]
    spaces = [partial(ask, server, "POST", "/namespace", cookie, namespace="erin") for cookie in cookies]
    answers = run_concurrently([*rename, *spaces])
    assert count_statuses(answers) == {200: 1, 400: 9}
    assert {answer.body["error"] for answer in answers if answer.status == 400} == {"name_taken"}


def test_namespaces_that_are_opened_at_once_are_all_there(server: Server) -> None:
    cookie = cookie_of(server, "founder")
    answers = run_concurrently(
        [partial(ask, server, "POST", "/namespace", cookie, namespace=f"ns-{n}") for n in range(RACERS)]
    )
    assert count_statuses(answers) == {200: RACERS}
    assert {ask(server, "GET", f"/namespace/ns-{n}", cookie).status for n in range(RACERS)} == {200}


def test_two_owners_cannot_put_each_other_out(server: Server) -> None:
    cookies = {name: cookie_of(server, name) for name in ("first", "second")}
    ask(server, "POST", "/namespace", cookies["first"], namespace="pair")
    ask(server, "POST", "/namespace/pair/members", cookies["first"], username="second", role="OWNER")
    leave = [partial(ask, server, "DELETE", f"/namespace/pair/members/{name}", cookies[name]) for name in cookies]
    assert count_statuses(run_concurrently(leave)) == {200: 1, 400: 1}
    (left,) = ask(server, "GET", "/namespace/pair", cookies["first"]).body["member"]
    assert left["role"] == "OWNER"
