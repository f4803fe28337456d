"""Pages of namespaces: packages as the viewer may see them, members, personal namespaces, and large ones."""

from typing import Any

import pytest
from django.test import Client

from accounts import registration
from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Membership, Role
from namespaces.role_assignments import NewRole
from packages import collaboration, release_input, releasing
from packages.models import PackageDownloads
from tests.support.authenticator_apps import add_app
from tests.support.browser import Browser

HTML = {"Accept": "text/html"}
MANY = 2000


def publish(principal: Principal, *names: str, namespace: str = "acme", kind: str = "PUBLIC") -> None:
    for name in names:
        content = release_input.ReleaseInput(version="1.0.0", type=kind, description=f"The {name}.")
        releasing.create_package(principal, namespace, name, "npm", content)


@pytest.fixture
def acme(alice: User, bob: User) -> Principal:
    """Alice, who owns `acme` with two public packages and a private one; bob is a member."""
    principal = Principal(alice)
    membership.create_namespace(principal, "acme")
    membership.add_members(principal, "acme", [NewRole("bob", Role.MEMBER)])
    publish(principal, "beta", "alpha")
    publish(principal, "gamma", kind="PRIVATE")
    return principal


def text_of(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path, headers=HTML)
    assert response.status_code == status, path
    return str(response.content.decode())


def listed(text: str) -> list[str]:
    names = ("alpha", "beta", "gamma")
    return sorted((name for name in names if f"/packages/{name}" in text), key=lambda name: text.index(f">{name}</a>"))


def test_page_lists_what_the_viewer_may_read(acme: Principal, client: Client, bob: User, charlie: User) -> None:
    collaboration.add_collaborators(acme, "acme", "gamma", [NewRole("charlie", Role.READ_ONLY)])
    viewers = {"anonymous": client, "member": Browser(bob), "guest": Browser(charlie), "owner": Browser(acme.user)}
    public, all_three = ["alpha", "beta"], ["alpha", "beta", "gamma"]
    assert {name: listed(text_of(viewer, "/namespaces/acme")) for name, viewer in viewers.items()} == {
        "anonymous": public,
        "member": public,
        "guest": all_three,
        "owner": all_three,
    }
    assert "2 packages" in text_of(client, "/namespaces/acme")


def test_packages_have_several_orders(acme: Principal, client: Client) -> None:
    PackageDownloads.objects.filter(package__name="beta").update(total=7)
    orders = {sort: listed(text_of(client, f"/namespaces/acme?sort={sort}")) for sort in ("name", "new", "downloads")}
    assert orders == {"name": ["alpha", "beta"], "new": ["alpha", "beta"], "downloads": ["beta", "alpha"]}
    publish(acme, "delta")
    assert "/delta" in text_of(client, "/namespaces/acme?sort=updated").partition("alpha")[0]


def test_members_are_those_of_the_api(acme: Principal, client: Client) -> None:
    text = text_of(client, "/namespaces/acme")
    roles = [(name, f'href="/people/{name}">{name}</a> <span class="muted">{role}') for name, role in MEMBERS]
    assert [name for name, part in roles if part not in text] == []
    assert "example.com" not in text


MEMBERS = (("alice", "owner"), ("bob", "member"))


def test_personal_namespace_says_whose_it_is(acme: Principal, client: Client) -> None:
    publish(acme, "beta", namespace="alice")
    publish(acme, "gamma", namespace="alice", kind="PRIVATE")
    text = text_of(client, "/namespaces/alice")
    assert 'The personal namespace of <a href="/people/alice">alice</a>.' in text
    assert (listed(text), "Members" in text) == (["beta"], False)
    assert client.get("/namespaces/alice").status_code == 404  # the API knows shared ones only


def test_publishers_see_lines_to_publish(acme: Principal, client: Client, bob: User, charlie: User) -> None:
    for viewer in (client, Browser(charlie)):
        assert "Publish a package" not in text_of(viewer, "/namespaces/acme")
    assert "X-OTP" not in text_of(Browser(bob), "/namespaces/acme")
    add_app(bob)
    text = text_of(Browser(bob), "/namespaces/acme")
    assert "-H &#x27;X-OTP: CODE&#x27;" in text
    assert "http://testserver/namespaces/acme/packages" in text


def test_missing_namespace_has_a_page(acme: Principal, client: Client) -> None:
    assert "There is no such namespace." in text_of(client, "/namespaces/none", 404)
    membership.remove_namespace(acme, "acme")
    assert "There is no such namespace." in text_of(client, "/namespaces/acme", 404)
    assert text_of(client, "/namespaces/alice?page=2", 404)


def test_person_has_packages_and_namespaces(acme: Principal, client: Client, bob: User) -> None:
    membership.create_namespace(acme, "hidden")
    publish(acme, "secret", namespace="hidden", kind="PRIVATE")
    membership.add_members(acme, "hidden", [NewRole("bob", Role.READ_ONLY)])
    way = '<a href="/namespaces/{}">'
    for viewer, expected in ((client, ["acme"]), (Browser(bob), ["acme", "hidden"])):
        text = text_of(viewer, "/people/alice")
        assert [name for name in ("acme", "hidden", "alice") if way.format(name) in text] == expected
    assert "/namespaces/acme/packages/beta" in text_of(client, "/people/alice")


def test_large_namespace_takes_few_queries(acme: Principal, django_assert_max_num_queries: Any) -> None:
    namespace = membership.get_namespace("acme")
    users = [registration.register(f"user{number}", None) for number in range(20)]
    publish(acme, *(f"part-{number:02}" for number in range(25)))
    Membership.objects.bulk_create(Membership(namespace=namespace, user=user) for user in users)
    browser = Browser(acme.user)
    for path in ("/namespaces/acme", "/namespaces/acme?page=2&sort=downloads"):
        with django_assert_max_num_queries(13):
            text = text_of(browser, path)
        assert "All members" in text
    assert "part-24" in text_of(browser, "/namespaces/acme?page=2")
