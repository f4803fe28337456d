"""Pages of packages: what they show, to whom, and at which addresses; machines get the JSON of before."""

import re
from io import BytesIO
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import bans, registration
from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Role
from namespaces.role_assignments import NewRole
from packages import collaboration, release_input, releasing
from tests.support.app_keys import issue_key, sign_request
from tests.support.browser import Browser
from tests.support.cast import PASSWORD
from tests.support.headers import comparable_headers
from tests.support.package_archives import pack_tgz

HTML = {"Accept": "text/html,application/xhtml+xml"}
NS = "/namespaces/Acme"
TOOL, SECRET = f"{NS}/packages/Tool", f"{NS}/packages/Secret"
ACCEPTS_OF_MACHINES = (
    "*/*",
    "application/json",
    "application/json, text/plain, */*",
    "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",  # Java, until it is told better
    "text/html, image/gif, image/jpeg, */*; q=0.2",
)
CSRF_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')
ATOM = "{http://www.w3.org/2005/Atom}"
PARTS = ("", "/versions", "/dependencies", "/files", "/versions/1.0.0", "/versions/1.0.0/files", "/feed.atom")


def publish(
    principal: Principal, name: str, version: str = "1.0.0", field: str = "npm", namespace: str = "Acme", **more: Any
) -> None:
    archive = pack_tgz({"package/package.json": f'{{"name": "{name}", "version": "{version}"}}'})
    content = release_input.ReleaseInput(
        version=version, archive=release_input.Upload(BytesIO(archive), len(archive)), **more
    )
    releasing.create_package(principal, namespace, name, field, content)


def publish_again(principal: Principal, name: str, version: str, **more: Any) -> None:
    releasing.publish_release(principal, "Acme", name, release_input.ReleaseInput(version=version, **more))


@pytest.fixture
def acme(alice: User, bob: User) -> Principal:
    """Alice, who owns `Acme` with a public and a private package; bob is a member."""
    principal = Principal(alice)
    membership.create_namespace(principal, "Acme")
    membership.add_members(principal, "Acme", [NewRole("bob", Role.MEMBER)])
    needs = [release_input.Dependency(name="left-<pad>", version=">=1 <2")]
    publish(principal, "Tool", dependencies=needs, description="A <b>tool</b>.", keywords=["a&b"], status="RELEASE")
    publish(principal, "Secret", type="PRIVATE")
    return principal


def text_of(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path, headers=HTML)
    assert response.status_code == status, path
    return str(response.content.decode())


def test_page_shows_what_a_reader_needs(acme: Principal, client: Client) -> None:
    text = text_of(client, TOOL)
    parts = (
        '<h1 class="crate-name">Tool <span class="number">1.0.0</span>',
        "A &lt;b&gt;tool&lt;/b&gt;.",
        'href="/search?source=packages&amp;q=a%26b"',
        f'<a href="{NS}">Acme</a>',
        f'<a href="{TOOL}/versions/1.0.0/download">Tool-1.0.0.tgz</a>',
        f"curl -fLOJ http://testserver{TOOL}/versions/1.0.0/download",
        "Tool-1.0.0.tgz&#x27; | sha256sum -c",
        f"npm install http://testserver{TOOL}/versions/1.0.0/download",
        "left-&lt;pad&gt;",
        "&gt;=1 &lt;2",
        '<a href="/people/alice">alice</a>',
    )
    assert [part for part in parts if part not in text] == []
    assert "package/package.json" in text_of(client, f"{TOOL}/files")


def test_state_of_a_version_is_plain(acme: Principal, client: Client) -> None:
    publish_again(acme, "Tool", "1.1.0", status="SNAPSHOT")
    assert f'A newer version exists: <a href="{TOOL}">1.1.0</a>.' in text_of(client, f"{TOOL}/versions/1.0.0")
    text = text_of(client, TOOL)
    assert "it may be replaced" in text
    assert "has no archive" in text
    rows = text_of(client, f"{TOOL}/versions")
    assert rows.index(">1.1.0</a>") < rows.index(">1.0.0</a>")
    releasing.edit_package(acme, "Acme", "Tool", release_input.ReleaseEdit(status="DEPRECATED"))
    assert "should not be used any more" in text_of(client, TOOL)


