"""Who may do what with packages, collaborators and members: every cell of the matrix, asked over HTTP."""

import gzip
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client, override_settings
from pytest_django import DjangoDbBlocker

from accounts import registration, roles
from accounts.models import Role as SiteRole
from accounts.models import User
from accounts.principals import Principal
from namespaces import membership
from namespaces.models import Membership, Role
from namespaces.role_assignments import Invitation
from packages import collaboration, release_input, releasing, rights
from packages.models import Collaboration, Package
from tests.support.app_keys import KeyPair, issue_key, sign_request
from tests.support.browser import Browser
from tests.support.cast import PASSWORD

pytestmark = pytest.mark.django_db

ARCHIVE = gzip.compress(bytes(1024))  # a tar of nothing
IN_NAMESPACE = tuple(f"ns-{role}" for role in Role.values)
IN_PACKAGE = tuple(f"pkg-{role}" for role in Role.values)
ADMINISTRATORS = ("superuser", "systemAdmin")
USERS = ("stranger", *IN_NAMESPACE, *IN_PACKAGE, *ADMINISTRATORS)
WHO = ("anonymous", *USERS)

NS = "/namespaces/acme"
RELEASE = {"version": "2.0.0", "dependencies": [], "dev_dependencies": []}
NEW = {**RELEASE, "package_name": "fresh", "field": "java"}
OTHER_ROLE = {role: "MEMBER" if role == Role.READ_ONLY else "READ_ONLY" for role in Role}


class Row(NamedTuple):
    """A request, and the status that each of WHO is answered, in that order."""

    name: str
    method: str
    path: str
    answers: str
    body: Any = None

    @property
    def expected(self) -> dict[str, int]:
        statuses = [int(status) for status in self.answers.replace("|", "").split()]
        return dict(zip(WHO, statuses, strict=True))


# Anonymous and a stranger | OWNER, MANAGER, MEMBER, READ_ONLY of the namespace | and of the package | administrators.
ALL_READ = "200 200 | 200 200 200 200 | 200 200 200 200 | 200 200"
SOME_READ = "404 404 | 200 200 404 404 | 200 200 200 200 | 200 200"
OWNERS = "401 403 | 200 403 403 403 | 200 403 403 403 | 200 200"
OWNERS_OF_SECRET = "401 404 | 200 403 404 404 | 200 403 403 403 | 200 200"
MANAGERS = "401 403 | 200 200 403 403 | 200 200 403 403 | 200 200"
MANAGERS_OF_SECRET = "401 404 | 200 200 404 404 | 200 200 403 403 | 200 200"
OWNERS_OF_NAMESPACE = "401 403 | 200 403 403 403 | 403 403 403 403 | 200 200"
MANAGERS_OF_NAMESPACE = "401 403 | 200 200 403 403 | 403 403 403 403 | 200 200"
CREATORS = "401 403 | 200 200 200 403 | 403 403 403 403 | 200 200"
PUBLISHERS = "401 403 | 200 200 200 403 | 200 200 200 403 | 200 200"

TOOL, SECRET = f"{NS}/packages/tool", f"{NS}/packages/secret"  # PUBLIC and PRIVATE

PACKAGE_ROWS = [
    Row("read PUBLIC", "GET", TOOL, ALL_READ),
    Row("read PRIVATE", "GET", SECRET, SOME_READ),
    Row("versions of PUBLIC", "GET", f"{TOOL}/versions", ALL_READ),
    Row("versions of PRIVATE", "GET", f"{SECRET}/versions", SOME_READ),
    Row("version of PUBLIC", "GET", f"{TOOL}/versions/1.0.0", ALL_READ),
    Row("version of PRIVATE", "GET", f"{SECRET}/versions/1.0.0", SOME_READ),
    Row("download PUBLIC", "GET", f"{TOOL}/versions/1.0.0/download", ALL_READ),
    Row("download PRIVATE", "GET", f"{SECRET}/versions/1.0.0/download", SOME_READ),
    Row("list packages", "GET", f"{NS}/packages", ALL_READ),
    Row("create PUBLIC", "POST", f"{NS}/packages", CREATORS, NEW),
    Row("create PRIVATE", "POST", f"{NS}/packages", CREATORS, {**NEW, "type": "PRIVATE"}),
    Row("PUT PUBLIC", "PUT", TOOL, PUBLISHERS, RELEASE),
    Row("PUT PRIVATE", "PUT", SECRET, "401 400 | 200 200 400 400 | 200 200 200 403 | 200 200", RELEASE),
    Row("PATCH PUBLIC", "PATCH", TOOL, PUBLISHERS, {"status": "DEPRECATED"}),
    Row("PATCH PRIVATE", "PATCH", SECRET, "401 404 | 200 200 404 404 | 200 200 200 403 | 200 200", {"type": "PUBLIC"}),
    Row("delete PUBLIC", "DELETE", TOOL, "401 403 | 200 200 403 403 | 200 403 403 403 | 200 200"),
    Row("delete PRIVATE", "DELETE", SECRET, "401 204 | 200 200 204 204 | 200 403 403 403 | 200 200"),
    Row("collaborators of PUBLIC", "GET", f"{TOOL}/collaborators", ALL_READ.replace("200", "401", 1)),
    Row("collaborators of PRIVATE", "GET", f"{SECRET}/collaborators", SOME_READ.replace("404", "401", 1)),
]


