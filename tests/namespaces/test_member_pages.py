"""Pages of members and collaborators: one body of tests for both, as both have the same views and templates."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import registration
from accounts.models import Credential, User
from accounts.principals import Principal
from namespaces import invitations, membership
from namespaces.invitations import NAMESPACE, RoleKind
from namespaces.models import Role, RoleInvitation
from packages import release_input, releasing
from packages.invitations import PACKAGE
from tests.support.admin import FormFields
from tests.support.authenticator_apps import add_app
from tests.support.cast import PASSWORD
from tests.support.page_forms import PAGE, FormBrowser, error_of, notices

JSON = "application/json"


@dataclass(frozen=True)
class Subject:
    """A namespace, or a private package in it, that alice owns, with bob as a member or a collaborator."""

    kind: RoleKind
    names: list[str]
    row: Any

    @property
    def path(self) -> str:
        return str(self.row.page_path)

    @property
    def roles_path(self) -> str:
        return f"{self.path}/{self.kind.noun}s"

    def roles(self) -> dict[str, str]:
        return {row.user.username: row.role for row in self.kind.assignments.in_subject(self.row)}

    def invite(self, inviter: User, username: str, role: Role = Role.MEMBER) -> RoleInvitation:
        return invitations.invite(self.kind, Principal(inviter), self.names, username, role)

    def invited(self) -> dict[str, str]:
        return {row.user.username: row.role for row in invitations.open_in_subject(self.kind, self.row)}

    def add(self, user: User, role: Role) -> None:
        self.kind.assignments._default_manager.create(**{self.kind.subject_field: self.row}, user=user, role=role)


@pytest.fixture(params=["namespace", "package"])
def subject(request: pytest.FixtureRequest, alice: User, bob: User) -> Subject:
    acme = membership.create_namespace(Principal(alice), "acme")
    subject = Subject(NAMESPACE, ["acme"], acme)
    if request.param == "package":
        content = release_input.ReleaseInput(version="1.0.0", type="PRIVATE")
        package = releasing.create_package(Principal(alice), "acme", "@web/secret", "npm", content).package
        subject = Subject(PACKAGE, ["acme", "@web/secret"], package)
    subject.add(bob, Role.MEMBER)
    return subject


def browser_of(user: User) -> FormBrowser:
    browser = FormBrowser()
    browser.force_login(user)
    return browser


def send(browser: FormBrowser, form_path: str, path: str, **fields: str) -> Any:
    """Send fields to a path with the token of the form on another page."""
    values = FormFields(browser.get(form_path, headers=PAGE).content.decode()).values
    return browser.post(path, {"csrfmiddlewaretoken": values["csrfmiddlewaretoken"], **fields}, headers=PAGE)


def page_of(browser: Client, path: str) -> str:
    response = browser.get(path, headers=PAGE)
    assert response.status_code == 200, path
    return str(response.content.decode())


# --- Who sees what ---------------------------------------------------------------------------------------------------


def test_member_sees_roles_and_no_forms(subject: Subject, alice: User, bob: User, charlie: User) -> None:
    subject.invite(alice, "charlie")
    page = page_of(browser_of(bob), subject.roles_path)
    assert re.findall(r'<th scope="row"><a href="[^"]*">(\w+)</a>', page) == ["alice", "bob"]
    assert ("charlie" in page, "<select" in page, "Invite" in page) == (False, False, False)
    assert f'{subject.roles_path}/bob#remove">Leave</a>' in page


def test_owner_sees_forms_and_invitations(subject: Subject, alice: User, charlie: User) -> None:
    subject.invite(alice, "charlie")
    page = page_of(browser_of(alice), subject.roles_path)
    assert "charlie" in page
    assert f'<form method="post" action="{subject.roles_path}/bob">' in page
    assert 'name="withdraw"' in page


def test_strangers_see_what_the_api_shows(subject: Subject, charlie: User) -> None:
    anonymous = Client().get(subject.roles_path, headers=PAGE)
    stranger = browser_of(charlie).get(subject.roles_path, headers=PAGE)
    expected = {"namespace": (200, 200), "package": (302, 404)}[subject.kind.subject_field]
    assert (anonymous.status_code, stranger.status_code) == expected
    assert b"<form method" not in anonymous.content + stranger.content.partition(b"<main")[2]


def test_singular_spelling_leads_to_the_page(subject: Subject, alice: User) -> None:
    singular = subject.roles_path.replace("/namespaces/", "/namespace/", 1)
    assert browser_of(alice).get(singular, headers=PAGE)["Location"] == subject.roles_path


def test_many_roles_are_shown_in_pages(subject: Subject, alice: User, django_assert_max_num_queries: Any) -> None:
    names = [f"user-{number}" for number in range(60)]
    for name in names:
        registration.register(name, PASSWORD)
        subject.add(User.objects.get_named(name), Role.READ_ONLY)
    browser = browser_of(alice)
    with django_assert_max_num_queries(13):
        first = page_of(browser, subject.roles_path)
    second = page_of(browser, f"{subject.roles_path}?page=2")
    assert ("user-47<" in first, "user-48<" in first) == (True, False)
    assert ("user-48<" in second, "user-59<" in second) == (True, True)
    assert browser.get(f"{subject.roles_path}?page=3", headers=PAGE).status_code == 404


# --- Programs --------------------------------------------------------------------------------------------------------


def test_programs_get_the_api_as_before(subject: Subject, alice: User, charlie: User) -> None:
    client = browser_of(alice)
    listed = client.get(subject.roles_path)
    assert listed["Content-Type"] == JSON
    assert listed.status_code == (405 if subject.kind is NAMESPACE else 200)
    origin = {"Origin": "http://testserver"}
    for accept in ("*/*", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"):  # curl and Java by default
        headers = {**origin, "Accept": accept}
        form = client.post(subject.roles_path, {"username": "charlie"}, headers=headers)
        assert (form.status_code, form["Content-Type"]) == (415, JSON)
        body = {"username": "charlie", "role": "MEMBER"}
        added = client.post(subject.roles_path, body, content_type=JSON, headers=headers)
        assert (added.status_code, subject.roles()["charlie"]) == (200, "MEMBER")
        assert client.delete(f"{subject.roles_path}/charlie", headers=headers).status_code == 200
    assert client.post(f"{subject.roles_path}/bob", {"role": "OWNER"}, headers=origin).status_code == 405


def test_forged_forms_are_refused_with_a_page(subject: Subject, alice: User) -> None:
    browser = browser_of(alice)
    for path in (f"{subject.path}/invitations", f"{subject.roles_path}/bob"):
        response = browser.post(path, {"remove": "1", "username": "x", "role": "OWNER"}, headers=PAGE)
        assert (response.status_code, "This form has grown old" in response.content.decode()) == (403, True)


# --- Invite ----------------------------------------------------------------------------------------------------------


def test_form_invites_and_withdraws(subject: Subject, alice: User, charlie: User) -> None:
    browser, path = browser_of(alice), f"{subject.path}/invitations"
    response = send(browser, subject.roles_path, path, username="charlie", role="MANAGER")
    assert (response.status_code, response["Location"]) == (302, subject.roles_path)
    assert "charlie is invited, and has 30 days to accept." in page_of(browser, subject.roles_path)
    assert (subject.invited(), "charlie" in subject.roles()) == ({"charlie": "MANAGER"}, False)
    key = str(subject.kind.invitations._default_manager.get().pk)
    send(browser, subject.roles_path, path, withdraw=key)
    assert "The invitation of charlie is withdrawn." in page_of(browser, subject.roles_path)
    send(browser, subject.roles_path, path, withdraw=key)
    assert "This invitation is no longer open" in page_of(browser, subject.roles_path)
    assert browser.get(path, headers=PAGE)["Location"] == subject.roles_path


def test_refused_invitation_is_marked_and_stays(subject: Subject, alice: User, charlie: User) -> None:
    browser, path = browser_of(alice), f"{subject.path}/invitations"
    invitations.decline(subject.kind, Principal(charlie), subject.invite(alice, "charlie").pk)
    for username, sentence in (
        ("nobody", "There is no open account of this name."),
        ("bob", f"bob is a {subject.kind.noun} of {subject.row} already."),
        ("charlie", f"charlie has declined an invitation to {subject.row}; invite again after"),
    ):
        response = send(browser, subject.roles_path, path, username=username, role="READ_ONLY")
        page = response.content.decode()
        assert sentence in error_of(response, "username")
        assert page.index(sentence) < page.index("<table")  # of which fifty rows may follow
        assert re.search(rf'<input type="text" name="username" value="{username}"', page)
        assert re.search(r'value="READ_ONLY"[^>]* checked', page)
    response = send(browser, subject.roles_path, path, username="bob", role="BOSS")
    assert "Select a valid choice" in error_of(response, "role")


def test_rate_limit_says_how_long_to_wait(subject: Subject, alice: User, charlie: User, settings: Any) -> None:
    settings.INVITATIONS_PER_DAY = 1
    subject.invite(alice, "charlie")
    path = f"{subject.path}/invitations"
    response = send(browser_of(alice), subject.roles_path, path, username="charlie", role="MEMBER")
    assert (response.status_code, "Retry-After" in response) == (429, True)
    assert notices(response.content.decode()) == [
        "alice has sent 1 invitations within a day; wait, or ask the operator."
    ]


def test_those_without_rank_invite_nobody(subject: Subject, bob: User, charlie: User) -> None:
    browser, path = browser_of(bob), f"{subject.path}/invitations"
    response = send(browser, "/account/name", path, username="charlie", role="MEMBER")
    assert (response.status_code, "You may not give or take a role" in response.content.decode()) == (403, True)
    for kept in (f"{subject.roles_path}/alice", f"{subject.roles_path}/nobody"):
        assert browser.get(kept, headers=PAGE).status_code == (403 if kept.endswith("alice") else 404)


# --- Change and remove -----------------------------------------------------------------------------------------------


def test_role_is_changed_and_removed(subject: Subject, alice: User) -> None:
    browser, path = browser_of(alice), f"{subject.roles_path}/bob"
    assert send(browser, path, path, role="READ_ONLY")["Location"] == subject.roles_path
    assert "bob is read only now." in page_of(browser, subject.roles_path)
    assert subject.roles()["bob"] == "READ_ONLY"
    assert send(browser, path, path, remove="1")["Location"] == subject.roles_path
    assert subject.roles() == {"alice": "OWNER"}


def test_last_owner_cannot_go(subject: Subject, alice: User) -> None:
    browser, path = browser_of(alice), f"{subject.roles_path}/alice"
    sentence = f"{subject.row} would be left without an owner; make somebody else one first."
    changed = send(browser, path, path, role="MEMBER")
    assert (error_of(changed, "role"), changed.status_code) == (sentence, 409)
    assert '<option value="MEMBER" selected>' in changed.content.decode()
    left = send(browser, path, path, remove="1")
    assert notices(left.content.decode()) == [sentence]
    assert subject.roles()["alice"] == "OWNER"


def test_who_leaves_needs_no_rank(subject: Subject, bob: User) -> None:
    browser, path = browser_of(bob), f"{subject.roles_path}/bob"
    assert "<select" not in page_of(browser, path)
    assert send(browser, path, path, role="OWNER").status_code == 403
    assert send(browser, path, path, remove="1")["Location"] == "/account/namespaces"
    assert f"You have left {subject.row}." in page_of(browser, "/account/namespaces")
    assert "bob" not in subject.roles()


def test_roles_change_behind_a_fresh_proof(subject: Subject, alice: User, charlie: User) -> None:
    browser, role_path = browser_of(alice), f"{subject.roles_path}/bob"
    add_app(alice)
    Credential.objects.update(proven_at=timezone.now() - timedelta(hours=1))
    assert browser.get(role_path, headers=PAGE)["Location"].startswith("/account/confirm?next=%2Fnamespaces")
    for path, fields in (
        (f"{subject.path}/invitations", {"username": "charlie", "role": "OWNER"}),
        (role_path, {"role": "OWNER"}),
        (role_path, {"remove": "1"}),
    ):
        response = send(browser, subject.roles_path, path, **fields)
        assert "Confirm that it is you" in notices(response.content.decode())[0], fields
    assert (subject.invited(), subject.roles()) == ({}, {"alice": "OWNER", "bob": "MEMBER"})


# --- Staff -----------------------------------------------------------------------------------------------------------


def test_administrator_manages_without_a_role(subject: Subject, root: User, charlie: User) -> None:
    browser, path = browser_of(root), f"{subject.path}/invitations"
    send(browser, subject.roles_path, path, username="charlie", role="OWNER")
    assert subject.invited() == {"charlie": "OWNER"}


def test_admin_site_lists_invitations(
    subject: Subject, alice: User, charlie: User, as_root: Client, django_assert_max_num_queries: Any
) -> None:
    label = subject.kind.invitations._meta.label_lower.replace(".", "_")
    row = subject.invite(alice, "charlie")
    with django_assert_max_num_queries(15):
        listed = as_root.get(reverse(f"admin:{label}_changelist")).content.decode()
    assert (str(subject.row) in listed, ">charlie<" in listed) == (True, True)
    assert as_root.get(reverse(f"admin:{label}_change", args=[row.pk])).status_code == 200


# --- One's own account -----------------------------------------------------------------------------------------------


def answer(browser: FormBrowser, invitation: RoleInvitation, answer: str, role: str = "MEMBER") -> Any:
    fields = {"kind": invitation.subject_field, "invitation": str(invitation.pk), "role": role, "answer": answer}
    return send(browser, "/account/name", "/account/invitations", **fields)


def test_invited_sees_and_accepts(subject: Subject, alice: User, charlie: User) -> None:
    invitation, browser = subject.invite(alice, "charlie"), browser_of(charlie)
    page = page_of(browser, "/account/invitations")
    assert re.search(
        rf"<h2>{subject.row} .*>alice</a> invites you.*{subject.kind.abilities[Role.MEMBER]}", page, re.DOTALL
    )
    assert str(subject.row) not in page_of(browser_of(alice), "/account/invitations")
    assert answer(browser, invitation, "accept")["Location"] == subject.path
    assert f"Your role in {subject.row} is member now." in page_of(browser, subject.path)
    assert subject.roles()["charlie"] == "MEMBER"
    assert str(subject.row) in page_of(browser, "/account/namespaces")


def test_invited_declines_by_button(subject: Subject, alice: User, charlie: User) -> None:
    invitation, browser = subject.invite(alice, "charlie"), browser_of(charlie)
    answer(browser, invitation, "decline")
    page = page_of(browser, "/account/invitations")
    assert f"You have declined the invitation to {subject.row}." in page
    assert "No invitation is open." in page


def test_refused_answers_say_why(subject: Subject, alice: User, charlie: User) -> None:
    invitation, browser = subject.invite(alice, "charlie"), browser_of(charlie)
    assert answer(browser, invitation, "accept", "OWNER")["Location"] == "/account/invitations"
    assert "The invitation is now for the role member: read it again." in page_of(browser, "/account/invitations")
    answer(browser, invitation, "perhaps")
    assert "This is no answer to an invitation." in page_of(browser, "/account/invitations")
    answer(browser_of(alice), invitation, "accept")
    assert "charlie" not in subject.roles()


def test_namespace_is_made_by_the_form(alice: User, bob: User) -> None:
    browser = browser_of(alice)
    for name, sentence in (("bob", "The name 'bob' is taken by a namespace or a user."), ("-x", "is not allowed")):
        response = browser.fill_in("/account/namespaces", namespace=name)
        assert sentence in error_of(response, "namespace")
        assert f'value="{name}"' in response.content.decode()
    assert browser.fill_in("/account/namespaces", namespace="acme")["Location"] == "/namespaces/acme"
    assert "The namespace acme is yours." in page_of(browser, "/namespaces/acme")


def test_long_lists_of_own_roles_have_pages(
    alice: User, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr("packages.own_roles.PAGE_SIZE", 2)
    for name in ("a", "b", "c"):
        membership.create_namespace(Principal(alice), name)
    browser = browser_of(alice)
    with django_assert_max_num_queries(13):
        assert ">b</a>" in page_of(browser, "/account/namespaces")
    page = page_of(browser, "/account/namespaces?page=2")
    assert (">c</a>" in page, ">a</a>" in page) == (True, False)
