"""Everyday tasks of staff with crates and the mirror: each test is one, done from the front page of the admin site."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from accounts.credentials import cargo_tokens
from accounts.models import ReservedName, User
from crates import removal
from crates.mirror import incidents
from crates.mirror.models import CachedIndexFile, Incident, Override, UpstreamHealth
from crates.models import Crate, Version
from tests.support import sample_registry
from tests.support.sent_mails import sent_mails
from tests.support.staff_browser import Staff

pytestmark = [pytest.mark.django_db, pytest.mark.database_independent]

UPSTREAM = "https://index.example.com/"


@pytest.fixture(scope="module", autouse=True)
def sample(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    with django_db_blocker.unblock(), sample_registry.filled(tmp_path_factory.mktemp("sample")):
        yield


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """No directory of each test: the sample has one for the whole module."""


def user(name: str) -> User:
    row: User = User.objects.get(username=name)
    return row


def crate(name: str) -> Crate:
    return Crate.with_removed.get(name=name)


def version(name: str, number: str) -> Version:
    return Version.with_removed.get(crate__name=name, number=number)


def page_of(name: str, rank: str = "curator") -> Staff:
    """Search a crate as a member of staff, and open its page."""
    return Staff.of_rank(rank).search(name).follow(name, under="Crates")


# --- Crates ----------------------------------------------------------------------------------------------------------


def test_see_what_a_user_published() -> None:
    page = Staff.of_rank("auditor").search("bob").follow("bob", under="Users")
    assert "yard-map" in page.row("yard-map", under="Crates")
    assert page.fact("Stored in crates").endswith("in 8 versions of crates")


def test_see_who_published_with_which_token() -> None:
    token = cargo_tokens.create(user("alice"), "laptop")
    sample_registry.publish(cargo_tokens.authenticate(token), sample_registry.SAMPLES[-1], "3.2.0", 0)
    page = page_of("dispatch-cli", "auditor").follow("3.2.0", under="Versions")
    assert (page.fact("Published by"), page.fact("Published with")) == ("alice", "token laptop")


def test_yank_a_version_with_a_reason() -> None:
    staff = page_of("tide-tables").follow("0.2.1", under="Versions").follow("Yank").submit("Yank", reason="wrong tides")
    yanked = version("tide-tables", "0.2.1")
    assert (yanked.yanked, yanked.yank_message) == (True, "wrong tides")
    assert "Reason: wrong tides" in staff.history()


def test_remove_a_crate_and_restore_it() -> None:
    staff = page_of("yard-map").follow("Remove").submit("Remove", reason="leaked plans")
    assert crate("yard-map").removal_reason == "leaked plans"
    staff.follow("Undo").submit("Restore")
    assert crate("yard-map").removed_at is None
    assert "Reason: leaked plans" in staff.history()


def test_destroy_a_removed_version() -> None:
    removal.remove_version(version("tide-tables", "0.2.0"), reason="a password", actor=user("root"))
    staff = Staff.of_rank("security").search("tide-tables@0.2.0").follow("tide-tables@0.2.0")
    staff.follow("Destroy for good").submit("Destroy for good", reason="a password")
    assert version("tide-tables", "0.2.0").destroyed_at is not None
    assert "Reason: a password" in staff.history()


def test_give_an_orphaned_crate_an_owner() -> None:
    User.objects.filter(username="alice").update(is_active=False)
    staff = page_of("weigh-bridge").follow("Transfer to another owner").submit("Transfer to another owner", user="bob")
    assert [owner.username for owner in crate("weigh-bridge").owners.all()] == ["bob"]
    assert "curator The crate weigh-bridge got owners: bob." in staff.history()


def test_see_who_depends_on_a_crate() -> None:
    assert {row[0] for row in page_of("container-id", "auditor").rows("Dependents")} == {
        "Crate",
        "customs-client",
        "yard-map",
    }


def test_reserve_names_by_a_pattern() -> None:
    staff = Staff.of_rank("curator").follow("Reserved names").follow("Add reserved name")
    staff.submit("Save", kind="crate", pattern="berth-*", reason="Names of the harbour.")
    assert ReservedName.objects.get().pattern == "berth-*"
    assert staff.fact("Names of today") == "1 name matches today, and stays usable: berth-scheduler."
    assert "curator The crate name berth-* was reserved. Reason: Names of the harbour." in staff.history()


def test_mail_the_owners_of_crates(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.org"  # Django's tests keep the mails
    staff = (
        Staff.of_rank("curator").follow("Crates", under="Crates").choose("Mail the owners", "yard-map", "tide-tables")
    )
    staff.submit("Mail the owners", subject="A leak", text="Please rotate your tokens.")
    assert [(mail.subject, mail.to) for mail in sent_mails()] == [("A leak", ["bob@example.com"])]
    assert "curator A mail of staff went to the owners of" in staff.history()


# --- The mirror ------------------------------------------------------------------------------------------------------


def test_see_what_is_held_back_and_why(settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 7
    staff = Staff.of_rank("curator").follow_fact("Crates with versions held back for their age").follow("serde_json")
    assert "is held back for 7 days." in staff.row("1.0.146", under="Versions held back")


def test_exempt_a_version_from_policies(settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 7
    staff = Staff.of_rank("curator").search("serde_json").follow("serde_json", under="Mirrored crates")
    staff.follow("Exempt versions from the policies")
    staff.submit("Exempt versions from the policies", requirement="=1.0.146", reason="It mends a leak.")
    assert [str(row) for row in Override.objects.all()] == ["serde_json@=1.0.146: exempt"]
    assert "Reason: It mends a leak." in staff.history()
    staff.search("serde_json").follow("serde_json", under="Mirrored crates")
    assert staff.rows("Versions held back") == []


def test_exempt_a_crate_before_it_is_mirrored() -> None:
    staff = Staff.of_rank("curator").follow("Overrides").follow("Add override")
    staff.submit("Save", kind="exempt", name="fresh", requirement="*", reason="We need it at once.")
    assert "We need it at once." in staff.follow("fresh").history()


def test_block_a_mirrored_crate() -> None:
    staff = Staff.of_rank("curator").search("rand").follow("rand", under="Mirrored crates")
    staff.follow("Block all versions").submit("Block all versions", reason="malware")
    override = Override.objects.get()
    assert (override.kind, override.name, override.requirement) == ("blocked", "rand", "*")
    assert "curator The mirrored crate rand@* was blocked. Reason: malware" in staff.history()


def test_accept_a_changed_checksum() -> None:
    former = CachedIndexFile.objects.get(name="serde").checksums["1.0.228"]
    incidents.record(Incident.Kind.CHANGED, "serde", "serde 1.0.228 has another", {"1.0.228": (former, "f" * 64)})
    staff = Staff.of_rank("curator").follow("1 open incident of changed checksums in the mirror").follow("serde")
    accept = "Accept the new checksums, and settle"
    staff.follow(accept).submit(accept, reason="Its authors say so.")
    assert CachedIndexFile.objects.get(name="serde").checksums["1.0.228"] == "f" * 64
    assert Incident.objects.get().settled_at is not None


def test_see_whether_upstream_answers(settings: Any) -> None:
    settings.MIRROR_UPSTREAM = [UPSTREAM]
    UpstreamHealth.objects.create(url=UPSTREAM, answered_at=timezone.now())
    assert Staff.of_rank("auditor").fact(UPSTREAM).startswith("answered ")
