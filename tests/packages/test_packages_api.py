"""yapkg-backend's endpoints for packages and collaborators, called as its clients do."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import bans, registration
from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Membership, Role
from namespaces.role_assignments import NewRole
from packages import release_input, releasing
from packages.models import Collaboration, Package, Release
from tests.support.browser import ALL_METHODS, ANONYMOUS, BAD_BODIES, NO_PATH, OK, WRONG_TEXTS, Browser
from tests.support.cast import PASSWORD
from tests.support.headers import comparable_headers
from tests.support.roles import BAD_ROLES, NAMES_WITHOUT_ROLE, assert_refused, collaborators_of

NS = "/namespaces/acme/packages"
TOOL = f"{NS}/tool"
SECRET = f"{NS}/secret"
MANY = 100
DEPENDENCIES = [{"name": "acme/parser", "version": "^1.0"}]
DEV_DEPENDENCIES = [{"name": "junit", "version": ">=4 <6"}, {"name": "acme/lint", "version": "*"}]
RELEASE: dict[str, Any] = {
    "version": "1.0.0",
    "dependencies": DEPENDENCIES,
    "dev_dependencies": DEV_DEPENDENCIES,
    "status": "RELEASE",
    "type": "PUBLIC",
}
CREATION: dict[str, Any] = {**RELEASE, "package_name": "tool", "field": "npm", "description": "this is a package"}
NO_TOOL = {"error": "package_missing", "message": "There is no package acme/tool."}


@pytest.fixture
def acme(alice: User) -> Principal:
    """The principal of alice, who owns the namespace `acme`."""
    principal = Principal(alice)
    membership.create_namespace(principal, "acme")
    return principal


@pytest.fixture
def browser(alice: User, acme: Principal) -> Browser:
    """A browser in which alice is signed in."""
    return Browser(alice)


def create_package(principal: Principal, name: str, kind: str = "PUBLIC", namespace: str = "acme") -> Package:
    """Create a package with a snapshot 1.0.0."""
    content = release_input.ReleaseInput(version="1.0.0", type=kind, description=f"The {name}.")
    return releasing.create_package(principal, namespace, name, "npm", content).package


@pytest.fixture
def tool(acme: Principal) -> Package:
    return create_package(acme, "tool")


@pytest.fixture
def secret(acme: Principal) -> Package:
    return create_package(acme, "secret", "PRIVATE")


def full(name: str = "tool", **changes: Any) -> dict[str, Any]:
    """Return the document's full form of a package, with ids and date from the rows."""
    package = Package.objects.select_related("namespace").get(name=name)
    return {
        "package_id": str(package.pk),
        "package_name": name,
        "namespace_id": str(package.namespace_id),
        "namespace": package.namespace.name,
        "version": "1.0.0",
        "field": "npm",
        "dependencies": DEPENDENCIES,
        "dev_dependencies": DEV_DEPENDENCIES,
        "status": "RELEASE",
        "publisher_id": str(User.objects.get(username="alice").pk),
        "publisher": "alice",
        "type": "PUBLIC",
        "description": "this is a package",
        "keywords": [],
        "last_updated": f"{package.updated_at:%Y-%m-%d}",
        **changes,
    }


BRIEF = (
    "package_name",
    "package_id",
    "namespace_id",
    "namespace",
    "version",
    "field",
    "publisher_id",
    "publisher",
    "description",
    "last_updated",
)


def brief(name: str = "tool", **changes: Any) -> dict[str, Any]:
    """Return the document's brief form of a package."""
    return {key: full(name, description=f"The {name}.", **changes)[key] for key in BRIEF}


def omit(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}


# --- POST /namespaces/{namespace}/packages ---------------------------------------------------------------------------


def test_created_package_has_full_form(browser: Browser) -> None:
    response = browser.send("POST", NS, **CREATION)
    assert (response.status_code, response.json()) == (200, full())


def test_ids_are_texts_and_date_is_a_day(browser: Browser) -> None:
    package = browser.send("POST", NS, **CREATION).json()
    assert all(re.fullmatch(r"[1-9][0-9]*", package[key]) for key in ("package_id", "namespace_id", "publisher_id"))
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", package["last_updated"])


def test_optional_fields_have_documented_defaults(browser: Browser) -> None:
    response = browser.send("POST", NS, package_name="tool", version="1.0.0", field="npm")
    defaults: dict[str, Any] = {"dependencies": [], "dev_dependencies": [], "description": "", "status": "SNAPSHOT"}
    assert (response.status_code, response.json()) == (200, full(**defaults))


def test_creator_becomes_owner(browser: Browser, alice: User) -> None:
    browser.send("POST", NS, **CREATION)
    assert [(row.user, row.role) for row in Collaboration.objects.all()] == [(alice, "OWNER")]


def test_package_in_personal_namespace(browser: Browser) -> None:
    response = browser.send("POST", "/namespaces/alice/packages", **CREATION)
    assert (response.status_code, response.json()) == (200, full())
    assert response.json()["namespace"] == "alice"


def test_name_is_free_in_another_namespace(browser: Browser, tool: Package) -> None:
    assert browser.send("POST", "/namespaces/alice/packages", **CREATION).status_code == 200


def test_taken_name_is_refused_in_any_case(browser: Browser, tool: Package) -> None:
    for name in ("tool", "TOOL", "Tool"):
        response = browser.send("POST", NS, **{**CREATION, "package_name": name})
        message = f"acme has a package {name!r} already, perhaps in the trash."
        assert_refused(response, 400, "name_taken", message)


