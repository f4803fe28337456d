"""The page of a namespace in the admin site: each test is a task of staff."""

from uuid import uuid4

from django.test import Client

from accounts import bans
from accounts.models import NameReservation, User
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
    assert ("In use." in page, ">owner</a>" in page, ">root</a>" in page) == (True, True, True)
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


def act(client: Client, model: str, name: str, row: Namespace | Membership, **fields: str) -> str:
    data = {"pk": str(row.pk), "run": str(uuid4()), "reason": "", **fields}
    return client.post(f"/admin/namespaces/{model}/act/{name}/", data, follow=True).content.decode()


def test_change_members_of_a_large_namespace(as_root: Client, alice: User, bob: User, charlie: User) -> None:
    namespace = membership.create_namespace(Principal(alice), "harbour")
    page = page_of(as_root, namespace)
    assert (f"act/give_role/?pk={namespace.pk}" in page, f"membership/?namespace={namespace.pk}" in page) == (
        True,
        True,
    )
    act(as_root, "namespace", "give_role", namespace, user="bob", role="MEMBER")
    act(as_root, "namespace", "give_role", namespace, user="charlie", role="MANAGER")
    rows = {row.user: row for row in Membership.objects.filter(namespace=namespace).select_related("user")}
    act(as_root, "membership", "change_role", rows[bob], role="OWNER")
    act(as_root, "membership", "remove", rows[charlie])
    roles = Membership.objects.filter(namespace=namespace).values_list("user__username", "role")
    assert dict(roles) == {"alice": "OWNER", "bob": "OWNER"}


def test_last_owner_stays_by_actions_too(as_root: Client, alice: User) -> None:
    namespace = membership.create_namespace(Principal(alice), "harbour")
    row = Membership.objects.get(namespace=namespace)
    for name, fields in (("remove", {}), ("change_role", {"role": "MEMBER"})):
        assert "would be left without an owner" in act(as_root, "membership", name, row, **fields), name
    assert Membership.objects.get(namespace=namespace).role == Role.OWNER


def test_form_has_no_room_for_many_members(as_root: Client, alice: User) -> None:
    namespace = membership.create_namespace(Principal(alice), "harbour")
    form = f"{LIST}{namespace.pk}/change/"
    assert 'name="memberships-0-role"' in as_root.get(form).content.decode()
    reservations = NameReservation.objects.bulk_create(
        NameReservation(name=f"u{number}", skeleton=f"u{number}") for number in range(60)
    )
    users = User.objects.bulk_create(User(username=row.name, reservation=row) for row in reservations)
    Membership.objects.bulk_create(Membership(namespace=namespace, user=user) for user in users)
    assert 'name="memberships-0-role"' not in as_root.get(form).content.decode()
    page = page_of(as_root, namespace)
    assert ("Only the first 10 are shown." in page, ">61</dd>" in page) == (True, True)
