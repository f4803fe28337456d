"""yapkg-backend's package and collaborator endpoints, as its clients call them."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts import bans, registration
from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Membership, Role
from namespaces.role_assignments import Invitation
from packages import release_input, releasing
from packages.models import Collaboration, Package, Release
from tests.support.browser import ALL_METHODS, ANONYMOUS, BAD_BODIES, NO_PATH, OK, Browser
from tests.support.cast import PASSWORD

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
CREATION: dict[str, Any] = {**RELEASE, "package_name": "tool", "field": "java", "description": "this is a package"}
NO_TOOL = {"error": "package_missing", "message": "There is no package acme/tool."}


@pytest.fixture
def acme(alice: User) -> Principal:
    """Alice, who has a namespace of this name."""
    principal = Principal(alice)
    membership.create_namespace(principal, "acme")
    return principal


@pytest.fixture
def browser(alice: User, acme: Principal) -> Browser:
    """Alice has signed in with it."""
    return Browser(alice)


def add(principal: Principal, name: str, kind: str = "PUBLIC", namespace: str = "acme") -> Package:
    """A package with a snapshot 1.0.0."""
    draft = release_input.ReleaseInput(version="1.0.0", type=kind, description=f"The {name}.")
    return releasing.create_package(principal, namespace, name, "java", draft).package


@pytest.fixture
def tool(acme: Principal) -> Package:
    return add(acme, "tool")


@pytest.fixture
def secret(acme: Principal) -> Package:
    return add(acme, "secret", "PRIVATE")


def full(name: str = "tool", **changes: Any) -> dict[str, Any]:
    """All that the document says of a package; the ids and the date as the rows have them."""
    package = Package.objects.select_related("namespace").get(name=name)
    return {
        "package_id": str(package.pk),
        "package_name": name,
        "namespace_id": str(package.namespace_id),
        "namespace": package.namespace.name,
        "version": "1.0.0",
        "field": "java",
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
    return {key: full(name, description=f"The {name}.", **changes)[key] for key in BRIEF}


def assert_refused(response: Any, status: int, code: str, message: str) -> None:
    assert (response.status_code, response.json()) == (status, {"error": code, "message": message})


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}


# --- POST /namespaces/{namespace}/packages -----------------------------------------------------------------------


def test_created_package_is_shown_whole(browser: Browser) -> None:
    response = browser.send("POST", NS, **CREATION)
    assert (response.status_code, response.json()) == (200, full())


def test_ids_are_text_and_the_date_is_a_day(browser: Browser) -> None:
    shown = browser.send("POST", NS, **CREATION).json()
    assert all(re.fullmatch(r"[1-9][0-9]*", shown[key]) for key in ("package_id", "namespace_id", "publisher_id"))
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", shown["last_updated"])


def test_what_is_optional_has_the_documents_defaults(browser: Browser) -> None:
    response = browser.send("POST", NS, package_name="tool", version="1.0.0", field="java")
    nothing: dict[str, Any] = {"dependencies": [], "dev_dependencies": [], "description": ""}
    assert (response.status_code, response.json()) == (200, full(status="SNAPSHOT", **nothing))


def test_creator_becomes_its_owner(browser: Browser, alice: User) -> None:
    browser.send("POST", NS, **CREATION)
    assert [(row.user, row.role) for row in Collaboration.objects.all()] == [(alice, "OWNER")]


def test_package_in_ones_own_namespace(browser: Browser) -> None:
    response = browser.send("POST", "/namespaces/alice/packages", **CREATION)
    assert (response.status_code, response.json()) == (200, full())
    assert response.json()["namespace"] == "alice"


def test_same_name_in_another_namespace_is_free(browser: Browser, tool: Package) -> None:
    assert browser.send("POST", "/namespaces/alice/packages", **CREATION).status_code == 200


@pytest.mark.parametrize("name", ["tool", "TOOL", "Tool"])
def test_taken_name_is_refused_in_any_case(browser: Browser, tool: Package, name: str) -> None:
    response = browser.send("POST", NS, **{**CREATION, "package_name": name})
    message = f"acme has a package {name!r} already, perhaps in the trash."
    assert_refused(response, 400, "name_taken", message)


@pytest.mark.parametrize("prefix", ["namespace", "namespaces"])
def test_missing_namespace_is_a_bad_request(browser: Browser, prefix: str) -> None:
    response = browser.send("POST", f"/{prefix}/none/packages", **CREATION)
    assert_refused(response, 400, "namespace_missing", "There is no namespace 'none'.")


@pytest.mark.parametrize("field", ["package_name", "version", "field"])
def test_each_parameter_is_needed(browser: Browser, field: str) -> None:
    response = browser.send("POST", NS, **without(CREATION, field))
    assert_refused(response, 400, "malformed", f"{field}: This field is required.")


WRONG_TEXTS = [
    (None, "This field may not be null."),
    ("", "This field may not be blank."),
    (7, "Not a valid string."),
    (True, "Not a valid string."),
    (["x"], "Not a valid string."),
    ({"x": "y"}, "Not a valid string."),
]


@pytest.mark.parametrize("field", ["package_name", "version", "field", "status", "type"])
def test_each_text_of_a_creation_is_a_text(browser: Browser, field: str) -> None:
    for value, reason in WRONG_TEXTS:
        response = browser.send("POST", NS, **{**CREATION, field: value})
        assert_refused(response, 400, "malformed", f"{field}: {reason}")
    assert not Package.objects.exists()


def test_description_is_a_text_that_may_be_empty(browser: Browser) -> None:
    given: list[Any] = [None, 7, [], ""]
    answers = [browser.send("POST", NS, **{**CREATION, "description": text}) for text in given]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 200]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("package_name", "x" * 64, "name_invalid"),
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
    ],
)
def test_bad_value_is_refused(browser: Browser, field: str, value: str, code: str) -> None:
    response = browser.send("POST", NS, **{**CREATION, field: value})
    assert (response.status_code, response.json()["error"]) == (400, code)
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


@pytest.mark.parametrize("field", ["dependencies", "dev_dependencies"])
def test_dependencies_of_another_form_are_refused(browser: Browser, field: str) -> None:
    for value in WRONG_DEPENDENCIES:
        response = browser.send("POST", NS, **{**CREATION, field: value})
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
        assert response.json()["message"].startswith(f"{field}: ")
    assert not Package.objects.exists()


def test_further_keys_are_ignored(browser: Browser, bob: User) -> None:
    further = {"package_id": "7", "publisher": "bob", "publisher_id": str(bob.pk), "namespace": "bob", "id": 7, "x": {}}
    response = browser.send("POST", NS, **CREATION, **further)
    assert (response.status_code, response.json()) == (200, full())


# --- GET /namespaces/{namespace}/packages/{package_name} ---------------------------------------------------------


def test_package_is_shown_whole(browser: Browser) -> None:
    browser.send("POST", NS, **CREATION)
    response = Client().get(TOOL)
    assert (response.status_code, response.json()) == (200, full())


@pytest.mark.parametrize("path", ["/namespaces/ACME/packages/TOOL", "/namespace/acme/packages/Tool"])
def test_package_is_found_in_any_case(tool: Package, path: str) -> None:
    assert Client().get(path).json()["package_name"] == "tool"


@pytest.mark.parametrize(
    "path", [TOOL, f"{TOOL}/versions", f"{TOOL}/versions/1.0.0", f"{TOOL}/versions/1.0.0/download"]
)
def test_missing_package_is_missing(acme: Principal, path: str) -> None:
    assert_refused(Client().get(path), 404, **{"code": NO_TOOL["error"], "message": NO_TOOL["message"]})


def test_missing_namespace_has_no_packages(acme: Principal) -> None:
    response = Client().get("/namespaces/none/packages/tool")
    assert_refused(response, 404, "package_missing", "There is no package none/tool.")


# --- GET /namespaces/{namespace}/packages and GET /packages ------------------------------------------------------


def test_list_shows_packages_briefly(tool: Package) -> None:
    response = Client().get(NS)
    assert (response.status_code, response.json()) == (200, [brief()])


def test_search_shows_packages_briefly(tool: Package) -> None:
    response = Client().get("/packages?query=tool")
    assert (response.status_code, response.json()) == (200, [brief()])


def test_brief_is_of_the_newest_version(browser: Browser, tool: Package) -> None:
    for version in ("2.0.0", "1.5.0"):
        browser.send("PUT", TOOL, version=version)
    assert Client().get(NS).json() == Client().get("/packages?query=tool").json() == [brief(version="2.0.0")]


def test_list_is_in_the_order_of_names(acme: Principal) -> None:
    for name in ("b", "a", "C"):
        add(acme, name)
    assert [package["package_name"] for package in Client().get(NS).json()] == ["a", "b", "C"]


def test_list_of_a_missing_namespace_is_missing(acme: Principal) -> None:
    response = Client().get("/namespaces/none/packages")
    assert_refused(response, 404, "namespace_missing", "There is no namespace 'none'.")


def test_list_of_somebodys_own_namespace(acme: Principal) -> None:
    add(acme, "tool", namespace="alice")
    assert Client().get("/namespaces/alice/packages").json() == [brief()]


def test_query_is_needed(acme: Principal) -> None:
    assert_refused(Client().get("/packages"), 400, "malformed", "query: This field is required.")


def test_empty_query_lists_all_by_name(acme: Principal, tool: Package, secret: Package) -> None:
    add(acme, "another", namespace="alice")
    found = Client().get("/packages?query=").json()
    assert [package["package_name"] for package in found] == ["another", "tool"]


@pytest.mark.parametrize("path", [NS, "/packages?query=tool"])
def test_nothing_found_is_an_empty_list(acme: Principal, path: str) -> None:
    response = Client().get(path)
    assert (response.status_code, response.json(), response["X-Total-Count"]) == (200, [], "0")
    where = f"http://testserver{path}{'&' if '?' in path else '?'}page=1"
    assert response["Link"] == f'<{where}>; rel="first", <{where}>; rel="last"'


@pytest.fixture
def many(acme: Principal) -> None:
    """Packages for three pages."""
    for number in range(45):
        add(acme, f"tool-{number:02}")


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


def test_page_is_shown_or_the_nearest_there_is(many: None) -> None:
    for path in (f"{NS}?", "/packages?query=tool&"):
        for asked, shown in PAGES.items():
            response = Client().get(f"{path}{asked}")
            assert [package["package_name"] for package in response.json()] == names_of(shown)
            assert (response.status_code, response["X-Total-Count"]) == (200, "45")


LINKED = {1: {"first": 1, "next": 2, "last": 3}, 2: {"first": 1, "prev": 1, "next": 3, "last": 3}}
LINKED[3] = {"first": 1, "prev": 2, "last": 3}


def test_links_lead_to_the_other_pages(many: None) -> None:
    for path in (f"{NS}?", "/namespace/acme/packages?", "/packages?query=tool&"):
        for page, others in LINKED.items():
            expected = [f'<http://testserver{path}page={number}>; rel="{name}"' for name, number in others.items()]
            assert Client().get(f"{path}page={page}")["Link"] == ", ".join(expected)


def test_links_of_a_search_carry_its_query(tool: Package) -> None:
    where = "<http://testserver/packages?query=%22tool%22+%26%E4%B8%AD%3E&page=1>"
    response = Client().get("/packages?query=%22tool%22%20%26%E4%B8%AD%3E")
    assert response["Link"] == f'{where}; rel="first", {where}; rel="last"'


WRONG_PAGES = ["abc", "1e18", "1.5", "null", "0x1", "1,2", "%ff", "9" * 2000]


@pytest.mark.parametrize("path", [f"{NS}?", "/packages?query=tool&"])
def test_page_that_is_no_number_is_refused(tool: Package, path: str) -> None:
    for page in WRONG_PAGES:
        response = Client().get(f"{path}page={page}")
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
        assert response.json()["message"].startswith("page: ")


# --- DELETE /namespaces/{namespace}/packages/{package_name} ------------------------------------------------------


def test_deleted_package_is_gone(browser: Browser, tool: Package) -> None:
    response = browser.delete(TOOL)
    assert (response.status_code, response.json()) == (200, OK)
    assert Client().get(TOOL).status_code == 404
    assert Client().get(NS).json() == Client().get("/packages?query=tool").json() == []


@pytest.mark.parametrize("path", [TOOL, "/namespaces/none/packages/tool", "/namespace/alice/packages/tool"])
def test_deleting_what_is_not_there_has_no_content(browser: Browser, path: str) -> None:
    response = browser.delete(path)
    assert (response.status_code, response.content) == (204, b"")


def test_second_deletion_has_no_content(browser: Browser, tool: Package) -> None:
    browser.delete(TOOL)
    response = browser.delete(TOOL)
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("path", [TOOL, SECRET, f"{NS}/none", "/namespaces/none/packages/tool"])
def test_anonymous_deletes_nothing_whatever_is_there(tool: Package, secret: Package, path: str) -> None:
    response = Browser().delete(path)
    assert (response.status_code, response.json()) == (401, ANONYMOUS)


# --- PUT /namespaces/{namespace}/packages/{package_name} ---------------------------------------------------------


def test_published_version_is_shown_whole_under_both_spellings(browser: Browser, tool: Package) -> None:
    response = browser.send("PUT", TOOL, package_id=str(tool.pk), **{**RELEASE, "version": "1.1.0"})
    assert response.status_code == 200
    assert response.json() == {**full(version="1.1.0", description="The tool."), "name": "tool"}


def test_what_is_optional_in_a_publication_has_defaults(browser: Browser, tool: Package) -> None:
    response = browser.send("PUT", TOOL, version="1.1.0")
    nothing: dict[str, Any] = {"dependencies": [], "dev_dependencies": []}
    shown = full(version="1.1.0", status="SNAPSHOT", description="The tool.", **nothing)
    assert (response.status_code, response.json()) == (200, {**shown, "name": "tool"})


def test_publication_without_a_type_keeps_it(browser: Browser, secret: Package) -> None:
    assert browser.send("PUT", SECRET, version="1.1.0").json()["type"] == "PRIVATE"
    assert Client().get(SECRET).status_code == 404


def test_older_version_is_answered_and_the_newest_is_shown(browser: Browser, tool: Package) -> None:
    assert browser.send("PUT", TOOL, version="0.9.0").json()["version"] == "0.9.0"
    assert Client().get(TOOL).json()["version"] == "1.0.0"


def test_version_is_needed(browser: Browser, tool: Package) -> None:
    response = browser.send("PUT", TOOL, **without(RELEASE, "version"))
    assert_refused(response, 400, "malformed", "version: This field is required.")


@pytest.mark.parametrize(("path", "name"), [(TOOL, "acme/tool"), ("/namespaces/none/packages/tool", "none/tool")])
def test_publishing_what_is_not_there_is_a_bad_request(browser: Browser, path: str, name: str) -> None:
    response = browser.send("PUT", path, **RELEASE)
    assert_refused(response, 400, "package_missing", f"There is no package {name}.")


@pytest.mark.parametrize(("field", "value"), [("status", "DEPRECATED"), ("type", ""), ("type", None), ("version", "1")])
def test_bad_publication_is_refused(browser: Browser, tool: Package, field: str, value: Any) -> None:
    assert browser.send("PUT", TOOL, **{**RELEASE, field: value}).status_code == 400
    assert Release.objects.get().status == "SNAPSHOT"


# --- PATCH /namespaces/{namespace}/packages/{package_name} -------------------------------------------------------


def test_edited_package_is_shown_whole(browser: Browser, tool: Package) -> None:
    response = browser.send("PATCH", TOOL, package_id=str(tool.pk), **without(RELEASE, "version"))
    assert (response.status_code, response.json()) == (200, full(description="The tool."))


def test_edit_leaves_what_it_does_not_name(browser: Browser) -> None:
    browser.send("POST", NS, **CREATION)
    response = browser.send("PATCH", TOOL, status="DEPRECATED")
    assert (response.status_code, response.json()) == (200, full(status="DEPRECATED"))
    assert Client().get(TOOL).json() == full(status="DEPRECATED")


def test_edit_of_nothing_changes_nothing(browser: Browser) -> None:
    browser.send("POST", NS, **CREATION)
    assert browser.send("PATCH", TOOL).json() == full()


def test_edit_is_of_the_newest_version(browser: Browser, tool: Package) -> None:
    browser.send("PUT", TOOL, version="2.0.0")
    browser.send("PUT", TOOL, version="1.5.0")
    assert browser.send("PATCH", TOOL, status="DEPRECATED").json()["version"] == "2.0.0"
    assert [row.version for row in Release.objects.filter(status="DEPRECATED")] == ["2.0.0"]


def test_edit_takes_a_package_out_of_sight_and_back(browser: Browser, tool: Package) -> None:
    browser.send("PATCH", TOOL, type="PRIVATE")
    assert (Client().get(TOOL).status_code, Client().get("/packages?query=tool").json()) == (404, [])
    browser.send("PATCH", TOOL, type="PUBLIC")
    assert (Client().get(TOOL).status_code, Client().get("/packages?query=tool").json()) == (200, [brief()])


def test_editing_what_is_not_there_is_missing(browser: Browser) -> None:
    response = browser.send("PATCH", TOOL, status="DEPRECATED")
    assert (response.status_code, response.json()) == (404, NO_TOOL)


@pytest.mark.parametrize(
    ("field", "value"), [*(("status", text) for text, _ in WRONG_TEXTS), ("type", 7), ("type", "")]
)
def test_bad_edit_is_refused(browser: Browser, tool: Package, field: str, value: Any) -> None:
    response = browser.send("PATCH", TOOL, **{field: value})
    assert (response.status_code, response.json()["error"]) == (400, "malformed")


# --- The id of a package in PUT and PATCH ------------------------------------------------------------------------

CHANGES = [("PUT", {"version": "1.1.0"}), ("PATCH", {"status": "RELEASE"})]


@pytest.mark.parametrize(("method", "body"), CHANGES)
def test_own_id_is_good_as_text_and_as_a_number(
    browser: Browser, tool: Package, method: str, body: dict[str, str]
) -> None:
    answers = [browser.send(method, TOOL, **body, package_id=given) for given in (tool.pk, str(tool.pk))]
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize(("method", "body"), CHANGES)
def test_id_of_another_package_is_refused(
    browser: Browser, tool: Package, secret: Package, method: str, body: dict[str, str]
) -> None:
    for given in (secret.pk, str(secret.pk), 0, 2**63 - 1):
        response = browser.send(method, TOOL, **body, package_id=given)
        assert_refused(response, 400, "id_differs", f"The id of acme/tool is {tool.pk}, not {given}.")
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
def test_id_that_is_none_is_refused(browser: Browser, tool: Package, method: str, body: dict[str, str]) -> None:
    for given in WRONG_IDS:
        response = browser.send(method, TOOL, **body, package_id=given)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
        assert response.json()["message"].startswith("package_id: ")


# --- Collaborators -----------------------------------------------------------------------------------------------

PEOPLE = f"{TOOL}/collaborators"


def person(user: User, role: str) -> dict[str, str]:
    avatar = User.objects.get(pk=user.pk).avatar_uri
    return {"user_id": str(user.pk), "username": user.username, "avatar_uri": avatar, "role": role}


def invite(browser: Browser, body: Any) -> Any:
    return browser.post(PEOPLE, body, content_type="application/json")


def roles_of(package: Package) -> dict[str, str]:
    return {row.user.username: row.role for row in Collaboration.objects.filter(package=package).select_related("user")}


def test_collaborators_are_listed_in_the_order_in_which_they_came(
    browser: Browser, tool: Package, alice: User, bob: User, charlie: User
) -> None:
    User.objects.filter(pk=bob.pk).update(avatar_uri="https://example.org/bob.png")
    for name, role in (("charlie", "READ_ONLY"), ("bob", "MANAGER")):
        invite(browser, [{"username": name, "role": role}])
    response = Browser(charlie).get(PEOPLE)
    assert response.status_code == 200
    assert response.json() == [person(alice, "OWNER"), person(charlie, "READ_ONLY"), person(bob, "MANAGER")]


BOB = {"username": "bob", "role": "MEMBER"}


@pytest.mark.parametrize("body", [[BOB], BOB, {"members": [BOB]}], ids=["array", "object", "wrapped"])
def test_collaborator_is_added_however_it_is_written(
    browser: Browser, tool: Package, alice: User, bob: User, body: Any
) -> None:
    response = invite(browser, body)
    assert (response.status_code, response.json()) == (200, [person(alice, "OWNER"), person(bob, "MEMBER")])


@pytest.mark.parametrize("role", Role)
def test_collaborator_gets_the_role(browser: Browser, tool: Package, bob: User, role: Role) -> None:
    invite(browser, {"username": "BOB", "role": role})
    assert roles_of(tool) == {"alice": "OWNER", "bob": role}


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


def test_bad_invitations_add_nobody(browser: Browser, tool: Package, bob: User, charlie: User) -> None:
    answers = [(body, invite(browser, body)) for body, _ in WRONG_INVITATIONS]
    assert [(body, answer.json()["error"]) for body, answer in answers] == WRONG_INVITATIONS
    assert {answer.status_code for _, answer in answers} == {400}
    assert roles_of(tool) == {"alice": "OWNER"}


def test_banned_account_is_not_added(browser: Browser, tool: Package, bob: User) -> None:
    bans.ban(bob, actor=None)
    assert_refused(invite(browser, [BOB]), 400, "user_missing", "There is no open account 'bob'.")


def test_changed_collaborator_is_shown(browser: Browser, tool: Package, bob: User) -> None:
    invite(browser, [BOB])
    response = browser.send("PATCH", "/namespace/acme/packages/tool/collaborators/BOB", role="MANAGER")
    assert (response.status_code, response.json()) == (200, person(bob, "MANAGER"))
    assert roles_of(tool)["bob"] == "MANAGER"


def test_removed_collaborator_is_gone(browser: Browser, tool: Package, bob: User) -> None:
    invite(browser, [BOB])
    response = browser.delete("/namespace/acme/packages/tool/collaborators/bob")
    assert (response.status_code, response.json()) == (200, OK)
    assert roles_of(tool) == {"alice": "OWNER"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_who_is_no_collaborator_is_missing(browser: Browser, tool: Package, bob: User, method: str) -> None:
    for name in ("bob", "nobody", "%ff", "%2e%2e", "a" * 300, "%E4%B8%AD"):
        response = browser.send(method, f"{PEOPLE}/{name}", role="MEMBER")
        assert (response.status_code, response.json()["error"]) == (404, "collaborator_missing")


def test_bad_role_is_refused(browser: Browser, tool: Package, bob: User) -> None:
    invite(browser, [BOB])
    for role in (None, "", "member", "BOSS", 7, True, ["MEMBER"], {"role": "MEMBER"}):
        response = browser.send("PATCH", f"{PEOPLE}/bob", role=role)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
    assert roles_of(tool)["bob"] == "MEMBER"


def test_role_is_needed(browser: Browser, tool: Package) -> None:
    assert_refused(browser.send("PATCH", f"{PEOPLE}/alice"), 400, "malformed", "role: This field is required.")


LAST = "acme/tool would be left without an owner; make somebody else one first."


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_last_owner_stays(browser: Browser, tool: Package, bob: User, method: str) -> None:
    invite(browser, {"username": "bob", "role": "MANAGER"})
    assert_refused(browser.send(method, f"{PEOPLE}/alice", role="MANAGER"), 400, "last_owner", LAST)
    assert roles_of(tool) == {"alice": "OWNER", "bob": "MANAGER"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_owner_who_is_banned_does_not_count_as_one(browser: Browser, tool: Package, bob: User, method: str) -> None:
    invite(browser, {"username": "bob", "role": "OWNER"})
    bans.ban(bob, actor=None)
    assert_refused(browser.send(method, f"{PEOPLE}/alice", role="MANAGER"), 400, "last_owner", LAST)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_others_can_change_while_the_only_owner_is_banned(
    browser: Browser, acme: Principal, bob: User, charlie: User, method: str
) -> None:
    membership.add_members(acme, "acme", [Invitation("bob", Role.MANAGER)])
    tool = add(Principal(bob), "tool")
    invite(browser, {"username": "charlie", "role": "MEMBER"})
    bans.ban(bob, actor=None)
    assert browser.send(method, f"{PEOPLE}/charlie", role="READ_ONLY").status_code == 200
    assert roles_of(tool).get("charlie") == ("READ_ONLY" if method == "PATCH" else None)


def test_owner_leaves_when_there_is_another(browser: Browser, tool: Package, bob: User) -> None:
    invite(browser, {"username": "bob", "role": "OWNER"})
    assert browser.delete(f"{PEOPLE}/alice").status_code == 200
    assert roles_of(tool) == {"bob": "OWNER"}


def test_who_leaves_a_private_package_sees_it_no_more(browser: Browser, secret: Package, bob: User) -> None:
    browser.send("POST", f"{SECRET}/collaborators", **BOB)
    his = Browser(bob)
    assert his.get(SECRET).status_code == 200
    assert his.delete(f"{SECRET}/collaborators/bob").status_code == 200
    assert his.get(SECRET).status_code == 404


@pytest.mark.parametrize(("method", "path"), [("GET", PEOPLE), ("POST", PEOPLE), ("PATCH", f"{PEOPLE}/alice")])
def test_collaborators_are_for_who_is_signed_in(tool: Package, method: str, path: str) -> None:
    response = Browser().generic(method, path, b"{}", "application/json")
    assert (response.status_code, response.json()) == (401, ANONYMOUS)


@pytest.mark.parametrize(("method", "path"), [("GET", PEOPLE), ("POST", PEOPLE), ("PATCH", f"{PEOPLE}/bob")])
def test_missing_package_has_no_collaborators(browser: Browser, bob: User, method: str, path: str) -> None:
    response = browser.send(method, path, **BOB)
    assert (response.status_code, response.json()) == (404, NO_TOOL)


# --- Private packages are told as missing ones -------------------------------------------------------------------

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


def told(browser: Browser, package: str, route: tuple[str, str, dict[str, Any]], package_id: int) -> tuple[Any, ...]:
    """All of an answer, with the name of the package taken out."""
    method, path, body = route
    given = {key: str(package_id) if value == "{id}" else value for key, value in body.items()}
    response = browser.send(method, f"{NS}/{package}{path}", **given)
    return response.status_code, response.content.replace(package.encode(), b"NAME"), sorted(response.headers.items())


@pytest.mark.parametrize("role", [None, Role.MEMBER])
def test_private_package_is_told_as_a_missing_one(
    acme: Principal, secret: Package, charlie: User, role: Role | None
) -> None:
    if role:
        membership.add_members(acme, "acme", [Invitation("charlie", role)])
    browser = Browser(charlie)
    for route in ROUTES:
        assert told(browser, "secret", route, secret.pk) == told(browser, "absent", route, secret.pk)


def test_private_package_is_told_as_a_missing_one_to_nobody_known(secret: Package) -> None:
    for route in ROUTES:
        assert told(Browser(), "secret", route, secret.pk) == told(Browser(), "absent", route, secret.pk)


def test_refused_stranger_changes_nothing_of_a_private_package(secret: Package, charlie: User) -> None:
    for route in ROUTES:
        told(Browser(charlie), "secret", route, secret.pk)
    secret.refresh_from_db()
    assert (secret.type, secret.removed_at, roles_of(secret)) == ("PRIVATE", None, {"alice": "OWNER"})
    assert [row.version for row in Release.objects.all()] == ["1.0.0"]


@pytest.mark.parametrize("page", [1, 2])
def test_private_packages_are_not_counted(acme: Principal, tool: Package, charlie: User, page: int) -> None:
    for number in range(21):
        add(acme, f"secret-{number}", "PRIVATE")
    response = Browser(charlie).get(f"{NS}?page={page}")
    assert (response["X-Total-Count"], response.json()) == ("1", [brief()])
    assert "page=2" not in response["Link"]


# --- All of them -------------------------------------------------------------------------------------------------

WITH_BODIES = [("POST", NS), ("PUT", TOOL), ("PATCH", TOOL), ("PATCH", f"{PEOPLE}/alice")]


@pytest.mark.parametrize(("method", "path"), WITH_BODIES)
def test_bad_body_is_refused_with_its_reason(browser: Browser, tool: Package, method: str, path: str) -> None:
    for body, message in BAD_BODIES:
        response = browser.generic(method, path, body, "application/json")
        assert (response.status_code, set(response.json())) == (400, {"error", "message"})
        assert response.json()["message"] == message


def test_bad_bodies_add_no_collaborators(browser: Browser, tool: Package) -> None:
    answers = [browser.generic("POST", PEOPLE, body, "application/json") for body, _ in BAD_BODIES]
    assert {(answer.status_code, *answer.json()) for answer in answers} == {(400, "error", "message")}
    assert roles_of(tool) == {"alice": "OWNER"}


@pytest.mark.parametrize(("method", "path"), [*WITH_BODIES, ("POST", PEOPLE)])
def test_huge_body_is_not_read(browser: Browser, tool: Package, method: str, path: str) -> None:
    response = browser.generic(method, path, b'{"role": "' + b"x" * 1024 * 1024 + b'"}', "application/json")
    assert_refused(response, 413, "too_large", "The body has 1048588 bytes; at most 1048576 are taken here.")


@pytest.mark.parametrize(("method", "path"), [*WITH_BODIES, ("POST", PEOPLE)])
def test_other_content_types_are_refused(browser: Browser, tool: Package, method: str, path: str) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        response = browser.generic(method, path, b'{"type": "PUBLIC"}', content_type)
        message = f'Unsupported media type "{content_type}" in request.'
        assert_refused(response, 415, "unsupported_media_type", message)


@pytest.mark.parametrize(("method", "path"), [*WITH_BODIES, ("POST", PEOPLE)])
def test_body_without_a_length_is_refused(browser: Browser, tool: Package, method: str, path: str) -> None:
    response = browser.generic(method, path, headers={"Transfer-Encoding": "chunked"})
    message = "Send the body with a Content-Length; a chunked body is not taken here."
    assert_refused(response, 411, "length_required", message)


@pytest.mark.parametrize(("method", "path"), [*WITH_BODIES, ("POST", PEOPLE), ("DELETE", TOOL)])
def test_cookie_alone_changes_nothing(alice: User, tool: Package, method: str, path: str) -> None:
    forged = Client(enforce_csrf_checks=True, raise_request_exception=False, headers={"Origin": "http://evil.example"})
    forged.force_login(alice)
    response = forged.generic(method, path, b"{}", "application/json")
    assert (response.status_code, set(response.json())) == (403, {"error", "message"})


METHODS = {
    "/packages?query=": {"GET", "HEAD"},
    NS: {"GET", "HEAD", "POST"},
    TOOL: {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
    f"{TOOL}/versions": {"GET", "HEAD"},
    f"{TOOL}/versions/1.0.0": {"GET", "HEAD"},
    f"{TOOL}/versions/1.0.0/download": {"GET", "HEAD"},
    PEOPLE: {"GET", "HEAD", "POST"},
    f"{PEOPLE}/alice": {"PATCH", "DELETE"},
}


@pytest.mark.parametrize("path", METHODS)
def test_other_methods_are_refused(browser: Browser, tool: Package, path: str) -> None:
    for method in ALL_METHODS - METHODS[path]:
        response = browser.generic(method, path, b"{}", "application/json")
        assert_refused(response, 405, "method_not_allowed", f'Method "{method}" not allowed.')
        assert {word.strip() for word in response["Allow"].split(",")} - {"OPTIONS"} == METHODS[path]


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


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_path_is_told_as_yapkg_tells_it(browser: Browser, tool: Package, method: str) -> None:
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


def test_odd_name_is_an_unknown_name(browser: Browser, tool: Package) -> None:
    for name in ODD_NAMES:
        methods = ("GET", "PUT", "PATCH", "DELETE")
        statuses = {method: browser.send(method, f"{NS}/{name}", **RELEASE).status_code for method in methods}
        assert statuses == {"GET": 404, "PUT": 400, "PATCH": 404, "DELETE": 204}


def test_odd_namespace_is_an_unknown_one(browser: Browser, tool: Package) -> None:
    for name in ODD_NAMES:
        there = f"/namespaces/{name}/packages"
        assert browser.get(there).json()["error"] == "namespace_missing"
        assert browser.send("POST", there, **CREATION).json()["error"] == "namespace_missing"
        assert browser.get(f"{there}/tool").json()["error"] == "package_missing"


@pytest.mark.parametrize("path", [f"{NS}/a%2fb", "/namespaces/a%2fb/packages", f"{TOOL}%2f", f"{TOOL}/versions/1%2f0"])
def test_slash_in_a_name_is_a_slash_in_the_path(browser: Browser, tool: Package, path: str) -> None:
    response = browser.get(path)
    assert (response.status_code, response.json()) == (404, NO_PATH)


@pytest.mark.parametrize(
    "path", [f"{NS}/to%00ol", "/namespaces/a%00/packages", "/packages?query=%00", f"{NS}?page=%00"]
)
def test_nul_is_refused(browser: Browser, path: str) -> None:
    response = browser.get(path)
    assert (response.status_code, set(response.json())) == (400, {"error", "message"})


@pytest.mark.parametrize("name", ["%74%6f%6f%6c", "t%6Fol"])
def test_name_may_be_written_with_percent_signs(tool: Package, name: str) -> None:
    assert Client().get(f"{NS}/{name}").json()["package_name"] == "tool"


SHOWN = ["", "/tool", "/secret", "/tool/versions", "/tool/versions/1.0.0", "/tool/collaborators", "/none", "?page=7"]


def test_both_spellings_of_the_prefix_are_one(browser: Browser, tool: Package, secret: Package) -> None:
    for path in SHOWN:
        one, other = (browser.get(f"/{prefix}/acme/packages{path}") for prefix in ("namespace", "namespaces"))
        assert (one.status_code, one.json()) == (other.status_code, other.json())
        assert one.get("X-Total-Count") == other.get("X-Total-Count")


@pytest.mark.parametrize("who", ["alice", "nobody"])
def test_no_cache_shows_an_answer_to_somebody_else(alice: User, tool: Package, secret: Package, who: str) -> None:
    browser = Browser(alice if who == "alice" else None)
    for path in ("/packages?query=tool", "/packages", NS, TOOL, SECRET, PEOPLE, f"{TOOL}/versions"):
        response = browser.get(path)
        assert {"Cookie", "Token", "X-Auth-Token"} <= {word.strip() for word in response["Vary"].split(",")}
        assert "private" in response["Cache-Control"]


def test_head_is_told_what_get_is_told(tool: Package) -> None:
    for path in (NS, TOOL, "/packages?query=tool", f"{TOOL}/versions"):
        head, get = Client().head(path), Client().get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.get("X-Total-Count") == get.get("X-Total-Count")


@pytest.mark.parametrize("path", [NS, TOOL, "/packages?query=tool"])
def test_answer_is_json_whatever_is_accepted(tool: Package, path: str) -> None:
    for accept in ("application/json", "text/html", "image/png", "nonsense"):
        response = Client().get(path, headers={"Accept": accept})
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")


# --- How often the database is asked -----------------------------------------------------------------------------


def queries_of(browser: Browser, path: str, count: Any) -> int:
    with count(1000) as asked:
        assert browser.get(path).status_code == 200
    return len(asked)


def people(first: int) -> list[User]:
    return [registration.register(f"user{number}", PASSWORD) for number in range(first, MANY)]


def test_lists_take_the_same_queries_for_one_package_and_for_many(
    browser: Browser, acme: Principal, bob: User, django_assert_max_num_queries: Any
) -> None:
    paths = (NS, "/packages?query=tool", "/packages?query=")
    add(acme, "tool-0")
    before = [queries_of(browser, path, django_assert_max_num_queries) for path in paths]
    membership.add_members(acme, "acme", [Invitation("bob", Role.MEMBER)])
    for number in range(1, MANY):
        add(Principal(bob) if number % 2 else acme, f"tool-{number}")
    assert [queries_of(browser, path, django_assert_max_num_queries) for path in paths] == before


def test_versions_take_the_same_queries_for_one_and_for_many(
    browser: Browser, tool: Package, django_assert_max_num_queries: Any
) -> None:
    before = queries_of(browser, f"{TOOL}/versions", django_assert_max_num_queries)
    others = [
        Release(package=tool, version=f"0.{number}.0", precedence=f"0.{number}.0", publisher=user)
        for number, user in enumerate(people(80) * 5)
    ]
    Release.objects.bulk_create(others)
    assert queries_of(browser, f"{TOOL}/versions", django_assert_max_num_queries) == before
    assert len(browser.get(f"{TOOL}/versions").json()) == 101


def test_collaborators_take_the_same_queries_for_one_and_for_many(
    browser: Browser, tool: Package, django_assert_max_num_queries: Any
) -> None:
    before = queries_of(browser, PEOPLE, django_assert_max_num_queries)
    Collaboration.objects.bulk_create(Collaboration(package=tool, user=user) for user in people(0))
    assert queries_of(browser, PEOPLE, django_assert_max_num_queries) == before


def test_members_take_the_same_queries_for_one_and_for_many(
    browser: Browser, tool: Package, django_assert_max_num_queries: Any
) -> None:
    before = queries_of(browser, "/namespace/acme", django_assert_max_num_queries)
    Membership.objects.bulk_create(Membership(namespace=tool.namespace, user=user, role="MEMBER") for user in people(0))
    assert queries_of(browser, "/namespace/acme", django_assert_max_num_queries) == before