def test_unknown_namespace_is_a_bad_request(browser: Browser) -> None:
    for prefix in ("namespace", "namespaces"):
        response = browser.send("POST", f"/{prefix}/none/packages", **CREATION)
        assert_refused(response, 400, "namespace_missing", "There is no namespace 'none'.")


def test_name_version_and_field_are_required(browser: Browser) -> None:
    for field in ("package_name", "version", "field"):
        response = browser.send("POST", NS, **omit(CREATION, field))
        assert_refused(response, 400, "malformed", f"{field}: This field is required.")


def test_values_that_are_no_texts_are_refused(browser: Browser) -> None:
    for field in ("package_name", "version", "field", "status", "type"):
        for value, reason in WRONG_TEXTS:
            response = browser.send("POST", NS, **{**CREATION, field: value})
            assert_refused(response, 400, "malformed", f"{field}: {reason}")
    assert not Package.objects.exists()


def test_description_is_a_text_or_empty(browser: Browser) -> None:
    values: list[Any] = [None, 7, [], ""]
    answers = [browser.send("POST", NS, **{**CREATION, "description": value}) for value in values]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 200]


BAD_VALUES = (
    ("package_name", "x" * 215, "name_invalid"),
    ("package_name", "../x", "name_invalid"),
    ("package_name", "x y", "name_invalid"),
    ("package_name", "x" * 300, "malformed"),
    ("version", "1.0", "invalid"),
    ("version", "v1.0.0", "invalid"),
    ("version", "01.0.0", "invalid"),
    ("version", "1.0.0-", "invalid"),
    ("version", f"1.0.0-{'x' * 122}", "version_invalid"),
    ("field", " ", "field_invalid"),
    ("field", "x" * 64, "field_invalid"),
    ("field", "ja\nva", "field_invalid"),
    ("status", "release", "status_invalid"),
    ("status", "DEPRECATED", "status_invalid"),
    ("type", "public", "type_invalid"),
    ("type", "SECRET", "type_invalid"),
    ("description", "x" * 1001, "description_invalid"),
)


def test_bad_values_are_refused(browser: Browser) -> None:
    for field, value, code in BAD_VALUES:
        response = browser.send("POST", NS, **{**CREATION, field: value})
        assert (field, value, response.status_code, response.json()["error"]) == (field, value, 400, code)
    assert not Package.objects.exists()


WRONG_DEPENDENCIES: list[Any] = [
    None,
    "acme/parser",
    7,
    True,
    {"name": "a", "version": "1"},
    {"acme/parser": "^1.0"},
    ["acme/parser"],
    [None],
    [[]],
    [{}],
    [{"name": "a"}],
    [{"version": "1"}],
    [{"name": 7, "version": "1"}],
    [{"name": "a", "version": 1}],
    [{"name": "a", "version": None}],
    [{"name": "", "version": "1"}],
    [{"name": "a", "version": ""}],
]


def test_malformed_dependencies_are_refused(browser: Browser) -> None:
    for field in ("dependencies", "dev_dependencies"):
        for value in WRONG_DEPENDENCIES:
            response = browser.send("POST", NS, **{**CREATION, field: value})
            assert (response.status_code, response.json()["error"]) == (400, "malformed")
            assert response.json()["message"].startswith(f"{field}: ")
    assert not Package.objects.exists()


def test_unknown_keys_are_ignored(browser: Browser, bob: User) -> None:
    unknown = {"package_id": "7", "publisher": "bob", "publisher_id": str(bob.pk), "namespace": "bob", "id": 7, "x": {}}
    response = browser.send("POST", NS, **CREATION, **unknown)
    assert (response.status_code, response.json()) == (200, full())


# --- GET /namespaces/{namespace}/packages/{package_name} -------------------------------------------------------------


def test_package_has_full_form(browser: Browser) -> None:
    browser.send("POST", NS, **CREATION)
    response = Client().get(TOOL)
    assert (response.status_code, response.json()) == (200, full())


def test_package_answers_to_its_name_in_any_case(tool: Package) -> None:
    paths = ["/namespaces/ACME/packages/TOOL", "/namespace/acme/packages/Tool"]
    assert [Client().get(path).json()["package_name"] for path in paths] == ["tool"] * 2


def test_unknown_package_is_missing(acme: Principal) -> None:
    for path in (TOOL, f"{TOOL}/versions", f"{TOOL}/versions/1.0.0", f"{TOOL}/versions/1.0.0/download"):
        assert_refused(Client().get(path), 404, NO_TOOL["error"], NO_TOOL["message"])


def test_unknown_namespace_has_no_packages(acme: Principal) -> None:
    response = Client().get("/namespaces/none/packages/tool")
    assert_refused(response, 404, "package_missing", "There is no package none/tool.")


# --- GET /namespaces/{namespace}/packages and GET /packages ----------------------------------------------------------


def test_list_has_brief_form(tool: Package) -> None:
    response = Client().get(NS)
    assert (response.status_code, response.json()) == (200, [brief()])


def test_search_has_brief_form(tool: Package) -> None:
    response = Client().get("/packages?query=tool")
    assert (response.status_code, response.json()) == (200, [brief()])


def test_brief_form_shows_newest_version(browser: Browser, tool: Package) -> None:
    for version in ("2.0.0", "1.5.0"):
        browser.send("PUT", TOOL, version=version)
    assert Client().get(NS).json() == Client().get("/packages?query=tool").json() == [brief(version="2.0.0")]


