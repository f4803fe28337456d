"""Events of the audit log: each request, staff action, form and command that changes a row leaves one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.db import connection, transaction
from django.test import Client as Browser
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from accounts import bans, reserved_names, roles
from accounts.credentials import app_keys
from accounts.credentials.repeated_forms import newest_key
from accounts.models import Ban, Credential, LoginFailure, ReservedName, Role, User
from accounts.name_patterns import NameKind
from accounts.oidc import identities
from accounts.principals import Principal
from accounts.second_factor import apps as authenticator_apps
from crates import removal, yanking
from crates.mirror import changed_checksums, incidents, overrides, shared_names
from crates.mirror.models import STORE, CachedCrate, CachedIndexFile, CrateFacts, Incident, Override
from crates.models import Crate, Ownership, Version
from files.models import Client, File, Session
from namespaces import invitations, membership
from namespaces.invitations import NAMESPACE, RoleKind
from namespaces.models import Membership, Namespace
from namespaces.models import Role as NamespaceRole
from packages import releasing
from packages.invitations import PACKAGE
from packages.models import Collaboration, Package
from registry_site import announcements, outbox
from registry_site.http import client_address
from registry_site.models import Announcement, AuditEvent, OutboxEntry
from registry_site.storage import blobs
from tests.house.access_table import TABLE, Row, World, populated
from tests.house.source_code import MAY_IMPORT
from tests.support import packing
from tests.support.admin import FormFields, run_action, sign_in_to_admin
from tests.support.authenticator_apps import PhoneApp, add_app
from tests.support.cast import PASSWORD
from tests.support.user_import import import_line

pytestmark = [pytest.mark.django_db, pytest.mark.long]

# Tables whose rows are records themselves, or are written by each run of a machine.
UNRECORDED = frozenset(
    (
        "registry_site.AuditEvent",
        "registry_site.StaffRun",
        "admin.LogEntry",
        "sessions.Session",
        "accounts.LoginFailure",
        "accounts.Nonce",
        "files.AnsweredChallenge",
        "files.Session",
        "registry_site.StoredBlob",
        "registry_site.OutboxEntry",
        "mirror.UpstreamHealth",
    )
)
# Statements of other kinds may change rows.
CHANGING_NOTHING = ("SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK")
FEWEST_CHANGES = 60  # of the requests of the table, so that the test cannot pass without looking


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with django_db_blocker.unblock(), populated(tmp_path_factory.mktemp("blobs")) as world:
        yield world


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """No directory of each test: the world has one for the whole module."""


def read_tables() -> dict[str, list[str]]:
    """Return the rows of all tables but the unrecorded ones."""
    models = [model for model in apps.get_models(include_auto_created=True) if model._meta.label not in UNRECORDED]
    return {model._meta.label: sorted(map(repr, model._base_manager.values_list())) for model in models}


class Change:
    """The tables that differ from those of the beginning, and whether an event was added since."""

    def __init__(self) -> None:
        self.before, self.events = read_tables(), AuditEvent.objects.count()

    def changed_tables(self) -> list[str]:
        return [label for label, rows in read_tables().items() if rows != self.before[label]]

    @property
    def is_recorded(self) -> bool:
        return AuditEvent.objects.count() > self.events


@contextmanager
def collecting_writes() -> Iterator[list[str]]:
    """Collect the statements that may change rows: reading all tables takes longer than most requests."""
    statements: list[str] = []

    def collect(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if not sql.startswith(CHANGING_NOTHING):
            statements.append(sql)
        return execute(sql, *arguments)

    with connection.execute_wrapper(collect):
        yield statements


# --- Requests ------------------------------------------------------------------------------------------------------


@pytest.mark.database_independent
def test_requests_that_change_rows_leave_events(world: World) -> None:
    before, changes = Change(), 0
    offenders: list[str] = []

    def observe(principal: str, row: Row) -> None:
        nonlocal changes
        if writes and (tables := before.changed_tables()):
            changes += 1
            if not before.is_recorded:
                offenders.append(f"{row} as {principal} changes {tables}")

    for row in TABLE:
        for principal in ("anonymous", "owner", "administrator"):
            if principal in row.expected:
                with collecting_writes() as writes:
                    world.ask(principal, row, observe=partial(observe, principal, row))
    assert offenders == []
    assert changes >= FEWEST_CHANGES


# --- Staff ---------------------------------------------------------------------------------------------------------


def user(name: str = "bystander") -> User:
    account: User = User.objects.get(username=name)
    return account


def banned() -> Ban:
    return bans.ban(user(), actor=None)


def failure() -> LoginFailure:
    network = client_address.network_of("192.0.2.1")
    return LoginFailure.objects.create(name="bystander", ip_address="192.0.2.1", network=network)


def locked_out() -> User:
    failure()
    return user()


def closed() -> User:
    User.objects.filter(username="bystander").update(is_active=False)
    return user()


def with_second_factor() -> User:
    add_app(user())
    return user()


def with_address() -> User:
    User.objects.filter(username="bystander").update(email="bystander@example.com", email_verified_at=timezone.now())
    return user()


def served_crate() -> Crate:
    shared_names.set_served(Crate.objects.all(), served=True, actor=None)
    return Crate.objects.get()


def hidden_crate() -> Crate:
    shared_names.set_served(Crate.objects.all(), served=False, actor=None)
    return Crate.objects.get()


def yanked() -> Version:
    version = Version.objects.select_related("crate").get()
    yanking.set_yanked_as_staff(version, yanked=True, actor=user("administrator"))
    return version


def version() -> Version:
    return Version.with_removed.select_related("crate").get()


def removed_version() -> Version:
    removal.remove_version(version(), "It steals.", actor=user("administrator"))
    return version()


def removed_crate() -> Crate:
    removal.remove_crate_as_staff(Crate.objects.get(), "It steals.", actor=user("administrator"))
    return Crate.with_removed.get()


def acme() -> Namespace:
    return Namespace.objects.get(name="acme")


def removed_namespace() -> Namespace:
    membership.set_removed(acme(), removed=True, actor=user("administrator"))
    return acme()


def tool() -> Package:
    return Package.objects.get(name="tool")


def removed_package() -> Package:
    releasing.set_removed(tool(), removed=True, actor=user("administrator"))
    return tool()


def machine() -> Client:
    return Client.objects.get(name="owner")


def disabled_machine() -> Client:
    return Client.objects.get(name="banned")


def incident() -> Incident:
    incidents.record(Incident.Kind.FAULT, "foreign", "it fails")
    return Incident.objects.get()


def settled_incident() -> Incident:
    row = incident()
    incidents.settle(Incident.objects.all(), actor=user())
    row.refresh_from_db()
    return row


def changed_checksum() -> Incident:
    former = CachedIndexFile.objects.get().checksums
    changes = {version: (checksum, "1" * 64) for version, checksum in former.items()}
    incidents.record(Incident.Kind.CHANGED, "foreign", "a checksum changed", changes)
    return Incident.objects.get()


def accepted_checksum() -> Incident:
    row = changed_checksum()
    changed_checksums.accept(row, reason="It is right.", actor=user())
    row.refresh_from_db()
    return row


def failed_mail() -> OutboxEntry:
    outbox.add("accounts.reset_password", "bystander@example.com", user=user().pk)
    OutboxEntry.objects.update(state="failed")
    return OutboxEntry.objects.latest("pk")


def override() -> Override:
    return overrides.create_override(Override.Kind.BLOCKED, "foreign", "*", actor=None, reason="It steals.")


def cached_crate() -> CachedCrate:
    blobs.put(BytesIO(packing.crate("foreign")), store=STORE)  # another case may have deleted the bytes
    return CachedCrate.objects.get()


def reserved() -> ReservedName:
    return reserved_names.reserve(NameKind.ACCOUNT, "acme-*", "It is ours.", actor=None)


def crate_with_address() -> Crate:
    User.objects.filter(username="owner").update(email="owner@example.com")
    return Crate.objects.get()


def announcement() -> Announcement:
    return announcements.announce(announcements.new("Maintenance at noon."), actor=None)


# The row that each action of a list is tried with.
ACTIONS: dict[str, Callable[[], Any]] = {
    "accounts.user ban": user,
    "accounts.user unban": lambda: banned().user,
    "accounts.user close": user,
    "accounts.user reopen": closed,
    "accounts.user set_rank": user,
    "accounts.user revoke_tokens": lambda: user("owner"),
    "accounts.user unlock": locked_out,
    "accounts.user send_reset_link": with_address,
    "accounts.user make_token": user,
    "accounts.user remove_second_factor": with_second_factor,
    "accounts.credential revoke": lambda: Credential.objects.unrevoked().filter(user=user("owner")).first(),
    "accounts.loginfailure unlock": failure,
    "accounts.ban lift": banned,
    "auth.group delete_selected": lambda: Group.objects.create(name="helpers"),
    "crates.crate serve_upstream": hidden_crate,
    "crates.crate hide_upstream": served_crate,
    "crates.crate mail_owners": crate_with_address,
    "crates.crate add_owner": lambda: Crate.objects.get(),
    "crates.crate remove_owner": lambda: Crate.objects.get(),
    "crates.crate transfer": lambda: Crate.objects.get(),
    "crates.ownership remove": lambda: Ownership.objects.order_by("pk").last(),
    "crates.crate remove": lambda: Crate.objects.get(),
    "crates.crate restore": removed_crate,
    "crates.crate destroy": removed_crate,
    "crates.version remove": version,
    "crates.version restore": removed_version,
    "crates.version destroy": removed_version,
    "crates.version yank": lambda: Version.objects.get(),
    "crates.version unyank": yanked,
    "accounts.reservedname release": reserved,
    "namespaces.namespace remove": acme,
    "namespaces.namespace restore": removed_namespace,
    "namespaces.namespace transfer": acme,
    "namespaces.namespace give_role": acme,
    "namespaces.membership change_role": lambda: Membership.objects.get(namespace=acme(), user=user("bystander")),
    "namespaces.membership remove": lambda: Membership.objects.get(namespace=acme(), user=user("bystander")),
    "packages.package give_role": tool,
    "packages.collaboration change_role": lambda: Collaboration.objects.get(package=tool(), user=user("bystander")),
    "packages.collaboration remove": lambda: Collaboration.objects.get(package=tool(), user=user("bystander")),
    "packages.package remove": tool,
    "packages.package restore": removed_package,
    "packages.package transfer": tool,
    "files.client rotate": machine,
    "files.client disable": machine,
    "files.client enable": disabled_machine,
    "files.client end_sessions": machine,
    "files.session end": lambda: Session.objects.live().first(),
    "files.file remove": lambda: File.objects.get(),
    "mirror.cachedindexfile mark_stale": lambda: CachedIndexFile.objects.get(),
    "mirror.cachedindexfile accept_changes": lambda: CachedIndexFile.objects.get(),
    "mirror.cachedindexfile block": lambda: CachedIndexFile.objects.get(),
    "mirror.cachedindexfile exempt": lambda: CachedIndexFile.objects.get(),
    "mirror.cachedcrate delete_crates": cached_crate,
    "mirror.cachedcrate delete_and_block": cached_crate,
    "mirror.override end": override,
    "mirror.incident accept": changed_checksum,
    "mirror.incident reopen": settled_incident,
    "mirror.incident settle": incident,
    "mirror.incident take_back": accepted_checksum,
    "registry_site.announcement withdraw": announcement,
    "registry_site.outboxentry send_again": failed_mail,
    "mirror.allowedname withdraw": lambda: shared_names.allow("foreign", user(), actor=None),
}
# What the page of an action asks for beside the reason.
FIELDS = {
    "accounts.user make_token": {"name": "ci", "scopes": "read"},
    "accounts.user set_rank": {"rank": "support"},
    "crates.crate add_owner": {"user": "bystander"},
    "crates.crate remove_owner": {"user": "banned"},
    "crates.crate transfer": {"user": "bystander"},
    "namespaces.namespace transfer": {"user": "bystander"},
    "namespaces.namespace give_role": {"user": "user", "role": "MEMBER"},
    "namespaces.membership change_role": {"role": "READ_ONLY"},
    "packages.package give_role": {"user": "user", "role": "MEMBER"},
    "packages.collaboration change_role": {"role": "READ_ONLY"},
    "crates.crate mail_owners": {"subject": "A flaw", "text": "Yank it."},
    "packages.package transfer": {"namespace": "owner"},
    "mirror.cachedindexfile exempt": {"requirement": "*"},
}
# These change rows of unrecorded tables, or none; they leave events nevertheless.
ON_UNRECORDED_TABLES = frozenset(
    (
        "accounts.user send_reset_link",
        "accounts.user unlock",
        "accounts.loginfailure unlock",
        "files.client end_sessions",
        "files.session end",
        "passwordlink",
        "registry_site.outboxentry send_again",
    )
)


def manager() -> User:
    roles.grant(user(), Role.USERS_MANAGER, actor=None)
    return user()


# Of each form: the row, and what is changed in it. Several cases of one form differ in what follows the colon.
FORMS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "accounts.user add": lambda: (None, {"username": "dora", "password1": PASSWORD, "password2": PASSWORD}),
    "accounts.user change": lambda: (user(), {"email": "bystander@example.com"}),
    "accounts.user change: grant a role": lambda: (user(), new_row("role_grants", role=Role.USERS_MANAGER)),
    "accounts.user change: revoke a role": lambda: (manager(), {"role_grants-0-DELETE": "on"}),
    "accounts.user change: give rights": lambda: (user(), {"is_staff": "on"}),
    "accounts.ban add": lambda: (None, {"user": "bystander", "reason": "spam"}),
    "auth.group add": lambda: (None, {"name": "helpers"}),
    "auth.group change": lambda: (Group.objects.create(name="helpers"), {"name": "others"}),
    "accounts.reservedname add": lambda: (None, {"kind": "crate", "pattern": "acme-*", "reason": "It is ours."}),
    "namespaces.namespace add": lambda: (None, {"name": "fresh", "owner": "bystander"}),
    "namespaces.namespace change: give a role": lambda: (acme(), {"memberships-1-role": "READ_ONLY"}),
    "namespaces.namespace change: remove a member": lambda: (acme(), {"memberships-1-DELETE": "on"}),
    "packages.package change: add": lambda: (tool(), new_row("collaborations", user="user", role="MEMBER")),
    "packages.package change: remove": lambda: (tool(), {"collaborations-1-DELETE": "on"}),
    "namespaces.namespace change": lambda: (acme(), new_row("memberships", user="user", role="MEMBER")),
    "files.client add": lambda: (None, {"name": "fresh", "rights": "READ"}),
    "files.client change": lambda: (machine(), {"description": "a box"}),
    "files.file add": lambda: (None, {"serve_path": "fresh", "path": File.objects.get().path}),
    "files.file change": lambda: (File.objects.get(), {"category": "weather"}),
    "registry_site.announcement add": lambda: (None, {"text": "Maintenance at noon.", "on_pages": "on"}),
    "mirror.allowedname add": lambda: (None, {"name": "foreign", "user": "bystander"}),
    "mirror.override add": lambda: (
        None,
        {"kind": "blocked", "name": "foreign", "requirement": "*", "reason": "It steals."},
    ),
}


def new_row(prefix: str, **values: Any) -> dict[str, Any]:
    """Return the fields of one more row in a table of a form; `NEXT` stands for its number."""
    return {f"{prefix}-NEXT-{name}": value for name, value in values.items()}


Case = Callable[[], Callable[[], object]]  # prepares rows, and returns the deed


def offenders_of(cases: dict[str, Case]) -> list[str]:
    """Run each deed and roll it back; describe those that change nothing or leave no event."""
    offenders = []
    for name, prepare in cases.items():
        with transaction.atomic():
            deed = prepare()
            before = Change()
            deed()
            changed = before.changed_tables()
            if not (changed or name in ON_UNRECORDED_TABLES):
                offenders.append(f"{name} changes nothing")
            if not before.is_recorded:
                offenders.append(f"{name} changes {changed} without an event")
            transaction.set_rollback(True)
    return offenders


@pytest.fixture(scope="module")
def as_administrator(world: World) -> Browser:
    return sign_in_to_admin(user("administrator"))


def registry() -> Iterator[tuple[str, Any, Any]]:
    """Iterate over the pages of the admin site: their labels, and a request of an administrator."""
    request = RequestFactory().get("/admin/")
    request.user = user("administrator")
    for model, model_admin in admin.site._registry.items():
        yield model._meta.label_lower, model_admin, request


def test_actions_of_staff_leave_events(world: World, as_administrator: Browser, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.org"  # Django's tests keep the mails

    def case(label: str, action: str) -> Case:
        def prepare() -> Callable[[], object]:
            row = ACTIONS[f"{label} {action}"]()
            fields = {"post": "yes", "reason": "It steals.", **FIELDS.get(f"{label} {action}", {})}
            path = f"/admin/{label.replace('.', '/')}/"
            return lambda: run_action(as_administrator, path, action, row, **fields)

        return prepare

    actions = [(label, action) for label, page, request in registry() for action in page.get_actions(request)]
    assert {f"{label} {action}" for label, action in actions} == set(ACTIONS)
    assert offenders_of({f"{label} {action}": case(label, action) for label, action in actions}) == []


def test_forms_of_staff_leave_events(world: World, as_administrator: Browser) -> None:
    def case(name: str) -> Case:
        label = name.partition(" ")[0]

        def prepare() -> Callable[[], object]:
            row, changes = FORMS[name]()
            path = f"/admin/{label.replace('.', '/')}/{f'{row.pk}/change' if row else 'add'}/"
            fields = FormFields(as_administrator.get(path).content.decode()).values
            for key, value in changes.items():
                table, marker, column = key.partition("-NEXT-")
                if marker:
                    number = int(fields[f"{table}-INITIAL_FORMS"])
                    fields |= {f"{table}-{number}-{column}": value, f"{table}-TOTAL_FORMS": str(number + 1)}
                else:
                    fields[key] = value
            return lambda: as_administrator.post(path, fields)

        return prepare

    pages = list(registry())
    forms = {f"{label} add" for label, page, request in pages if page.has_add_permission(request)}
    forms |= {f"{label} change" for label, page, request in pages if page.has_change_permission(request)}
    # These have a page with nothing to change on it.
    assert forms - {
        "accounts.ban change",
        "accounts.reservedname change",
        "registry_site.announcement change",
        "mirror.override change",
        "mirror.allowedname change",
    } == {name.partition(":")[0] for name in FORMS}
    assert offenders_of({name: case(name) for name in FORMS}) == []


def test_passwords_set_by_staff_leave_events(world: World) -> None:
    new = {"password1": "battery staple", "password2": "battery staple", "usable_password": "true"}
    own = {"old_password": PASSWORD, "new_password1": "battery staple", "new_password2": "battery staple"}

    def case(path: str, fields: dict[str, str]) -> Case:
        def prepare() -> Callable[[], object]:
            browser = sign_in_to_admin(user("administrator"))  # the first case renews its session, and is rolled back
            return lambda: browser.post(path, fields)

        return prepare

    cases = {
        "of another": case(f"/admin/accounts/user/{user().pk}/password/", new),
        "own": case("/admin/password_change/", own),
    }
    assert offenders_of(cases) == []


# --- Pages of one's own account ------------------------------------------------------------------------------------


def another_session() -> str:
    Browser().force_login(user("owner"))
    return str(Credential.objects.of_kind(Credential.Kind.BROWSER_SESSION).filter(user=user("owner")).latest("pk").pk)


def own_identity() -> str:
    return str(identities.link_identity(user("owner"), "https://id.example.com", "9", actor=None).pk)


NEW_PASSWORD = {"current_password": PASSWORD, "password": "battery staple", "confirmation": "battery staple"}


def own_app() -> str:
    add_app(user("owner"))
    return str(user("owner").authenticators.get().pk)


def new_app() -> dict[str, str]:
    app = PhoneApp()
    return {"name": "Phone", "code": app.code(), "sealed": authenticator_apps.seal(user("owner"), app.secret)}


def edit_of_tool() -> dict[str, str]:
    tool = Package.objects.get(name="tool")
    return {"shown": str(tool.newest_id), "type": "PRIVATE", "promise": "RELEASE"}


def newest(kind: Credential.Kind) -> str:
    return str(newest_key(user("owner"), kind))


def new_token() -> dict[str, str]:
    fields = {"name": "fresh", "scopes": "read", "reach": "all", "lifetime": "90"}
    return {**fields, "newest": newest(Credential.Kind.CARGO_TOKEN)}


def invitation(kind: RoleKind, *names: str) -> str:
    return str(invitations.invite(kind, Principal(user("owner")), names, "user", NamespaceRole.MEMBER).pk)


def invitation_to_owner() -> dict[str, str]:
    principal = Principal(user("administrator"))
    membership.create_namespace(principal, "other")
    row = invitations.invite(NAMESPACE, principal, ["other"], "owner", NamespaceRole.MEMBER)
    return {"kind": "namespace", "invitation": str(row.pk), "role": row.role}


# By the path of the page: the fields that change something.
OWN_PAGES: dict[str, Callable[[], dict[str, str]]] = {
    "/account/name": lambda: {"username": "renamed"},
    "/account/email": lambda: {"email": "owner@example.com"},
    "/account/avatar": lambda: {"avatar_uri": "https://example.com/b.png"},
    "/account/password": lambda: NEW_PASSWORD,
    "/account/sessions": lambda: {"end": another_session()},
    "/account/sessions#others": lambda: {"others": another_session()},
    "/account/identities": lambda: {"unlink": own_identity()},
    "/account/tokens": lambda: {"revoke": str(user("owner").credentials.filter(kind="cargo_token")[0].pk)},
    "/account/tokens/new": new_token,
    "/account/security": lambda: {"remove": own_app()},
    "/account/security/app": new_app,
    "/account/app-keys": lambda: {"type": "ALL", "newest": newest(Credential.Kind.APP_KEY)},
    "/account/app-keys#revoke": lambda: {"revoke": app_keys.issue(Principal(user("owner")), "ALL").appid},
    "/account/namespaces": lambda: {"namespace": "fresh"},
    "/account/invitations": lambda: {"answer": "accept", **invitation_to_owner()},
    "/account/invitations#decline": lambda: {"answer": "decline", **invitation_to_owner()},
    "/namespaces/acme/invitations": lambda: {"username": "user", "role": "MEMBER"},
    "/namespaces/acme/invitations#withdraw": lambda: {"withdraw": invitation(NAMESPACE, "acme")},
    "/namespaces/acme/members/bystander": lambda: {"role": "READ_ONLY"},
    "/namespaces/acme/members/bystander#remove": lambda: {"remove": "1"},
    "/namespaces/acme/packages/tool/invitations": lambda: {"username": "user", "role": "MEMBER"},
    "/namespaces/acme/packages/tool/invitations#withdraw": lambda: {"withdraw": invitation(PACKAGE, "acme", "tool")},
    "/namespaces/acme/packages/tool/collaborators/bystander": lambda: {"role": "READ_ONLY"},
    "/namespaces/acme/packages/tool/collaborators/bystander#remove": lambda: {"remove": "1"},
    "/account/notifications": lambda: {"new_versions": "on"},
    "/account/close": lambda: {"password": PASSWORD},
    "/sign-out": dict,
    "/crates/demo/settings": lambda: {"login": "bystander"},
    "/crates/demo/settings#remove": lambda: {"remove": "banned"},
    "/crates/demo/1.0.0/yank": lambda: {"reason": "It panics."},
    "/namespaces/acme/packages/tool/settings": edit_of_tool,
    "/namespaces/acme/packages/tool/remove": dict,
    "/crates/demo/1.0.0/unyank": lambda: {"yanked": yanked().number},
}


def test_own_pages_leave_events(world: World) -> None:
    def case(path: str) -> Case:
        def prepare() -> Callable[[], object]:
            browser, fields = Browser(), OWN_PAGES[path]()
            if path == "/account/name":
                Package.objects.filter(namespace__user=user("owner")).delete()
            browser.force_login(user("owner"))
            return lambda: browser.post(path.partition("#")[0], fields, headers={"Accept": "text/html"})

        return prepare

    assert offenders_of({path: case(path) for path in OWN_PAGES}) == []


# --- Commands ------------------------------------------------------------------------------------------------------


def accounts_to_import(folder: Path) -> str:
    path = folder / "accounts.jsonl"
    path.write_text(import_line("imported"))
    return str(path)


def damaged_mirror() -> list[str]:
    CachedCrate.objects.update(sha256="0" * 64)
    return ["mirror", "verify"]


def exported_mirror(folder: Path) -> list[str]:
    cached_crate()
    call_command("mirror", "export", str(folder), stdout=StringIO())
    CachedCrate.objects.all().delete()
    return ["mirror", "import", str(folder)]


def unexamined_mirror() -> list[str]:
    cached_crate()
    CrateFacts.objects.all().delete()
    return ["mirror", "examine"]


def unexamined() -> list[str]:
    Version.objects.update(examined=0)
    return ["refreshcrates"]


def linked() -> str:
    identities.link_identity(user(), "https://id.example.com", "7", actor=None)
    return "bystander"


ISSUER = ("--issuer", "https://id.example.com")
# The arguments of each command, which may prepare rows first.
COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "addclient": lambda folder: ["addclient", "fresh"],
    "banuser": lambda folder: ["banuser", "bystander"],
    "changepassword": lambda folder: ["changepassword", "bystander", "--password-stdin"],
    "createtoken": lambda folder: ["createtoken", "bystander", "--name", "ci"],
    "createuser": lambda folder: ["createuser", "fresh", "--password-stdin"],
    "disableclient": lambda folder: ["disableclient", "owner"],
    "enableclient": lambda folder: ["enableclient", disabled_machine().name],
    "importusers": lambda folder: ["importusers", accounts_to_import(folder)],
    "linkidentity": lambda folder: ["linkidentity", "bystander", "8", *ISSUER],
    "linkidentity --remove": lambda folder: ["linkidentity", linked(), "7", "--remove", *ISSUER],
    "mirror examine": lambda folder: unexamined_mirror(),
    "mirror import": exported_mirror,
    "mirror prune": lambda folder: ["mirror", "prune", "--days", "0"],
    "mirror verify": lambda folder: damaged_mirror(),
    "passwordlink": lambda folder: ["passwordlink", "bystander"],
    "refreshcrates": lambda folder: unexamined(),
    "rotatekey": lambda folder: ["rotatekey", "owner"],
    "resetsecondfactor": lambda folder: ["resetsecondfactor", with_second_factor().username],
    "unbanuser": lambda folder: ["unbanuser", banned().user.username],
}
UNCHANGING = {
    "mirror export": "reads only",
    "mirror status": "reads only",
    "mirror prefetch": "needs an upstream: tests/crates/test_mirror_commands.py",
    "purge": "has a test of its own",
    "checkstorage": "writes no row",
    "verifyaudit": "seals events, and changes none",
    "serve": "sets up by migrations and `createuser`",
}


def own_commands() -> Iterator[str]:
    """Iterate over the commands of this registry; those with verbs once for each verb."""
    for name, app in get_commands().items():
        if str(app).partition(".")[0] not in MAY_IMPORT:
            continue
        actions = load_command_class(str(app), name).create_parser("manage.py", name)._actions
        verbs = [verb for action in actions if action.dest == "verb" for verb in action.choices or ()]
        yield from (f"{name} {verb}" for verb in verbs) if verbs else (name,)


def run(*arguments: str) -> None:
    """Run a command; the verification of the mirror fails when it has deleted something."""
    with suppress(CommandError):
        call_command(*arguments, stdout=StringIO(), stderr=StringIO())


def test_commands_leave_events(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def case(name: str) -> Case:
        def prepare() -> Callable[[], object]:
            arguments = COMMANDS[name](tmp_path)
            monkeypatch.setattr("sys.stdin", StringIO("battery staple"))
            return lambda: run(*arguments)

        return prepare

    assert set(own_commands()) == {name.removesuffix(" --remove") for name in COMMANDS} | set(UNCHANGING)
    assert offenders_of({name: case(name) for name in COMMANDS}) == []


def test_purge_leaves_an_event(world: World) -> None:
    out = StringIO()
    with transaction.atomic():
        call_command("purge", stdout=out)
        event = AuditEvent.objects.get(action="registry.purge")
        transaction.set_rollback(True)
    assert event.actor_name == "manage.py purge"
    assert event.detail == {"reports": out.getvalue().splitlines()}


def test_new_superuser_leaves_an_event(world: World) -> None:
    with transaction.atomic():
        call_command("createsuperuser", "--no-input", username="fresh", verbosity=0)
        event = AuditEvent.objects.get(action="user.register", target="fresh")
        transaction.set_rollback(True)
    assert (event.actor_name, event.detail) == ("operator", {"admin": True})
