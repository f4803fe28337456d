"""Rights in packages and namespaces: every cell of the matrix, over HTTP."""

import gzip
import itertools
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
from namespaces.role_assignments import NewRole
from packages import collaboration, release_input, releasing, rights
from packages.models import Collaboration, Package
from tests.support.app_keys import KeyPair, issue_key, sign_request
from tests.support.browser import Browser
from tests.support.cast import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.long]

ARCHIVE = gzip.compress(bytes(1024))  # a tar of nothing
IN_NAMESPACE = tuple(f"ns-{role}" for role in Role.values)
IN_PACKAGE = tuple(f"pkg-{role}" for role in Role.values)
ADMINISTRATORS = ("superuser", "systemAdmin")
USERS = ("stranger", *IN_NAMESPACE, *IN_PACKAGE, *ADMINISTRATORS)
CAST = ("anonymous", *USERS)

NS = "/namespaces/acme"
RELEASE = {"version": "2.0.0", "dependencies": [], "dev_dependencies": []}
NEW = {**RELEASE, "package_name": "fresh", "field": "java"}
OTHER_ROLE = {role: "MEMBER" if role == Role.READ_ONLY else "READ_ONLY" for role in Role}


class Row(NamedTuple):
    """A request, and the expected status for each of CAST, in that order."""

    name: str
    method: str
    path: str
    statuses: str
    body: Any = None

    @property
    def expected(self) -> dict[str, int]:
        statuses = [int(status) for status in self.statuses.replace("|", "").split()]
        return dict(zip(CAST, statuses, strict=True))


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


def role_rows(kind: str, path: str, role: Role, statuses: str) -> list[Row]:
    """Return rows that add somebody with a role, change somebody of that role, and remove somebody of it."""
    target = f"{path}/target-{role}"
    return [
        Row(f"add {kind} {role}", "POST", path, statuses, [{"username": "outsider", "role": role}]),
        Row(f"change {kind} {role}", "PATCH", target, statuses, {"role": OTHER_ROLE[role]}),
        Row(f"remove {kind} {role}", "DELETE", target, statuses),
    ]


def rows_of_role(role: Role) -> list[Row]:
    public, private = (OWNERS, OWNERS_OF_SECRET) if role is Role.OWNER else (MANAGERS, MANAGERS_OF_SECRET)
    is_low = role in (Role.MEMBER, Role.READ_ONLY)
    members = MANAGERS_OF_NAMESPACE if is_low else OWNERS_OF_NAMESPACE
    change = {"role": role}
    return [
        *role_rows("PUBLIC collaborator", f"{TOOL}/collaborators", role, public),
        *role_rows("PRIVATE collaborator", f"{SECRET}/collaborators", role, private),
        *role_rows("member", f"{NS}/members", role, members),
        Row(f"raise to collaborator {role}", "PATCH", f"{TOOL}/collaborators/target-READ_ONLY", public, change),
        Row(f"raise to member {role}", "PATCH", f"{NS}/members/target-READ_ONLY", members, change),
    ]


TABLE = [
    *PACKAGE_ROWS,
    *(row for role in Role for row in rows_of_role(role)),
    Row("delete namespace", "DELETE", NS, OWNERS_OF_NAMESPACE),
    Row("create namespace", "POST", "/namespace", ALL_READ.replace("200", "401", 1), {"namespace": "fresh"}),
]


class World:
    """All of CAST, and a namespace with a PUBLIC and a PRIVATE package. Each request is rolled back."""

    def __init__(self) -> None:
        targets = tuple(f"target-{role}" for role in Role.values)
        names = ("founder", "outsider", *targets, *USERS)
        self.users = {name: registration.register(name, PASSWORD, admin=name == "superuser") for name in names}
        roles.grant(self.users["systemAdmin"], SiteRole.SYSTEM_ADMIN, actor=None)
        founder = Principal(self.users["founder"])
        membership.create_namespace(founder, "acme")
        membership.add_members(founder, "acme", invitations(*IN_NAMESPACE, *targets))
        for name, kind in (("tool", "PUBLIC"), ("secret", "PRIVATE")):
            archive = release_input.Upload(BytesIO(ARCHIVE), len(ARCHIVE))
            releasing.create_package(
                founder, "acme", name, "java", release_input.ReleaseInput(version="1.0.0", type=kind, archive=archive)
            )
            collaboration.add_collaborators(founder, "acme", name, invitations(*IN_PACKAGE, *targets))
        self.clients: dict[str, Client] = {name: Browser(self.users.get(name)) for name in CAST}
        self.keys = {kind: issue_key(self.users["ns-OWNER"], kind) for kind in ("READ_ONLY", "PUBLISH", "ALL")}

    def send(self, name: str, row: Row) -> Any:
        """Send the request as one of CAST."""
        return self._send_and_roll_back(self.clients[name], row, {})

    def send_with_key(self, key: KeyPair, row: Row) -> Any:
        """Send the request with an app key and without a cookie."""
        token = sign_request(key, encode_body(row.body))
        return self._send_and_roll_back(Client(raise_request_exception=False), row, {"Token": token})

    def _send_and_roll_back(self, client: Client, row: Row, headers: dict[str, str]) -> Any:
        with transaction.atomic():
            response = client.generic(row.method, row.path, encode_body(row.body), "application/json", headers=headers)
            transaction.set_rollback(True)
        if response.streaming:
            response.getvalue()  # reading to the end closes the file
        return response