def test_list_is_sorted_by_name(acme: Principal) -> None:
    for name in ("b", "a", "C"):
        create_package(acme, name)
    assert [package["package_name"] for package in Client().get(NS).json()] == ["a", "b", "C"]


def test_list_of_unknown_namespace_is_missing(acme: Principal) -> None:
    response = Client().get("/namespaces/none/packages")
    assert_refused(response, 404, "namespace_missing", "There is no namespace 'none'.")


def test_list_of_personal_namespace(acme: Principal) -> None:
    create_package(acme, "tool", namespace="alice")
    assert Client().get("/namespaces/alice/packages").json() == [brief()]


def test_empty_query_lists_public_packages(acme: Principal, tool: Package, secret: Package) -> None:
    create_package(acme, "another", namespace="alice")
    packages = Client().get("/packages?query=").json()
    assert [package["package_name"] for package in packages] == ["another", "tool"]


def test_empty_list_links_to_itself(acme: Principal) -> None:
    for path, separator in ((NS, "?"), ("/packages?query=tool", "&")):
        response = Client().get(path)
        assert (response.status_code, response.json(), response["X-Total-Count"]) == (200, [], "0")
        url = f"http://testserver{path}{separator}page=1"
        assert response["Link"] == f'<{url}>; rel="first", <{url}>; rel="last"'


@pytest.fixture
def three_pages(acme: Principal) -> None:
    """Create packages for three pages."""
    for number in range(45):
        create_package(acme, f"tool-{number:02}")


PAGES = {
    "": 1,
    "page=": 1,
    "page=1": 1,
    "page=2": 2,
    "page=3": 3,
    "page=4": 3,
    "page=0": 1,
    "page=-5": 1,
    f"page={-(2**63)}": 1,
    f"page={10**18}": 3,
    f"page={2**63 - 1}": 3,
    f"page={2**63}": 3,
    f"page={'9' * 900}": 3,
}


def names_of(page: int) -> list[str]:
    return [f"tool-{number:02}" for number in range(45)][page * 20 - 20 : page * 20]


def test_page_out_of_range_is_nearest_page(three_pages: None) -> None:
    for path in (f"{NS}?", "/packages?query=tool&"):
        for parameter, page in PAGES.items():
            response = Client().get(f"{path}{parameter}")
            assert [package["package_name"] for package in response.json()] == names_of(page)
            assert (response.status_code, response["X-Total-Count"]) == (200, "45")


LINKS = {1: {"first": 1, "next": 2, "last": 3}, 2: {"first": 1, "prev": 1, "next": 3, "last": 3}}
LINKS[3] = {"first": 1, "prev": 2, "last": 3}


def test_links_lead_to_other_pages(three_pages: None) -> None:
    for path in (f"{NS}?", "/namespace/acme/packages?", "/packages?query=tool&"):
        for page, pages in LINKS.items():
            expected = [f'<http://testserver{path}page={number}>; rel="{name}"' for name, number in pages.items()]
            assert Client().get(f"{path}page={page}")["Link"] == ", ".join(expected)


def test_links_of_search_carry_query(tool: Package) -> None:
    link = "<http://testserver/packages?query=%22tool%22+%26%E4%B8%AD%3E&page=1>"
    response = Client().get("/packages?query=%22tool%22%20%26%E4%B8%AD%3E")
    assert response["Link"] == f'{link}; rel="first", {link}; rel="last"'


WRONG_PAGES = ["abc", "1e18", "1.5", "null", "0x1", "1,2", "%ff", "9" * 2000]


def test_page_that_is_no_number_is_refused(tool: Package) -> None:
    for path in (f"{NS}?", "/packages?query=tool&"):
        for page in WRONG_PAGES:
            response = Client().get(f"{path}page={page}")
            assert (response.status_code, response.json()["error"]) == (400, "malformed")
            assert response.json()["message"].startswith("page: ")


# --- DELETE /namespaces/{namespace}/packages/{package_name} ----------------------------------------------------------


def test_deleted_package_is_gone(browser: Browser, tool: Package) -> None:
    response = browser.delete(TOOL)
    assert (response.status_code, response.json()) == (200, OK)
    assert Client().get(TOOL).status_code == 404
    assert Client().get(NS).json() == Client().get("/packages?query=tool").json() == []


def test_deletion_of_unknown_package_has_no_content(browser: Browser) -> None:
    for path in (TOOL, "/namespaces/none/packages/tool", "/namespace/alice/packages/tool"):
        response = browser.delete(path)
        assert (response.status_code, response.content) == (204, b"")


def test_second_deletion_has_no_content(browser: Browser, tool: Package) -> None:
    browser.delete(TOOL)
    response = browser.delete(TOOL)
    assert (response.status_code, response.content) == (204, b"")


def test_anonymous_cannot_delete_packages(tool: Package, secret: Package) -> None:
    for path in (TOOL, SECRET, f"{NS}/none", "/namespaces/none/packages/tool"):
        response = Browser().delete(path)
        assert (response.status_code, response.json()) == (401, ANONYMOUS)


# --- PUT /namespaces/{namespace}/packages/{package_name} -------------------------------------------------------------


def test_published_package_has_both_name_keys(browser: Browser, tool: Package) -> None:
    response = browser.send("PUT", TOOL, package_id=str(tool.pk), **{**RELEASE, "version": "1.1.0"})
    assert response.status_code == 200
    assert response.json() == {**full(version="1.1.0", description="The tool."), "name": "tool"}