def test_collaborators_are_for_signed_in_viewers(acme: Principal, client: Client, charlie: User) -> None:
    assert "Collaborators" not in text_of(client, TOOL)
    assert "Collaborators" in text_of(Browser(charlie), TOOL)


# --- Who sees what ---------------------------------------------------------------------------------------------------


def test_private_pages_follow_the_rule_of_the_api(
    acme: Principal, client: Client, bob: User, charlie: User, root: User
) -> None:
    collaboration.add_collaborators(acme, "Acme", "Secret", [NewRole("charlie", Role.READ_ONLY)])
    stranger, banned = (registration.register(name, PASSWORD) for name in ("dora", "erin"))
    collaboration.add_collaborators(acme, "Acme", "Secret", [NewRole("erin", Role.OWNER)])
    browsers = {
        "anonymous": client,
        "stranger": Browser(stranger),
        "member": Browser(bob),
        "owner of the namespace": Browser(acme.user),
        "collaborator": Browser(charlie),
        "administrator": Browser(root),
        "banned": Browser(banned),
        "app key alone": Client(headers={"Token": sign_request(issue_key(acme.user, "ALL"), b"")}),
    }
    bans.ban(banned, actor=None)
    readers = {"owner of the namespace", "collaborator", "administrator"}
    for name, browser in browsers.items():
        for part in PARTS:
            answers = {path: browser.get(path + part, headers=HTML).status_code for path in (TOOL, SECRET)}
            assert answers == {TOOL: 200, SECRET: 200 if name in readers else 404}, (name, part)


def test_private_package_looks_as_if_absent(acme: Principal, client: Client, charlie: User) -> None:
    for browser in (client, Browser(charlie)):
        for part in (*PARTS, "/versions/9.9.9"):
            answers = []
            for name in ("Secret", "Absent"):
                with CaptureQueriesContext(connection) as queries:
                    response = browser.get(f"{NS}/packages/{name}{part}", headers=HTML)
                text = CSRF_TOKEN.sub("", response.content.decode()).replace(name, "NAME")
                answers.append((response.status_code, text, len(queries), comparable_headers(response)))
            assert answers[0] == answers[1], part
            assert answers[0][0] == 404


def test_readers_sign_in_where_that_is_required(acme: Principal, client: Client, settings: Any) -> None:
    settings.AUTH_REQUIRED = True
    for path in (NS, f"{NS}/packages", *(path + part for path in (TOOL, SECRET, f"{TOOL}x") for part in PARTS)):
        location = client.get(path, headers=HTML).headers.get("Location", "")
        assert location == f"/sign-in?next={quote(path, safe='')}", path
    text = text_of(Browser(acme.user), TOOL)
    assert "curl -f -c cookies" in text
    assert "&quot;username&quot;: &quot;alice&quot;" in text
    assert "npm install" not in text


# --- Addresses -------------------------------------------------------------------------------------------------------


def test_other_spellings_lead_to_the_page(acme: Principal, client: Client) -> None:
    publish(acme, "@Scope/name")
    publish(acme, "数据库", "1:2.3-1 50%?#", field="debian")
    publish(acme, "Gänse++", "v1", field="debian")
    database = f"{NS}/packages/{quote('数据库')}"
    odd = f"{database}/versions/1:2.3-1%2050%25%3F%23"
    locations = {
        "/namespace/Acme": NS,
        "/namespaces/ACME?sort=new": f"{NS}?sort=new",
        f"{NS}/packages": NS,
        f"{NS}/": NS,
        "/namespace/acme/packages/tool": "/namespaces/acme/packages/tool",
        "/namespaces/acme/packages/tool": TOOL,
        f"{NS}/packages/TOOL/versions?page=1": f"{TOOL}/versions?page=1",
        f"{TOOL}/": TOOL,
        f"{NS}/packages/@scope/NAME": f"{NS}/packages/@Scope/name",
        f"{NS}/packages/@scope%2FNAME/files": f"{NS}/packages/@Scope/name/files",
        f"{NS}/packages/@Scope%2Fname": None,
        database: None,
        odd: None,
        f"{odd}/files": None,
        f"{NS}/packages/{quote('GÄNSE++')}": f"{NS}/packages/{quote('Gänse')}++",
        f"{NS}/packages/{quote('Gänse')}++/versions/v1": None,
        "/packages?query=two words&page=2": "/search?q=two+words&source=packages&page=2",
        "/packages": "/search?source=packages",
        "/namespaces": "/search?source=namespaces",
    }
    answers = {path: client.get(path, headers=HTML) for path in locations}
    wrong = {
        path: (response.status_code, response.headers.get("Location"))
        for path, response in answers.items()
        if response.headers.get("Location") != locations[path]
        or (locations[path] is None and response.status_code != 200)
    }
    assert wrong == {}
    text_of(client, f"{TOOL}/versions/1.0.0+build/files", 404)  # which is another version
    assert f'href="{odd}/download"' in text_of(client, odd).replace("&amp;", "&").replace("&#x27;", "'")


