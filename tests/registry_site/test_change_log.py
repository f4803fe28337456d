"""The change log: which changes of which tables leave a row, whoever makes them, and the deletion of old rows."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from accounts import bans
from accounts.credentials import cargo_tokens, revocation
from accounts.models import Credential, Identity, User
from crates.mirror.models import CachedCrate, CachedIndexFile, Override
from crates.models import Crate, IndexLine
from registry_site import change_log
from registry_site.change_log import DELETION, LogChanges, missing_triggers
from registry_site.models import Change
from tests.support.crate_rows import Listing, create_crates
from tests.support.database import rolled_back
from tests.support.migrations import models_at

Row = tuple[str, str]
Changes = dict[str, tuple[Callable[[], object], list[Row]]]  # and the rows that each is to leave


def logged(change: Callable[[], object]) -> list[Row]:
    """Make a change, and return the kinds and keys of the rows that it leaves in the log."""
    Change.objects.all().delete()
    change()
    return sorted(Change.objects.values_list("kind", "key"))


def offenders(changes: Changes) -> dict[str, list[Row]]:
    """Make each change, take it back, and return what those left that left something else."""
    rows = {}
    for name, (change, _) in changes.items():
        with rolled_back():
            rows[name] = logged(change)
    return {name: rows[name] for name, (_, expected) in changes.items() if rows[name] != expected}


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.django_db
def test_each_migrated_trigger_exists() -> None:
    loader = MigrationLoader(connection)
    tables: dict[str, set[str]] = {}
    for (app, name), migration in loader.disk_migrations.items():
        for operation in migration.operations:
            if isinstance(operation, LogChanges):
                table = models_at((app, name)).get_model(app, operation.model_name)._meta.db_table
                tables.setdefault(operation.kind, set()).add(table)
    assert tables["index"] == {"crates_crate", "crates_indexline"}
    assert missing_triggers(connection, tables) == []


@pytest.mark.django_db
def test_missing_trigger_is_named() -> None:
    trigger = "accounts_ban_user_change_delete"
    execute(f"DROP TRIGGER {trigger}{' ON accounts_ban' if connection.vendor == 'postgresql' else ''}")
    assert missing_triggers(connection, {"user": ["accounts_ban", "accounts_user"]}) == [trigger]


def test_changes_of_index_files_are_logged(alice: User) -> None:
    create_crates([Listing("demo"), Listing("serde-json")], alice)
    crates = Crate.with_removed.filter(name="demo")
    row = crates.get()
    IndexLine.objects.create(version=row.versions.get(), crate=row, text="old")
    both = [("index", "de/mo/demo"), ("index", "se/rd/serde-json")]

    def rename() -> None:
        crates.update(index_path="de/mo/demo2")

    changes: Changes = {
        "update": (lambda: crates.update(index_modified=timezone.now()), both[:1]),
        "removal": (lambda: crates.update(removed_at=timezone.now()), both[:1]),
        "raw SQL": (lambda: execute("UPDATE crates_crate SET index_etag = 'new'"), both),
        "bulk_update": (
            lambda: Crate.objects.bulk_update([Crate(pk=row.pk, index_etag="x")], ["index_etag"]),
            both[:1],
        ),
        "another path": (rename, [both[0], ("index", "de/mo/demo2")]),
        "line": (lambda: IndexLine.objects.filter(crate=row).update(text="new"), both[:1]),
        "another column": (lambda: crates.update(version_count=7), []),
        "the same values": (lambda: row.save(), []),
        "upstream": (lambda: crates.update(upstream=Crate.Upstream.HAS), [("mirror", "demo")]),
        "bulk_create": (
            lambda: create_crates([Listing("a-b")], alice),
            [("index", "3/a/a-b"), ("mirror", "a_b")],
        ),
    }
    assert offenders(changes) == {}


def test_changes_of_mirrored_files_are_logged(alice: User) -> None:
    file = CachedIndexFile.objects.create(path="se/rd/serde-json", name="serde-json", status=200)
    crate = CachedCrate.objects.create(name="serde-json", version="1.0.0", sha256="0" * 64, size=1)
    files, crates = CachedIndexFile.objects.filter(pk=file.pk), CachedCrate.objects.filter(pk=crate.pk)
    expected = [("mirror", "serde_json")]
    changes: dict[str, Callable[[], object]] = {
        "body": lambda: files.update(body=b"new"),
        "check": lambda: files.update(checked_at=timezone.now()),
        "deletion": files.delete,
        "license": lambda: crates.update(license="MIT"),
        "deletion of a crate": crates.delete,
        "override": lambda: Override.objects.create(kind="blocked", name="serde_json", reason="r"),
    }
    assert offenders({name: (change, expected) for name, change in changes.items()}) == {}
    assert logged(lambda: crates.update(last_used_at=timezone.now())) == []


def test_changes_of_accounts_are_logged(alice: User) -> None:
    cargo_tokens.rotate_default(alice)
    token = alice.credentials.get()
    tokens, users = Credential.objects.filter(pk=token.pk), User.objects.filter(pk=alice.pk)
    Identity.objects.create(user=alice, issuer="https://id", subject="alice")
    user, credential = ("user", str(alice.pk)), ("credential", token.digest)
    changes: Changes = {
        "ban": (lambda: bans.ban(alice, actor=None), [user]),
        "refusal": (lambda: alice.identities.update(refused_at=timezone.now()), [user]),
        "networks": (lambda: users.update(allowed_networks="10.0.0.0/8"), [user]),
        "revocation": (lambda: revocation.revoke(token, None), [credential]),
        "scopes": (lambda: tokens.update(scopes=[]), [credential]),
        "deletion": (tokens.delete, [credential]),
    }
    assert offenders(changes) == {}


# --- Deletion of old rows -----------------------------------------------------------------------------------------


def add(kind: str, minutes: int) -> None:
    at = timezone.now() - timedelta(minutes=minutes)
    Change.objects.create(kind=kind, key="1", at=at, transaction=7 if connection.vendor == "postgresql" else None)


@pytest.mark.django_db
def test_old_changes_are_deleted_with_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "BATCH_SIZE", 2)
    Change.objects.all().delete()
    for minutes in (70, 69, 68, 59):
        add("index", minutes)
    newest = Change.objects.order_by("pk").last()
    assert newest is not None
    change_log.delete_old()
    assert list(Change.objects.order_by("pk").values_list("kind", flat=True)) == ["index", DELETION, DELETION]
    mark = Change.objects.order_by("pk").last()
    assert mark is not None
    assert mark.key == ("7" if connection.vendor == "postgresql" else str(newest.pk - 1))


@pytest.mark.django_db
def test_old_marks_go_with_the_changes_behind_them() -> None:
    Change.objects.all().delete()
    at, number = timezone.now() - timedelta(hours=2), 7 if connection.vendor == "postgresql" else None
    marks = [Change(kind=DELETION, key="1", at=at, transaction=number) for _ in range(change_log.BATCH_SIZE + 1)]
    Change.objects.bulk_create(marks)
    add("index", 70)
    change_log.delete_old()
    add("index", 70)
    change_log.delete_old()
    assert [*Change.objects.values_list("kind", flat=True)] == [DELETION]


@pytest.mark.django_db
def test_mark_of_a_later_position_stays() -> None:
    """A reader that has read up to the other position must find it: on PostgreSQL, old transactions write late."""
    Change.objects.all().delete()
    Change.objects.create(kind=DELETION, key=str(2**40), at=timezone.now())
    add("index", 70)
    change_log.delete_old()
    assert str(2**40) in Change.objects.values_list("key", flat=True)


@pytest.mark.django_db
def test_marks_alone_are_not_replaced() -> None:
    Change.objects.all().delete()
    add(DELETION, 70)
    change_log.delete_old()
    assert Change.objects.count() == 1