def test_optional_fields_of_publication_have_defaults(browser: Browser, tool: Package) -> None:
    response = browser.send("PUT", TOOL, version="1.1.0")
    defaults: dict[str, Any] = {"dependencies": [], "dev_dependencies": [], "status": "SNAPSHOT"}
    package = full(version="1.1.0", description="The tool.", **defaults)
    assert (response.status_code, response.json()) == (200, {**package, "name": "tool"})


def test_version_is_required(browser: Browser, tool: Package) -> None:
    response = browser.send("PUT", TOOL, **omit(RELEASE, "version"))
    assert_refused(response, 400, "malformed", "version: This field is required.")


def test_publication_of_unknown_package_is_a_bad_request(browser: Browser) -> None:
    for path, name in ((TOOL, "acme/tool"), ("/namespaces/none/packages/tool", "none/tool")):
        response = browser.send("PUT", path, **RELEASE)
        assert_refused(response, 400, "package_missing", f"There is no package {name}.")


def test_bad_publication_is_refused(browser: Browser, tool: Package) -> None:
    bad_values: list[dict[str, Any]] = [{"status": "DEPRECATED"}, {"type": ""}, {"type": None}, {"version": "1"}]
    answers = [browser.send("PUT", TOOL, **{**RELEASE, **fields}) for fields in bad_values]
    assert [answer.status_code for answer in answers] == [400] * 4
    assert Release.objects.get().status == "SNAPSHOT"


# --- PATCH /namespaces/{namespace}/packages/{package_name} -----------------------------------------------------------


def test_edited_package_has_full_form(browser: Browser, tool: Package) -> None:
    response = browser.send("PATCH", TOOL, package_id=str(tool.pk), **omit(RELEASE, "version"))
    assert (response.status_code, response.json()) == (200, full(description="The tool."))


def test_edit_keeps_other_fields(browser: Browser) -> None:
    browser.send("POST", NS, **CREATION)
    response = browser.send("PATCH", TOOL, status="DEPRECATED")
    assert (response.status_code, response.json()) == (200, full(status="DEPRECATED"))
    assert Client().get(TOOL).json() == full(status="DEPRECATED")


def test_empty_edit_changes_nothing(browser: Browser) -> None:
    browser.send("POST", NS, **CREATION)
    assert browser.send("PATCH", TOOL).json() == full()


def test_edit_hides_and_shows_a_package(browser: Browser, tool: Package) -> None:
    browser.send("PATCH", TOOL, type="PRIVATE")
    assert (Client().get(TOOL).status_code, Client().get("/packages?query=tool").json()) == (404, [])
    browser.send("PATCH", TOOL, type="PUBLIC")
    assert (Client().get(TOOL).status_code, Client().get("/packages?query=tool").json()) == (200, [brief()])


def test_edit_of_unknown_package_is_missing(browser: Browser) -> None:
    response = browser.send("PATCH", TOOL, status="DEPRECATED")
    assert (response.status_code, response.json()) == (404, NO_TOOL)


def test_bad_edit_is_refused(browser: Browser, tool: Package) -> None:
    for field, value in (*(("status", text) for text, _ in WRONG_TEXTS), ("type", 7), ("type", "")):
        response = browser.send("PATCH", TOOL, **{field: value})
        assert (response.status_code, response.json()["error"]) == (400, "malformed")


# --- The id of a package in PUT and PATCH ----------------------------------------------------------------------------

CHANGES = [("PUT", {"version": "1.1.0"}), ("PATCH", {"status": "RELEASE"})]


@pytest.mark.parametrize(("method", "body"), CHANGES)
def test_package_id_is_text_or_number(browser: Browser, tool: Package, method: str, body: dict[str, str]) -> None:
    answers = [browser.send(method, TOOL, **body, package_id=key) for key in (tool.pk, str(tool.pk))]
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize(("method", "body"), CHANGES)
def test_id_of_another_package_is_refused(
    browser: Browser, tool: Package, secret: Package, method: str, body: dict[str, str]
) -> None:
    for key in (secret.pk, str(secret.pk), 0, 2**63 - 1):
        response = browser.send(method, TOOL, **body, package_id=key)
        assert_refused(response, 400, "id_differs", f"The id of acme/tool is {tool.pk}, not {key}.")
    assert [row.version for row in Release.objects.filter(package=tool, status="SNAPSHOT")] == ["1.0.0"]


WRONG_IDS: list[Any] = [
    -1,
    2**63,
    str(2**63),
    10**400,
    "",
    "abc",
    "1 or 1=1",
    None,
    True,
    1.5,
    [1],
    {"id": 1},
    "9" * 2000,
]


@pytest.mark.parametrize(("method", "body"), CHANGES)
def test_malformed_package_id_is_refused(browser: Browser, tool: Package, method: str, body: dict[str, str]) -> None:
    for key in WRONG_IDS:
        response = browser.send(method, TOOL, **body, package_id=key)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
        assert response.json()["message"].startswith("package_id: ")


# --- Collaborators ---------------------------------------------------------------------------------------------------

COLLABORATORS = f"{TOOL}/collaborators"


def collaborator(user: User, role: str) -> dict[str, str]:
    avatar = User.objects.get(pk=user.pk).avatar_uri
    return {"user_id": str(user.pk), "username": user.username, "avatar_uri": avatar, "role": role}


def add_collaborators(browser: Browser, body: Any) -> Any:
    return browser.post(COLLABORATORS, body, content_type="application/json")