def test_pages_behind_the_last_are_missing(acme: Principal, client: Client) -> None:
    for part in ("/versions", "/dependencies", "/files"):
        assert text_of(client, f"{TOOL}{part}?page=2", 404)
        assert text_of(client, f"{TOOL}{part}?page=x", 400)


# --- Machines --------------------------------------------------------------------------------------------------------


def test_machines_get_the_json_of_before(acme: Principal, client: Client) -> None:
    paths = (NS, f"{NS}/packages", TOOL, f"{TOOL}/versions", f"{TOOL}/versions/1.0.0", "/packages?query=tool", SECRET)
    for path in paths:
        for spelling in (path, path.replace("/namespaces/", "/namespace/")):
            accepts: tuple[dict[str, str], ...] = ({}, *({"Accept": accept} for accept in ACCEPTS_OF_MACHINES))
            answers = [client.get(spelling, headers=accept) for accept in accepts]
            assert {answer.headers["Content-Type"] for answer in answers} == {"application/json"}, spelling
            assert len({answer.content.replace(b"/namespace/", b"/namespaces/") for answer in answers}) == 1
    assert client.get(TOOL).json()["package_name"] == "Tool"
    assert client.get(SECRET).json() == {
        "error": "package_missing",
        "message": "There is no package Acme/Secret.",
    }


def test_archive_is_no_page(acme: Principal, client: Client) -> None:
    response = client.get(f"{TOOL}/versions/1.0.0/download", headers=HTML)
    assert (response.headers["Content-Type"], response.getvalue()[:2]) == ("application/octet-stream", b"\x1f\x8b")


def test_agents_get_markdown(acme: Principal, client: Client) -> None:
    for path in (TOOL, f"{TOOL}/versions/1.0.0"):
        response = client.get(path, headers={"Accept": "text/markdown"})
        text = response.content.decode()
        assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert text.startswith("# Acme/Tool 1.0.0\n\nA <b>tool</b>.")
        assert f"curl -fLOJ http://testserver{TOOL}/versions/1.0.0/download" in text
    assert client.get(SECRET, headers={"Accept": "text/markdown"}).status_code == 404


def test_feed_has_the_latest_versions(acme: Principal, client: Client) -> None:
    publish_again(acme, "Tool", "1.1.0")
    response = client.get(f"{TOOL}/feed.atom")
    feed = ElementTree.fromstring(response.content)
    entries = [entry.findtext(f"{ATOM}id") for entry in feed.iter(f"{ATOM}entry")]
    assert entries == [f"http://testserver{TOOL}/versions/{number}" for number in ("1.1.0", "1.0.0")]
    headers = {"If-None-Match": response.headers["ETag"]}
    assert client.get(f"{TOOL}/feed.atom", headers=headers).status_code == 304


# --- Size ------------------------------------------------------------------------------------------------------------


def test_large_package_takes_few_queries(acme: Principal, alice: User, django_assert_max_num_queries: Any) -> None:
    needs = [release_input.Dependency(name=f"part-{number}", version="*") for number in range(1000)]
    publish_again(acme, "Secret", "1.1.0", dependencies=needs)
    for number in range(60):
        publish_again(acme, "Secret", f"1.0.{number + 1}")
        registration.register(f"user{number}", None)
    collaboration.add_collaborators(
        acme, "Acme", "Secret", [NewRole(f"user{number}", Role.MEMBER) for number in range(50)]
    )
    browser = Browser(alice)
    for part in PARTS:
        with django_assert_max_num_queries(13):
            browser.get(SECRET + part, headers=HTML)
    assert text_of(browser, f"{SECRET}/dependencies").count("part-") == 100
    assert "?page=2" in text_of(browser, f"{SECRET}/versions")
