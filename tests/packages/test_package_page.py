"""The pages of a package and a release in the admin site: each test is a task of staff."""

import pytest
from django.test import Client

from accounts import bans
from accounts.models import User
from namespaces.models import Namespace
from packages import releasing
from packages.models import Package, Release
from tests.support.browser import Browser


@pytest.fixture
def tool(browser: Browser) -> Package:
    """A package of alice's with two releases, of which a snapshot was replaced."""
    path = "/namespaces/alice/packages"
    first = {"version": "1.0.0", "field": "npm", "status": "SNAPSHOT", "description": "<b>"}
    assert browser.send("POST", path, package_name="tool", **first).status_code < 300
    assert browser.send("PUT", f"{path}/tool", version="1.0.0", description="<i>").status_code < 300
    return Package.objects.get()


def page_of(client: Client, row: Package | Release) -> str:
    response = client.get(f"/admin/packages/{row._meta.model_name}/{row.pk}/")
    assert response.status_code == 200
    return response.content.decode()


def test_see_who_may_publish_a_package(as_root: Client, tool: Package, alice: User, root: User) -> None:
    page = page_of(as_root, tool)
    assert ("In use, public." in page, f'href="/admin/accounts/user/{alice.pk}/"' in page) == (True, True)
    bans.ban(alice, actor=root)
    page = page_of(as_root, tool)
    assert ("No owner of its own has an open account" in page, "closed or banned" in page) == (True, True)


def test_see_why_a_package_is_hidden(as_root: Client, tool: Package, root: User) -> None:
    releasing.set_removed(tool, removed=True, actor=root)
    assert "Staff can restore it until" in page_of(as_root, tool)
    assert "Its package or its namespace is in the trash." in page_of(as_root, Release.objects.get())
    releasing.set_removed(tool, removed=False, actor=root)
    Namespace.objects.update(removed_at=tool.created_at)
    assert "Its namespace is in the trash, and it comes back with that." in page_of(as_root, tool)


def test_see_what_was_replaced_of_a_release(as_root: Client, tool: Package) -> None:
    release = Release.objects.get()
    assert f'href="/admin/packages/release/{release.pk}/"' in page_of(as_root, tool)
    page = page_of(as_root, release)
    assert "snapshot: may be replaced by a new one of the same version" in page
    assert ("&lt;i&gt;" in page, "<i>" in page, 'id="replaced-contents"' in page) == (True, False, True)