def status_of(response: Any) -> int | str:
    """Return the status; a refusal without a code and a message gets a remark."""
    status = int(response.status_code)
    if status < 400 or set(response.json()) == {"error", "message"}:
        return status
    return f"{status} with {response.content.decode()}"


def encode_body(body: Any) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


def invitations(*names: str) -> list[NewRole]:
    """Invite each account with the role that its name ends with."""
    return [NewRole(name, Role(name.partition("-")[2])) for name in names]


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The world of this module, in a transaction that is rolled back at the end."""
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
    """Keep the directory of the world for the whole module."""


# --- The matrix ------------------------------------------------------------------------------------------------------


@pytest.mark.database_independent
def test_every_request_follows_the_matrix(world: World) -> None:
    offenders = [
        f"{name}: {row.name} answers {status}, not {expected}"
        for row in TABLE
        for name, expected in row.expected.items()
        if (status := status_of(world.send(name, row))) != expected
    ]
    assert offenders == []


READERS_OF_SECRET = {name for name, status in PACKAGE_ROWS[1].expected.items() if status == 200}


def test_list_shows_readable_packages(world: World) -> None:
    for name in CAST:
        response = world.send(name, Row("", "GET", f"{NS}/packages", ""))
        readable = ["secret", "tool"] if name in READERS_OF_SECRET else ["tool"]
        assert [package["package_name"] for package in response.json()] == readable
        assert response["X-Total-Count"] == str(len(readable))


def test_search_shows_no_private_packages(world: World) -> None:
    for query in ("", "acme/secret"):
        results = [world.send(name, Row("", "GET", f"/packages?query={query}", "")).json() for name in CAST]
        assert {package["package_name"] for packages in results for package in packages} <= {"tool"}


def test_personal_namespace_belongs_to_its_user(world: World) -> None:
    row = Row("create", "POST", "/namespaces/stranger/packages", "", NEW)
    expected = {name: 200 if name in ("stranger", *ADMINISTRATORS) else 403 for name in USERS} | {"anonymous": 401}
    assert {name: world.send(name, row).status_code for name in CAST} == expected


def test_members_may_leave(world: World) -> None:
    rows = {name: Row("leave", "DELETE", f"{NS}/members/{name}", "") for name in USERS}
    expected = {name: 200 if name in IN_NAMESPACE else 404 if name in ADMINISTRATORS else 403 for name in USERS}
    assert {name: world.send(name, row).status_code for name, row in rows.items()} == expected


def test_collaborators_may_leave(world: World) -> None:
    for path in (TOOL, SECRET):
        for name in IN_PACKAGE:
            row = Row("leave", "DELETE", f"{path}/collaborators/{name}", "")
            assert world.send(name, row).status_code == 200


def test_nobody_can_become_owner_alone(world: World) -> None:
    for path in (f"{NS}/members/ns", f"{TOOL}/collaborators/pkg", f"{SECRET}/collaborators/pkg"):
        for role in (Role.MANAGER, Role.MEMBER, Role.READ_ONLY):
            name = f"{path.rpartition('/')[2]}-{role}"
            row = Row("raise", "PATCH", f"{path}-{role}", "", {"role": "OWNER"})
            assert world.send(name, row).status_code == 403


# --- Two roles at once -----------------------------------------------------------------------------------------------


def status_with_two_roles(world: World, name: str, in_namespace: Role, in_package: Role, row: Row) -> int:
    """Return the status for a user who has a role in the namespace and another in the package."""
    user, package = world.users["stranger"], Package.objects.get(name=name)
    with transaction.atomic():
        Membership.objects.create(namespace=package.namespace, user=user, role=in_namespace)
        Collaboration.objects.create(package=package, user=user, role=in_package)
        status = int(world.send("stranger", row).status_code)
        transaction.set_rollback(True)
    return status


TWO_ROLES = [
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
]


def test_higher_of_two_roles_counts(world: World) -> None:
    for in_namespace, in_package, row, status in TWO_ROLES:
        assert status_with_two_roles(world, "secret", in_namespace, in_package, row) == status


# --- The rule of one package, and of many ----------------------------------------------------------------------------


def visible_names(user: User | None) -> set[str]:
    return {package.name for package in Package.objects.visible_to(user)}


def readable_names(user: User | None) -> set[str]:
    return {package.name for package in Package.objects.all() if rights.rights_of(package, user).may_read}


def test_publishers_must_be_able_to_read(world: World) -> None:
    member, secret = world.users["ns-MEMBER"], Package.objects.get(name="secret")
    assert not rights.rights_of(secret, member).may_publish


def test_visible_packages_are_the_readable_ones(world: World) -> None:
    for name in CAST:
        user = world.users.get(name)
        expected = {"secret", "tool"} if name in READERS_OF_SECRET else {"tool"}
        assert visible_names(user) == readable_names(user) == expected


def test_two_roles_list_a_package_once(world: World) -> None:
    user = world.users["stranger"]
    for in_namespace, in_package in itertools.product(Role, Role):
        with transaction.atomic():
            for package in Package.objects.all():
                Collaboration.objects.create(package=package, user=user, role=in_package)
            Membership.objects.create(namespace=package.namespace, user=user, role=in_namespace)
            names = [package.name for package in Package.objects.visible_to(user)]
            transaction.set_rollback(True)
        assert names == ["secret", "tool"]


# --- App keys --------------------------------------------------------------------------------------------------------

READS = [row for row in PACKAGE_ROWS if row.method == "GET"]
PUBLISHES = [row for row in PACKAGE_ROWS if row.method in ("POST", "PUT", "PATCH")]
MANAGES = [row for row in TABLE if row.name.startswith("delete") or row.name.endswith(("MANAGER", "create namespace"))]
ALLOWED_BY_TYPE = {"READ_ONLY": READS, "PUBLISH": [*READS, *PUBLISHES], "ALL": TABLE}
SIGNED = [*READS, *PUBLISHES, *MANAGES]


def test_type_of_key_limits_an_owner(world: World) -> None:
    offenders = [
        f"{kind}: {row.name} answers {status}"
        for row in SIGNED
        for kind, key in world.keys.items()
        if (status := world.send_with_key(key, row).status_code) != (200 if row in ALLOWED_BY_TYPE[kind] else 403)
    ]
    assert offenders == []


def test_insufficient_key_gets_scope_missing(world: World) -> None:
    for kind, row in (("READ_ONLY", PUBLISHES[0]), ("PUBLISH", MANAGES[0])):
        response = world.send_with_key(world.keys[kind], row)
        assert (response.status_code, response.json()["error"]) == (403, "scope_missing")


def test_key_has_no_more_rights_than_its_user(world: World) -> None:
    with transaction.atomic():
        key = issue_key(world.users["ns-READ_ONLY"], "ALL")
        statuses = {row.name: world.send_with_key(key, row).status_code for row in PACKAGE_ROWS}
        transaction.set_rollback(True)
    assert statuses == {row.name: row.expected["ns-READ_ONLY"] for row in PACKAGE_ROWS}


def test_read_only_key_shows_own_private_package(world: World) -> None:
    with transaction.atomic():
        keys = [issue_key(world.users[name], "READ_ONLY") for name in ("ns-MANAGER", "pkg-READ_ONLY", "ns-MEMBER")]
        statuses = [world.send_with_key(key, PACKAGE_ROWS[1]).status_code for key in keys]
        transaction.set_rollback(True)
    assert statuses == [200, 200, 404]


# --- Addresses of co-members ---------------------------------------------------------------------------------------


def test_publisher_shows_the_address_to_co_members(alice: User, bob: User, charlie: User) -> None:
    User.objects.filter(pk=bob.pk).update(email="bob@example.org")
    membership.create_namespace(Principal(alice), "guild")
    membership.add_members(Principal(alice), "guild", [NewRole("bob", Role.MEMBER)])

    def seen() -> list[Any]:
        return [Browser(viewer).get("/users/bob").json()["email"] for viewer in (alice, charlie)]

    assert seen() == [None, None]
    archive = release_input.Upload(BytesIO(ARCHIVE), len(ARCHIVE))
    content = release_input.ReleaseInput(version="1.0.0", type="PUBLIC", archive=archive)
    releasing.create_package(Principal(bob), "guild", "tool", "java", content)
    assert seen() == ["bob@example.org", None]
