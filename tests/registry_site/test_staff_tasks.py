"""Everyday tasks of staff with namespaces, packages, machines and the registry as a whole: each test is one."""

import csv
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from files import clients
from files.models import Client as Machine
from files.models import ClientDownloads, FailedHandshakes
from namespaces import membership
from namespaces.models import Membership, Namespace
from packages.models import Package
from packages.names import columns
from registry_site import audit
from registry_site.download_counts import today
from registry_site.logs import request_id
from registry_site.models import Action, Announcement, AuditEvent, OutboxEntry
from tests.support.staff_browser import Staff

pytestmark = [pytest.mark.django_db, pytest.mark.database_independent]


@pytest.fixture
def team(alice: User) -> Namespace:
    """A shared namespace of alice."""
    return membership.create_namespace(Principal(alice), "harbour")


@pytest.fixture
def package(team: Namespace) -> Package:
    return Package.objects.create(namespace=team, field="java", **columns("hammer"))


@pytest.fixture
def machine(db: None) -> Machine:
    return clients.add_client("lantern-7", clients.generate_key(), actor="operator")


# --- Namespaces and packages -----------------------------------------------------------------------------------------


def test_create_a_namespace_for_a_team(alice: User) -> None:
    staff = Staff.of_rank("curator").follow("Namespaces", under="Namespaces").follow("Add namespace")
    staff.submit("Save", name="harbour", owner="alice")
    assert "owner" in staff.row("alice", under="Members")
    assert "curator The namespace harbour was made." in staff.history()


def test_add_a_member_to_a_namespace(team: Namespace, bob: User) -> None:
    staff = Staff.of_rank("curator").search("harbour").follow("harbour", under="Namespaces")
    staff.follow("Give an account a role as member")
    staff.submit("Give an account a role as member", user="bob", role="member")
    assert Membership.objects.get(namespace=team, user=bob).role == "MEMBER"
    assert "curator The namespace harbour got a member: bob." in staff.history()


def test_transfer_a_package(package: Package, bob: User) -> None:
    staff = Staff.of_rank("curator").search("hammer").follow("hammer", under="Packages")
    staff.follow("Transfer to another namespace").submit("Transfer to another namespace", namespace="bob")
    package.refresh_from_db()
    assert package.namespace == bob.namespace
    assert "curator The package harbour/hammer moved to bob/hammer." in staff.history()


def test_remove_a_package_and_restore_it(package: Package) -> None:
    staff = Staff.of_rank("curator").search("hammer").follow("hammer", under="Packages")
    staff.follow("Put into the trash").submit("Put into the trash", reason="malware")
    assert Package.objects.get().removed_at is not None
    staff.follow("Undo").submit("Restore")
    assert Package.objects.get().removed_at is None
    assert "curator The package harbour/hammer was removed. Reason: malware" in staff.history()


# --- Machines --------------------------------------------------------------------------------------------------------


def page_of(machine: Machine, rank: str) -> Staff:
    return Staff.of_rank(rank).search(machine.name).follow(machine.name, under="Machines")


def test_see_when_a_machine_was_seen(machine: Machine) -> None:
    seen_at = timezone.now() - timedelta(days=9)
    Machine.objects.update(last_seen_at=seen_at, last_seen_ip="192.0.2.7")
    page = page_of(machine, "auditor")
    assert page.fact("Last seen") == f"{seen_at:%Y-%m-%d %H:%M} from 192.0.2.7"


def test_see_what_a_machine_fetched_and_failed(machine: Machine) -> None:
    ClientDownloads.objects.create(client=machine, day=today(), count=3456)
    FailedHandshakes.objects.create(client=machine, day=today(), count=12)
    assert page_of(machine, "auditor").row(f"{today():%Y-%m-%d}") == f"{today():%Y-%m-%d} 3,456 12"


def test_rotate_the_key_of_a_machine(machine: Machine) -> None:
    staff = page_of(machine, "security").follow("Make a new key").submit("Make a new key", reason="stolen")
    assert clients.decrypt_key(machine.keys.get().secret).hex() in staff.row("lantern-7")
    staff.follow("What this run did")
    assert "The file client lantern-7 got a new key. Reason: stolen" in staff.history()


def test_see_what_staff_did_to_machines(machine: Machine, root: User) -> None:
    clients.set_active(machine, active=False, actor=root)
    page = Staff.of_rank("auditor").search("root").follow("root", under="Users")
    assert "root The file client lantern-7 was disabled." in page.row("lantern-7")


# --- Everything ------------------------------------------------------------------------------------------------------


def test_see_everything_from_an_address(machine: Machine) -> None:
    Machine.objects.update(last_seen_at=timezone.now(), last_seen_ip="192.0.2.7")
    page = Staff.of_rank("auditor").search("192.0.2.0/24")
    assert "192.0.2.7" in page.follow("192.0.2.0/24").row("lantern-7")


def test_see_who_changed_an_object(team: Namespace) -> None:
    page = Staff.of_rank("auditor").search("harbour").follow("harbour", under="Namespaces")
    assert "alice" in page.follow("History").row("harbour")


def test_find_the_events_of_a_request(alice: User) -> None:
    token = request_id.set("0123456789abcdef")
    audit.record(alice, Action.USER_CHANGE, alice)
    request_id.reset(token)
    page = Staff.of_rank("auditor").search("0123456789abcdef").follow("user.change")
    assert "Target alice" in page.text


def test_export_a_list_as_csv(alice: User) -> None:
    staff = Staff.of_rank("auditor").follow("Users").submit("CSV")
    rows = list(csv.DictReader(staff.response.getvalue().decode().splitlines()))
    assert sorted(row["username"] for row in rows) == ["alice", "auditor"]


def test_send_failed_mails_again(db: None) -> None:
    entry = {"kind": "accounts.reset_password", "recipient": "alice@example.com", "give_up_at": timezone.now()}
    OutboxEntry.objects.create(**entry, state="failed", error="ConnectionRefusedError")
    staff = Staff.of_rank("support").follow("1 failed mail or job")
    staff.choose("Send again", "alice@example.com").submit("Send again")
    assert OutboxEntry.objects.get().state == "pending"
    assert "was to be sent again." in staff.history()


def test_see_what_needs_somebody(db: None) -> None:
    page = Staff.of_rank("auditor")
    assert "Nothing needs anybody, as far as you may look." in page.text
    AuditEvent.objects.create(action=Action.REGISTRY_PURGE, actor_name="purge", at=timezone.now() - timedelta(days=9))
    page.open("/admin/").follow("9 days since the last purge")


def test_see_the_settings_in_force(db: None) -> None:
    page = Staff.of_rank("auditor").follow_fact("Settings")
    assert page.row("REGISTRY_PUBLIC_URL") == "REGISTRY_PUBLIC_URL http://testserver environment"


def test_announce_a_maintenance(db: None) -> None:
    staff = Staff.of_rank("curator").follow("Announcements").follow("Add announcement")
    staff.submit("Save", text="Maintenance on Friday", ends_at_0="2099-01-31", level="warning")
    assert f"{Announcement.objects.get().ends_at:%Y-%m-%d %H:%M}" == "2099-01-31 23:59"
    assert "curator An announcement was made: Maintenance on Friday." in staff.history()