def test_collaborators_are_listed_in_order_of_joining(
    browser: Browser, tool: Package, alice: User, bob: User, charlie: User
) -> None:
    User.objects.filter(pk=bob.pk).update(avatar_uri="https://example.org/bob.png")
    for name, role in (("charlie", "READ_ONLY"), ("bob", "MANAGER")):
        add_collaborators(browser, [{"username": name, "role": role}])
    response = Browser(charlie).get(COLLABORATORS)
    assert response.status_code == 200
    assert response.json() == [
        collaborator(alice, "OWNER"),
        collaborator(charlie, "READ_ONLY"),
        collaborator(bob, "MANAGER"),
    ]


BOB = {"username": "bob", "role": "MEMBER"}


@pytest.mark.parametrize("body", [[BOB], BOB, {"members": [BOB]}], ids=["array", "object", "wrapped"])
def test_collaborator_is_added_in_three_notations(
    browser: Browser, tool: Package, alice: User, bob: User, body: Any
) -> None:
    response = add_collaborators(browser, body)
    assert (response.status_code, response.json()) == (200, [collaborator(alice, "OWNER"), collaborator(bob, "MEMBER")])


def test_collaborators_get_their_roles(browser: Browser, tool: Package) -> None:
    roles = {f"user{number}": role.value for number, role in enumerate(Role)}
    for name in roles:
        registration.register(name, PASSWORD)
    add_collaborators(browser, [{"username": name.upper(), "role": role} for name, role in roles.items()])
    assert collaborators_of(tool) == {"alice": "OWNER", **roles}


WRONG_INVITATIONS: list[tuple[Any, str]] = [
    ([{"username": "bob", "role": "MEMBER"}, {"username": "nobody", "role": "MEMBER"}], "user_missing"),
    ([{"username": "bob", "role": "MEMBER"}, {"username": "alice", "role": "MEMBER"}], "already_collaborator"),
    ([{"username": "bob", "role": "MEMBER"}, {"username": "Bob", "role": "OWNER"}], "invalid"),
    ([BOB, {"username": "charlie", "role": "member"}], "malformed"),
    ([BOB, {"username": "charlie", "role": "BOSS"}], "malformed"),
    ([BOB, {"username": "charlie"}], "malformed"),
    ([BOB, {"role": "MEMBER"}], "malformed"),
    ([BOB, {"username": 7, "role": "MEMBER"}], "malformed"),
    ([BOB, {"username": "charlie", "role": None}], "malformed"),
    ([BOB, {"username": "charlie", "role": ["MEMBER"]}], "malformed"),
    ([BOB, {"username": "", "role": "MEMBER"}], "malformed"),
    ([BOB, "charlie"], "malformed"),
    ([BOB, None], "malformed"),
    ([BOB, [BOB]], "malformed"),
    ([], "malformed"),
    ({"members": []}, "malformed"),
    ({"members": None}, "malformed"),
    ({"members": BOB}, "malformed"),
    ({}, "malformed"),
    ([{"username": f"user{number}", "role": "MEMBER"} for number in range(51)], "invalid"),
    ([{"username": "zoë", "role": "MEMBER"}], "user_missing"),
]


def test_bad_invitations_are_refused(browser: Browser, tool: Package, bob: User, charlie: User) -> None:
    answers = [(body, add_collaborators(browser, body)) for body, _ in WRONG_INVITATIONS]
    assert [(body, answer.json()["error"]) for body, answer in answers] == WRONG_INVITATIONS
    assert {answer.status_code for _, answer in answers} == {400}
    assert collaborators_of(tool) == {"alice": "OWNER"}


def test_banned_account_cannot_be_added(browser: Browser, tool: Package, bob: User) -> None:
    bans.ban(bob, actor=None)
    assert_refused(add_collaborators(browser, [BOB]), 400, "user_missing", "There is no open account 'bob'.")


def test_collaborator_gets_another_role(browser: Browser, tool: Package, bob: User) -> None:
    add_collaborators(browser, [BOB])
    response = browser.send("PATCH", "/namespace/acme/packages/tool/collaborators/BOB", role="MANAGER")
    assert (response.status_code, response.json()) == (200, collaborator(bob, "MANAGER"))
    assert collaborators_of(tool)["bob"] == "MANAGER"


