"""The page of a namespace in the admin site: each test is a task of staff."""

from django.test import Client

from accounts import bans
from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Membership, Namespace, Role
from registry_site.models import AuditEvent
from tests.support.admin import FormFields

LIST = "/admin/namespaces/namespace/"


def page_of(client: Client, namespace: Namespace) -> str:
    response = client.get(f"{LIST}{namespace.pk}/")
    assert response.status_code == 200
    return response.content.decode()


def create(client: Client, name: str, owner: str) -> str:
    fields = FormFields(client.get(f"{LIST}add/").content.decode()).values
    return client.post(f"{LIST}add/", {**fields, "name": name, "owner": owner}, follow=True).content.decode()


def test_create_a_namespace_for_a_team(as_root: Client, root: User, alice: User) -> None:
    page = create(as_root, "harbour", "ALICE")
    assert ("In use." in page, ">owner</td>" in page, ">root</a>" in page) == (True, True, True)
    member = Membership.objects.get(namespace__name="harbour")
    assert (member.user, member.role, member.added_by) == (alice, Role.OWNER, root)
    event = AuditEvent.objects.get(action="namespace.create")
    assert (event.actor, event.detail) == (root, {"owner": "alice"})


def test_refused_namespace_keeps_its_form(as_root: Client, alice: User, bob: User, root: User) -> None:
    bans.ban(bob, actor=root)
    refusals = (
        ("harbour", "nobody", "There is no account nobody."),
        ("harbour", "bob", "There is no open account &#x27;bob&#x27;."),
        ("-", "alice", "The namespace &#x27;-&#x27; is not allowed"),
        ("alice", "alice", "is taken by a namespace or a user"),
    )
    for name, owner, message in refusals:
        page = create(as_root, name, owner)
        assert (message in page, f'value="{name}"' in page) == (True, True), (name, owner)
    assert not Namespace.objects.filter(user=None).exists()


def test_see_that_a_namespace_has_no_owner(as_root: Client, alice: User, root: User) -> None:
    namespace = membership.create_namespace(Principal(alice), "harbour")
    bans.ban(alice, actor=root)
    page = page_of(as_root, namespace)
    assert ("No owner has an open account" in page, "closed or banned" in page) == (True, True)
    membership.set_removed(namespace, removed=True, actor=root)
    assert "Staff can restore it until" in page_of(as_root, namespace)


def test_page_of_a_personal_namespace_names_its_user(as_root: Client, alice: User) -> None:
    page = page_of(as_root, Namespace.objects.get(user=alice))
    assert (">personal</dd>" in page, f'href="/admin/accounts/user/{alice.pk}/"' in page) == (True, True)
