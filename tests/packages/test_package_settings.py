"""Pages by which those with a role edit a package and put it into the trash."""

from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from accounts import registration
from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Role
from namespaces.role_assignments import NewRole
from packages import collaboration, release_input, releasing
from packages.models import Package, Release
from tests.support.browser import Browser
from tests.support.cast import PASSWORD

HTML = {"Accept": "text/html"}
TOOL = "/namespaces/acme/packages/tool"
SETTINGS, REMOVE = f"{TOOL}/settings", f"{TOOL}/remove"


@pytest.fixture
def tool(alice: User) -> Package:
    """A package of alice's namespace `acme`, with a snapshot."""
    principal = Principal(alice)
    membership.create_namespace(principal, "acme")
    content = release_input.ReleaseInput(version="1.0.0", description="A tool.", keywords=["a"])
    return releasing.create_package(principal, "acme", "tool", "npm", content).package


def fields(package: Package, **changes: str) -> dict[str, str]:
    package.refresh_from_db()
    same = {"type": "PUBLIC", "promise": "SNAPSHOT", "description": "A tool.", "keywords": "a"}
    return {"shown": str(package.newest_id), **same, **changes}


def post(browser: Client, path: str, data: dict[str, str] | None = None) -> Any:
    """Send a form as the page does, which has been opened before."""
    browser.get(path, headers=HTML)
    token = browser.cookies["csrftoken"].value if "csrftoken" in browser.cookies else ""
    return browser.post(path, {**(data or {}), "csrfmiddlewaretoken": token}, headers=HTML)


def newest(package: Package) -> Release:
    package.refresh_from_db()
    assert package.newest is not None
    return package.newest


def test_only_rights_lead_to_the_forms(tool: Package, alice: User, client: Client) -> None:
    roles = {"managing": Role.MANAGER, "writing": Role.MEMBER, "reading": Role.READ_ONLY}
    users = {name: registration.register(name, PASSWORD) for name in (*roles, "stranger")}
    guests = [NewRole(name, role) for name, role in roles.items()]
    collaboration.add_collaborators(Principal(alice), "acme", "tool", guests)
    users["owner"] = alice
    browsers = {name: Browser(user) for name, user in users.items()}
    statuses = {
        name: tuple(browser.get(path, headers=HTML).status_code for path in (SETTINGS, REMOVE))
        for name, browser in browsers.items()
    }
    assert statuses == {
        "owner": (200, 200),
        "managing": (200, 403),
        "writing": (200, 403),
        "reading": (403, 403),
        "stranger": (403, 403),
    }
    links = {name: SETTINGS in browser.get(TOOL, headers=HTML).content.decode() for name, browser in browsers.items()}
    assert links == {"owner": True, "managing": True, "writing": True, "reading": False, "stranger": False}
    assert client.get(SETTINGS, headers=HTML).headers["Location"] == f"/sign-in?next={SETTINGS.replace('/', '%2F')}"
    assert browsers["stranger"].get("/namespaces/acme/packages/none/settings", headers=HTML).status_code == 404


def test_snapshot_is_edited(tool: Package, alice: User) -> None:
    change = fields(tool, type="PRIVATE", description="Two\r\nlines", keywords="b, c,,")
    response = post(Browser(alice), SETTINGS, change)
    assert (response.status_code, response.headers["Location"]) == (302, TOOL)
    release = newest(tool)
    assert (tool.type, release.description, release.keywords) == ("PRIVATE", "Two\nlines", ["b", "c"])


def test_member_who_hides_a_package_is_led_on(tool: Package, bob: User) -> None:
    """A member of the namespace publishes public packages, and reads no private one without a role in it."""
    membership.add_members(Principal(tool.namespace.memberships.get().user), "acme", [NewRole("bob", Role.MEMBER)])
    response = post(Browser(bob), SETTINGS, fields(tool, type="PRIVATE"))
    assert (response.status_code, response.headers["Location"]) == (302, "/namespaces/acme")


def test_release_keeps_its_content(tool: Package, alice: User) -> None:
    browser = Browser(alice)
    assert post(browser, SETTINGS, fields(tool, promise="RELEASE")).status_code == 302
    text = browser.get(SETTINGS, headers=HTML).content.decode()
    assert "This version was released" in text
    assert not any(part in text for part in ('id="id_description"', "SNAPSHOT"))
    assert post(browser, SETTINGS, fields(tool, promise="DEPRECATED", description="Other.")).status_code == 302
    assert (newest(tool).status, newest(tool).description) == ("DEPRECATED", "A tool.")
    assert post(browser, SETTINGS, fields(tool, promise="SNAPSHOT")).status_code == 400


def test_refusals_stand_at_their_fields(tool: Package, alice: User) -> None:
    response = post(Browser(alice), SETTINGS, fields(tool, keywords="x" * 51, description="Typed <here>."))
    text = response.content.decode()
    assert response.status_code == 400
    assert "At most 20 keywords" in text.partition('id="id_keywords_error"')[2]
    assert "Typed &lt;here&gt;." in text


def test_version_published_meanwhile_is_not_changed(tool: Package, alice: User) -> None:
    former = fields(tool, description="For 1.0.0.")
    releasing.publish_release(Principal(alice), "acme", "tool", release_input.ReleaseInput(version="1.1.0"))
    response = post(Browser(alice), SETTINGS, former)
    assert (response.status_code, "published meanwhile" in response.content.decode()) == (409, True)
    assert newest(tool).description == "A tool."


def test_package_goes_into_the_trash(tool: Package, alice: User) -> None:
    browser = Browser(alice)
    assert f"within {settings.TRASH_DAYS} days" in browser.get(REMOVE, headers=HTML).content.decode()
    response = post(browser, REMOVE)
    assert (response.status_code, response.headers["Location"]) == (302, "/namespaces/acme")
    assert "acme/tool is in the trash." in browser.get("/namespaces/acme", headers=HTML).content.decode()
    assert browser.get(TOOL, headers=HTML).status_code == 404
    tool.refresh_from_db()
    assert tool.removed_at is not None


def test_forms_of_other_sites_change_nothing(tool: Package, alice: User) -> None:
    browser = Browser(alice)
    for path, data in ((SETTINGS, fields(tool, type="PRIVATE")), (REMOVE, {})):
        response = browser.post(path, data, headers={**HTML, "Origin": "https://elsewhere.example"})
        assert response.status_code == 403
    tool.refresh_from_db()
    assert (tool.type, tool.removed_at) == ("PUBLIC", None)