def test_collaborator_is_removed(browser: Browser, tool: Package, bob: User) -> None:
    add_collaborators(browser, [BOB])
    response = browser.delete("/namespace/acme/packages/tool/collaborators/bob")
    assert (response.status_code, response.json()) == (200, OK)
    assert collaborators_of(tool) == {"alice": "OWNER"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_account_without_role_is_missing(browser: Browser, tool: Package, bob: User, method: str) -> None:
    for name in NAMES_WITHOUT_ROLE:
        response = browser.send(method, f"{COLLABORATORS}/{name}", role="MEMBER")
        assert (response.status_code, response.json()["error"]) == (404, "collaborator_missing")


def test_bad_role_is_refused(browser: Browser, tool: Package, bob: User) -> None:
    add_collaborators(browser, [BOB])
    for role in BAD_ROLES:
        response = browser.send("PATCH", f"{COLLABORATORS}/bob", role=role)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
    assert collaborators_of(tool)["bob"] == "MEMBER"


def test_role_is_required(browser: Browser, tool: Package) -> None:
    assert_refused(browser.send("PATCH", f"{COLLABORATORS}/alice"), 400, "malformed", "role: This field is required.")


LAST = "acme/tool would be left without an owner; make somebody else one first."


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_last_owner_stays(browser: Browser, tool: Package, bob: User, method: str) -> None:
    add_collaborators(browser, {"username": "bob", "role": "MANAGER"})
    assert_refused(browser.send(method, f"{COLLABORATORS}/alice", role="MANAGER"), 400, "last_owner", LAST)
    assert collaborators_of(tool) == {"alice": "OWNER", "bob": "MANAGER"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_banned_owner_does_not_count(browser: Browser, tool: Package, bob: User, method: str) -> None:
    add_collaborators(browser, {"username": "bob", "role": "OWNER"})
    bans.ban(bob, actor=None)
    assert_refused(browser.send(method, f"{COLLABORATORS}/alice", role="MANAGER"), 400, "last_owner", LAST)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_manager_acts_while_only_owner_is_banned(
    browser: Browser, acme: Principal, bob: User, charlie: User, method: str
) -> None:
    membership.add_members(acme, "acme", [NewRole("bob", Role.MANAGER)])
    tool = create_package(Principal(bob), "tool")
    add_collaborators(browser, {"username": "charlie", "role": "MEMBER"})
    bans.ban(bob, actor=None)
    assert browser.send(method, f"{COLLABORATORS}/charlie", role="READ_ONLY").status_code == 200
    assert collaborators_of(tool).get("charlie") == ("READ_ONLY" if method == "PATCH" else None)


def test_owner_leaves_to_another_owner(browser: Browser, tool: Package, bob: User) -> None:
    add_collaborators(browser, {"username": "bob", "role": "OWNER"})
    assert browser.delete(f"{COLLABORATORS}/alice").status_code == 200
    assert collaborators_of(tool) == {"bob": "OWNER"}


def test_leaving_a_private_package_hides_it(browser: Browser, secret: Package, bob: User) -> None:
    browser.send("POST", f"{SECRET}/collaborators", **BOB)
    bobs_browser = Browser(bob)
    assert bobs_browser.get(SECRET).status_code == 200
    assert bobs_browser.delete(f"{SECRET}/collaborators/bob").status_code == 200
    assert bobs_browser.get(SECRET).status_code == 404


def test_anonymous_cannot_see_collaborators(tool: Package) -> None:
    for method, path in (("GET", COLLABORATORS), ("POST", COLLABORATORS), ("PATCH", f"{COLLABORATORS}/alice")):
        response = Browser().generic(method, path, b"{}", "application/json")
        assert (response.status_code, response.json()) == (401, ANONYMOUS)


def test_unknown_package_has_no_collaborators(browser: Browser, bob: User) -> None:
    for method, path in (("GET", COLLABORATORS), ("POST", COLLABORATORS), ("PATCH", f"{COLLABORATORS}/bob")):
        response = browser.send(method, path, **BOB)
        assert (response.status_code, response.json()) == (404, NO_TOOL)


# --- Private packages look like missing ones -------------------------------------------------------------------------

ROUTES: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "", {}),
    ("HEAD", "", {}),
    ("PUT", "", RELEASE),
    ("PUT", "", {**RELEASE, "package_id": "{id}"}),
    ("PUT", "", {**RELEASE, "package_id": 1}),
    ("PUT", "", {**RELEASE, "version": "nonsense"}),
    ("PUT", "", {}),
    ("PATCH", "", {"type": "PUBLIC"}),
    ("PATCH", "", {"package_id": "{id}"}),
    ("PATCH", "", {"status": "nonsense"}),
    ("DELETE", "", {}),
    ("GET", "/versions", {}),
    ("GET", "/versions/1.0.0", {}),
    ("GET", "/versions/9.9.9", {}),
    ("GET", "/versions/1.0.0/download", {}),
    ("GET", "/collaborators", {}),
    ("POST", "/collaborators", {"username": "charlie", "role": "MEMBER"}),
    ("POST", "/collaborators", {"username": "nobody", "role": "MEMBER"}),
    ("PATCH", "/collaborators/alice", {"role": "MEMBER"}),
    ("PATCH", "/collaborators/nobody", {"role": "MEMBER"}),
    ("DELETE", "/collaborators/alice", {}),
    ("DELETE", "/collaborators/charlie", {}),
    ("POST", "", {}),
    ("GET", "/nothing", {}),
]


def response_for(
    browser: Browser, package: str, route: tuple[str, str, dict[str, Any]], package_id: int
) -> tuple[Any, ...]:
    """Return status, body and headers, without the name of the package."""
    method, path, template = route
    body = {key: str(package_id) if value == "{id}" else value for key, value in template.items()}
    response = browser.send(method, f"{NS}/{package}{path}", **body)
    return response.status_code, response.content.replace(package.encode(), b"NAME"), comparable_headers(response)


@pytest.mark.parametrize("role", [None, Role.MEMBER])
def test_private_package_looks_missing_to_users(
    acme: Principal, secret: Package, charlie: User, role: Role | None
) -> None:
    if role:
        membership.add_members(acme, "acme", [NewRole("charlie", role)])
    browser = Browser(charlie)
    for route in ROUTES:
        assert response_for(browser, "secret", route, secret.pk) == response_for(browser, "absent", route, secret.pk)


def test_private_package_looks_missing_to_visitors(secret: Package) -> None:
    visitor = Browser()
    for route in ROUTES:
        assert response_for(visitor, "secret", route, secret.pk) == response_for(visitor, "absent", route, secret.pk)


def statements_for(client: Client, method: str, path: str) -> list[str]:
    """Return the SQL of a request, without the values in it."""
    with CaptureQueriesContext(connection) as queries:
        client.generic(method, path, b"{}", "application/json")
    return [re.sub(r"'[^']*'|\d+", "?", query["sql"]) for query in queries]