def _people_rows(kind: str, people: str, role: Role, answers: str) -> list[Row]:
    """To let somebody in as `role`, to change one who is in it, and to put one out."""
    target = f"{people}/target-{role}"
    return [
        Row(f"add {kind} {role}", "POST", people, answers, [{"username": "outsider", "role": role}]),
        Row(f"change {kind} {role}", "PATCH", target, answers, {"role": OTHER_ROLE[role]}),
        Row(f"remove {kind} {role}", "DELETE", target, answers),
    ]


def _rows_of_role(role: Role) -> list[Row]:
    own, low = role is Role.OWNER, role in (Role.MEMBER, Role.READ_ONLY)
    public, private = (OWNERS, OWNERS_OF_SECRET) if own else (MANAGERS, MANAGERS_OF_SECRET)
    of_members = MANAGERS_OF_NAMESPACE if low else OWNERS_OF_NAMESPACE
    raised = {"role": role}
    return [
        *_people_rows("PUBLIC collaborator", f"{TOOL}/collaborators", role, public),
        *_people_rows("PRIVATE collaborator", f"{SECRET}/collaborators", role, private),
        *_people_rows("member", f"{NS}/members", role, of_members),
        Row(f"raise to collaborator {role}", "PATCH", f"{TOOL}/collaborators/target-READ_ONLY", public, raised),
        Row(f"raise to member {role}", "PATCH", f"{NS}/members/target-READ_ONLY", of_members, raised),
    ]


TABLE = [
    *PACKAGE_ROWS,
    *(row for role in Role for row in _rows_of_role(role)),
    Row("delete namespace", "DELETE", NS, OWNERS_OF_NAMESPACE),
]


class World:
    """One of each of WHO at one namespace with a PUBLIC and a PRIVATE package; what a request changes is undone."""

    def __init__(self) -> None:
        targets = tuple(f"target-{role}" for role in Role.values)
        names = ("founder", "outsider", *targets, *USERS)
        self.users = {name: registration.register(name, PASSWORD, admin=name == "superuser") for name in names}
        roles.grant(self.users["systemAdmin"], SiteRole.SYSTEM_ADMIN, actor=None)
        founder = Principal(self.users["founder"])
        membership.create_namespace(founder, "acme")
        membership.add_members(founder, "acme", _invitations(*IN_NAMESPACE, *targets))
        for name, kind in (("tool", "PUBLIC"), ("secret", "PRIVATE")):
            archive = release_input.Upload(BytesIO(ARCHIVE), len(ARCHIVE))
            releasing.create_package(
                founder, "acme", name, "java", release_input.ReleaseInput(version="1.0.0", type=kind, archive=archive)
            )
            collaboration.add_collaborators(founder, "acme", name, _invitations(*IN_PACKAGE, *targets))
        self.clients: dict[str, Client] = {name: Browser(self.users.get(name)) for name in WHO}
        self.keys = {kind: issue_key(self.users["ns-OWNER"], kind) for kind in ("READ_ONLY", "PUBLISH", "ALL")}

    def ask(self, who: str, row: Row) -> Any:
        """What one of WHO is answered."""
        return self._undone(self.clients[who], row, {})

    def ask_with_key(self, key: KeyPair, row: Row) -> Any:
        """What the holder of an app key is answered, who has no cookie."""
        return self._undone(Client(raise_request_exception=False), row, {"Token": sign_request(key, _text(row.body))})

    def _undone(self, client: Client, row: Row, headers: dict[str, str]) -> Any:
        with transaction.atomic():
            answer = client.generic(row.method, row.path, _text(row.body), "application/json", headers=headers)
            transaction.set_rollback(True)
        if answer.streaming:
            answer.getvalue()  # to the end, where it closes its file
        return answer