def test_private_package_costs_as_much_as_none(secret: Package, charlie: User) -> None:
    """Equal statements, so that the time of an answer does not tell that the package exists."""
    for client in (Client(), Browser(charlie)):
        for method, path in (("GET", SECRET), ("GET", f"{SECRET}/versions"), ("DELETE", SECRET)):
            missing = path.replace("secret", "absent")
            assert statements_for(client, method, path) == statements_for(client, method, missing), (method, path)


def test_stranger_cannot_change_private_package(secret: Package, charlie: User) -> None:
    for route in ROUTES:
        response_for(Browser(charlie), "secret", route, secret.pk)
    secret.refresh_from_db()
    assert (secret.type, secret.removed_at, collaborators_of(secret)) == ("PRIVATE", None, {"alice": "OWNER"})
    assert [row.version for row in Release.objects.all()] == ["1.0.0"]


def test_private_packages_are_not_counted(acme: Principal, tool: Package, charlie: User) -> None:
    for number in range(21):
        create_package(acme, f"secret-{number}", "PRIVATE")
    for page in (1, 2):
        response = Browser(charlie).get(f"{NS}?page={page}")
        assert (response["X-Total-Count"], response.json()) == ("1", [brief()])
        assert "page=2" not in response["Link"]


# --- All routes ------------------------------------------------------------------------------------------------------

BODY_ROUTES = [("POST", NS), ("PUT", TOOL), ("PATCH", TOOL), ("PATCH", f"{COLLABORATORS}/alice")]


def test_bad_bodies_are_refused(browser: Browser, tool: Package) -> None:
    for method, path in BODY_ROUTES:
        for body, message in BAD_BODIES:
            response = browser.generic(method, path, body, "application/json")
            assert (response.status_code, set(response.json())) == (400, {"error", "message"})
            assert response.json()["message"] == message


def test_bad_bodies_add_no_collaborators(browser: Browser, tool: Package) -> None:
    answers = [browser.generic("POST", COLLABORATORS, body, "application/json") for body, _ in BAD_BODIES]
    assert {(answer.status_code, *answer.json()) for answer in answers} == {(400, "error", "message")}
    assert collaborators_of(tool) == {"alice": "OWNER"}


def test_huge_bodies_are_refused(browser: Browser, tool: Package) -> None:
    for method, path in (*BODY_ROUTES, ("POST", COLLABORATORS)):
        response = browser.generic(method, path, b'{"role": "' + b"x" * 1024 * 1024 + b'"}', "application/json")
        assert_refused(response, 413, "too_large", "The body has 1048588 bytes; at most 1048576 are taken here.")


def test_other_content_types_are_refused(browser: Browser, tool: Package) -> None:
    for method, path in (*BODY_ROUTES, ("POST", COLLABORATORS)):
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
            response = browser.generic(method, path, b'{"type": "PUBLIC"}', content_type)
            message = f'Unsupported media type "{content_type}" in request.'
            assert_refused(response, 415, "unsupported_media_type", message)


def test_bodies_without_length_are_refused(browser: Browser, tool: Package) -> None:
    for method, path in (*BODY_ROUTES, ("POST", COLLABORATORS)):
        response = browser.generic(method, path, b"{}", CONTENT_LENGTH="", headers={"Transfer-Encoding": "chunked"})
        message = "Send the body with a Content-Length; a chunked body is not taken here."
        assert_refused(response, 411, "length_required", message)


def test_other_sites_cannot_use_the_cookie(alice: User, tool: Package) -> None:
    forged = Client(enforce_csrf_checks=True, raise_request_exception=False, headers={"Origin": "http://evil.example"})
    forged.force_login(alice)
    for method, path in (*BODY_ROUTES, ("POST", COLLABORATORS), ("DELETE", TOOL)):
        response = forged.generic(method, path, b"{}", "application/json")
        assert (response.status_code, set(response.json())) == (403, {"error", "message"})


METHODS = {
    "/packages?query=": {"GET", "HEAD"},
    NS: {"GET", "HEAD", "POST"},
    TOOL: {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
    f"{TOOL}/versions": {"GET", "HEAD"},
    f"{TOOL}/versions/1.0.0": {"GET", "HEAD"},
    f"{TOOL}/versions/1.0.0/download": {"GET", "HEAD"},
    COLLABORATORS: {"GET", "HEAD", "POST"},
    f"{COLLABORATORS}/alice": {"PATCH", "DELETE"},
}


def test_other_methods_are_refused(browser: Browser, tool: Package) -> None:
    for path, methods in METHODS.items():
        for method in ALL_METHODS - methods:
            response = browser.generic(method, path, b"{}", "application/json")
            assert_refused(response, 405, "method_not_allowed", f'Method "{method}" not allowed.')
            assert {word.strip() for word in response["Allow"].split(",")} - {"OPTIONS"} == methods


UNKNOWN = [
    "/packages/",
    "/packages/tool",
    f"{NS}/",
    f"{TOOL}/",
    f"{TOOL}/versions/",
    f"{TOOL}/versions/1.0.0/",
    f"{TOOL}/versions/1.0.0/download/x",
    f"{TOOL}/collaborators/alice/role",
    f"{TOOL}/owners",
    "/namespaces//packages/tool",
    "/namespaces/acme//packages",
    "/namespace/acme/package/tool",
]


def test_unknown_paths_have_yapkg_refusals(browser: Browser, tool: Package) -> None:
    for method in ("GET", "POST", "DELETE"):
        for path in UNKNOWN:
            response = browser.generic(method, path)
            assert (response.status_code, response.json()) == (404, NO_PATH)


ODD_NAMES = [
    "%2e%2e",
    "..",
    "%2e",
    "%ff",
    "%ed%a0%80",
    "%0a",
    "%20tool",
    "tool%20",
    "%25",
    "%E4%B8%AD",
    "'",
    "a" * 5000,
]


def test_odd_package_names_are_unknown(browser: Browser, tool: Package) -> None:
    for name in ODD_NAMES:
        methods = ("GET", "PUT", "PATCH", "DELETE")
        statuses = {method: browser.send(method, f"{NS}/{name}", **RELEASE).status_code for method in methods}
        assert statuses == {"GET": 404, "PUT": 400, "PATCH": 404, "DELETE": 204}


def test_odd_namespaces_are_unknown(browser: Browser, tool: Package) -> None:
    for name in ODD_NAMES:
        path = f"/namespaces/{name}/packages"
        assert browser.get(path).json()["error"] == "namespace_missing"
        assert browser.send("POST", path, **CREATION).json()["error"] == "namespace_missing"
        assert browser.get(f"{path}/tool").json()["error"] == "package_missing"


def test_encoded_slash_separates_segments(browser: Browser, tool: Package) -> None:
    for path in (f"{NS}/a%2fb", "/namespaces/a%2fb/packages", f"{TOOL}%2f", f"{TOOL}/versions/1%2f0"):
        response = browser.get(path)
        assert (response.status_code, response.json()) == (404, NO_PATH)


def test_nul_in_url_is_refused(browser: Browser) -> None:
    for path in (f"{NS}/to%00ol", "/namespaces/a%00/packages", "/packages?query=%00", f"{NS}?page=%00"):
        response = browser.get(path)
        assert (response.status_code, set(response.json())) == (400, {"error", "message"})


def test_name_may_be_percent_encoded(tool: Package) -> None:
    for name in ("%74%6f%6f%6c", "t%6Fol"):
        assert Client().get(f"{NS}/{name}").json()["package_name"] == "tool"


READ_PATHS = [
    "",
    "/tool",
    "/secret",
    "/tool/versions",
    "/tool/versions/1.0.0",
    "/tool/collaborators",
    "/none",
    "?page=7",
]


def test_both_prefixes_answer_alike(browser: Browser, tool: Package, secret: Package) -> None:
    for path in READ_PATHS:
        singular = browser.get(f"/namespace/acme/packages{path}")
        plural = browser.get(f"/namespaces/acme/packages{path}")
        assert (singular.status_code, singular.json()) == (plural.status_code, plural.json())
        assert singular.get("X-Total-Count") == plural.get("X-Total-Count")


def test_shared_caches_do_not_store_answers(alice: User, tool: Package, secret: Package) -> None:
    for browser in (Browser(alice), Browser()):
        for path in ("/packages?query=tool", "/packages", NS, TOOL, SECRET, COLLABORATORS, f"{TOOL}/versions"):
            response = browser.get(path)
            assert {"Cookie", "Token", "X-Auth-Token"} <= {word.strip() for word in response["Vary"].split(",")}
            assert "private" in response["Cache-Control"]


def test_head_answers_like_get(tool: Package) -> None:
    for path in (NS, TOOL, "/packages?query=tool", f"{TOOL}/versions"):
        head, get = Client().head(path), Client().get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.get("X-Total-Count") == get.get("X-Total-Count")


def test_accept_header_of_machines_does_not_matter(tool: Package) -> None:
    for path in (NS, TOOL, "/packages?query=tool"):
        for accept in ("application/json", "*/*", "image/png", "nonsense"):
            response = Client().get(path, headers={"Accept": accept})
            assert (response.status_code, response["Content-Type"]) == (200, "application/json")


# --- Number of queries -----------------------------------------------------------------------------------------------


def count_queries(browser: Browser, path: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(path).status_code == 200
    return len(queries)


def register_users(first: int) -> list[User]:
    return [registration.register(f"user{number}", PASSWORD) for number in range(first, MANY)]


def test_queries_of_lists_do_not_grow(browser: Browser, acme: Principal, bob: User) -> None:
    paths = (NS, "/packages?query=tool", "/packages?query=")
    create_package(acme, "tool-0")
    before = [count_queries(browser, path) for path in paths]
    membership.add_members(acme, "acme", [NewRole("bob", Role.MEMBER)])
    for number in range(1, MANY):
        create_package(Principal(bob) if number % 2 else acme, f"tool-{number}")
    assert [count_queries(browser, path) for path in paths] == before


def test_queries_of_versions_do_not_grow(browser: Browser, tool: Package) -> None:
    before = count_queries(browser, f"{TOOL}/versions")
    releases = [
        Release(package=tool, version=f"0.{number}.0", canonical_version=f"0.{number}.0", publisher=user)
        for number, user in enumerate(register_users(80) * 5)
    ]
    Release.objects.bulk_create(releases)
    assert count_queries(browser, f"{TOOL}/versions") == before
    assert len(browser.get(f"{TOOL}/versions").json()) == 101


def test_queries_of_collaborators_do_not_grow(browser: Browser, tool: Package) -> None:
    before = count_queries(browser, COLLABORATORS)
    Collaboration.objects.bulk_create(Collaboration(package=tool, user=user) for user in register_users(0))
    assert count_queries(browser, COLLABORATORS) == before


def test_queries_of_members_do_not_grow(browser: Browser, tool: Package) -> None:
    before = count_queries(browser, "/namespace/acme")
    Membership.objects.bulk_create(
        Membership(namespace=tool.namespace, user=user, role="MEMBER") for user in register_users(0)
    )
    assert count_queries(browser, "/namespace/acme") == before