def told(answer: Any) -> int | str:
    """The status; with a remark, when a refusal has not a code and a sentence."""
    status = int(answer.status_code)
    if status < 400 or set(answer.json()) == {"error", "message"}:
        return status
    return f"{status} with {answer.content.decode()}"


def _text(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


def _invitations(*names: str) -> list[Invitation]:
    """Everybody in the role that their name ends with."""
    return [Invitation(name, Role(name.partition("-")[2])) for name in names]


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """It stands in a transaction that is undone at the end."""
    disk = {
        "BACKEND": "registry_site.storage.disk.DiskBlobs",
        "OPTIONS": {"location": tmp_path_factory.mktemp("blobs")},
    }
    stores = override_settings(STORAGES={**settings.STORAGES, "blobs": disk})
    with django_db_blocker.unblock(), stores, transaction.atomic():
        yield World()
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """The world has its own, for as long as it stands."""


# --- The matrix --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_deed_is_for_whom_the_matrix_says(world: World, row: Row) -> None:
    assert {who: told(world.ask(who, row)) for who in WHO} == row.expected


READERS_OF_SECRET = {who for who, status in PACKAGE_ROWS[1].expected.items() if status == 200}


@pytest.mark.parametrize("who", WHO)
def test_list_shows_what_may_be_read(world: World, who: str) -> None:
    listed = world.ask(who, Row("", "GET", f"{NS}/packages", ""))
    wanted = ["secret", "tool"] if who in READERS_OF_SECRET else ["tool"]
    assert [package["package_name"] for package in listed.json()] == wanted
    assert listed["X-Total-Count"] == str(len(wanted))


@pytest.mark.parametrize("query", ["", "acme/secret"])
def test_search_shows_nobody_what_is_private(world: World, query: str) -> None:
    found = [world.ask(who, Row("", "GET", f"/packages?query={query}", "")).json() for who in WHO]
    assert {package["package_name"] for packages in found for package in packages} <= {"tool"}


def test_namespace_of_ones_own_is_for_oneself_and_administrators(world: World) -> None:
    row = Row("create", "POST", "/namespaces/stranger/packages", "", NEW)
    expected = {name: 200 if name in ("stranger", *ADMINISTRATORS) else 403 for name in USERS} | {"anonymous": 401}
    assert {who: world.ask(who, row).status_code for who in WHO} == expected


@pytest.mark.parametrize("who", USERS)
def test_members_may_leave_and_nobody_else_is_there_to(world: World, who: str) -> None:
    row = Row("leave", "DELETE", f"{NS}/members/{who}", "")
    told = 200 if who in IN_NAMESPACE else 404 if who in ADMINISTRATORS else 403
    assert world.ask(who, row).status_code == told


@pytest.mark.parametrize("path", [TOOL, SECRET])
@pytest.mark.parametrize("who", IN_PACKAGE)
def test_collaborators_may_leave(world: World, who: str, path: str) -> None:
    assert world.ask(who, Row("leave", "DELETE", f"{path}/collaborators/{who}", "")).status_code == 200


@pytest.mark.parametrize("people", [f"{NS}/members/ns", f"{TOOL}/collaborators/pkg", f"{SECRET}/collaborators/pkg"])
@pytest.mark.parametrize("role", [Role.MANAGER, Role.MEMBER, Role.READ_ONLY])
def test_nobody_raises_themselves_to_an_owner(world: World, people: str, role: Role) -> None:
    who = f"{people.rpartition('/')[2]}-{role}"
    row = Row("raise", "PATCH", f"{people}-{role}", "", {"role": "OWNER"})
    assert world.ask(who, row).status_code == 403


# --- Two roles at once -------------------------------------------------------------------------------------------


def both(world: World, name: str, in_namespace: Role, in_package: Role, row: Row) -> int:
    """What somebody is told who has a role here and another there."""
    user, package = world.users["stranger"], Package.objects.get(name=name)
    with transaction.atomic():
        Membership.objects.create(namespace=package.namespace, user=user, role=in_namespace)
        Collaboration.objects.create(package=package, user=user, role=in_package)
        status = int(world.ask("stranger", row).status_code)
        transaction.set_rollback(True)
    return status


@pytest.mark.parametrize(
    ("in_namespace", "in_package", "row", "status"),
    [
        (Role.MEMBER, Role.READ_ONLY, Row("", "PUT", SECRET, "", RELEASE), 200),
        (Role.READ_ONLY, Role.MEMBER, Row("", "PUT", SECRET, "", RELEASE), 200),
        (Role.READ_ONLY, Role.READ_ONLY, Row("", "PUT", SECRET, "", RELEASE), 403),
        (Role.MANAGER, Role.READ_ONLY, Row("", "DELETE", SECRET, ""), 200),
        (Role.READ_ONLY, Role.OWNER, Row("", "DELETE", SECRET, ""), 200),
        (Role.MEMBER, Role.MANAGER, Row("", "DELETE", SECRET, ""), 403),
        (Role.MANAGER, Role.OWNER, Row("", "DELETE", f"{SECRET}/collaborators/target-OWNER", ""), 200),
        (Role.OWNER, Role.READ_ONLY, Row("", "DELETE", f"{SECRET}/collaborators/target-OWNER", ""), 200),
        (Role.MANAGER, Role.MANAGER, Row("", "DELETE", f"{SECRET}/collaborators/target-OWNER", ""), 403),
        (
            Role.MEMBER,
            Role.OWNER,
            Row("", "POST", f"{NS}/members", "", {"username": "outsider", "role": "MEMBER"}),
            403,
        ),
    ],
)
def test_higher_of_two_roles_counts(world: World, in_namespace: Role, in_package: Role, row: Row, status: int) -> None:
    assert both(world, "secret", in_namespace, in_package, row) == status


# --- The rule for many -------------------------------------------------------------------------------------------


def seen(user: User | None) -> set[str]:
    return {package.name for package in Package.objects.visible_to(user)}


def readable(user: User | None) -> set[str]:
    return {package.name for package in Package.objects.all() if rights.rights_of(package, user).may_read}


@pytest.mark.parametrize("who", WHO)
def test_rule_for_many_is_the_rule_for_one(world: World, who: str) -> None:
    user = world.users.get(who)
    assert seen(user) == readable(user) == ({"secret", "tool"} if who in READERS_OF_SECRET else {"tool"})


@pytest.mark.parametrize("in_namespace", Role)
@pytest.mark.parametrize("in_package", Role)
def test_rule_for_many_shows_each_package_once(world: World, in_namespace: Role, in_package: Role) -> None:
    user = world.users["stranger"]
    with transaction.atomic():
        for package in Package.objects.all():
            Collaboration.objects.create(package=package, user=user, role=in_package)
        Membership.objects.create(namespace=package.namespace, user=user, role=in_namespace)
        names = [package.name for package in Package.objects.visible_to(user)]
        transaction.set_rollback(True)
    assert names == ["secret", "tool"]


# --- App keys ----------------------------------------------------------------------------------------------------

READS = [row for row in PACKAGE_ROWS if row.method == "GET"]
PUBLISHES = [row for row in PACKAGE_ROWS if row.method in ("POST", "PUT", "PATCH")]
MANAGES = [row for row in TABLE if row.name.startswith("delete") or row.name.endswith("MANAGER")]
MAY = {"READ_ONLY": READS, "PUBLISH": [*READS, *PUBLISHES], "ALL": TABLE}
SIGNED = [*READS, *PUBLISHES, *MANAGES]


@pytest.mark.parametrize("row", SIGNED, ids=[row.name for row in SIGNED])
def test_key_of_an_owner_allows_what_its_type_says(world: World, row: Row) -> None:
    expected = {kind: 200 if row in allowed else 403 for kind, allowed in MAY.items()}
    assert {kind: world.ask_with_key(key, row).status_code for kind, key in world.keys.items()} == expected


@pytest.mark.parametrize(("kind", "row"), [("READ_ONLY", PUBLISHES[0]), ("PUBLISH", MANAGES[0])])
def test_key_that_does_not_suffice_is_told_so(world: World, kind: str, row: Row) -> None:
    answer = world.ask_with_key(world.keys[kind], row)
    assert (answer.status_code, answer.json()["error"]) == (403, "scope_missing")


@pytest.mark.parametrize("row", PACKAGE_ROWS, ids=[row.name for row in PACKAGE_ROWS])
def test_key_gives_no_more_than_its_holder_has(world: World, row: Row) -> None:
    with transaction.atomic():
        status = world.ask_with_key(issue_key(world.users["ns-READ_ONLY"], "ALL"), row).status_code
        transaction.set_rollback(True)
    assert status == row.expected["ns-READ_ONLY"]


def test_key_for_reading_shows_what_is_private_to_its_holder_alone(world: World) -> None:
    with transaction.atomic():
        keys = [issue_key(world.users[who], "READ_ONLY") for who in ("ns-MANAGER", "pkg-READ_ONLY", "ns-MEMBER")]
        statuses = [world.ask_with_key(key, PACKAGE_ROWS[1]).status_code for key in keys]
        transaction.set_rollback(True)
    assert statuses == [200, 200, 404]
