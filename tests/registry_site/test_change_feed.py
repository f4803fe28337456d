"""The feed: after `catch_up`, nothing in memory is older than a commit before it, on either database."""

import selectors
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from crates.models import Crate
from registry_site import change_feed, change_log, memory_cache
from registry_site.change_feed import ChangeFeed, LoopFeed, Lost, PostgreSQLReader, SQLiteReader, TooManyChanges
from registry_site.change_log import DELETION
from registry_site.memory_cache import MemoryCache
from registry_site.models import Change
from tests.support.change_feed import TABLES, dropped, fed_cache, keep
from tests.support.concurrency import wait_until
from tests.support.crate_rows import Listing, create_crates
from tests.support.servers import sqlite_template

pytestmark = pytest.mark.django_db(transaction=True)

DEMO, OTHER = ("index", "de/mo/demo"), ("index", "ot/he/other")


@pytest.fixture
def crates(alice: User) -> None:
    create_crates([Listing("demo"), Listing("other")], alice)


@pytest.fixture
def cache(crates: None) -> Iterator[MemoryCache[str, str]]:
    """A cache with both index files."""
    with fed_cache() as cache:
        keep(cache, DEMO, OTHER)
        yield cache


def change(name: str = "demo") -> None:
    Crate.objects.filter(name=name).update(index_etag=f"{timezone.now()}")


def feed_of(cache: MemoryCache[str, str]) -> ChangeFeed:
    assert cache.feed is not None
    return cache.feed


def test_changed_value_is_dropped_and_others_stay(cache: MemoryCache[str, str]) -> None:
    assert dropped(cache, change) == {DEMO[1]}
    assert cache.get(OTHER[1]) == "value"


def test_rollback_drops_nothing(cache: MemoryCache[str, str]) -> None:
    def roll_back() -> None:
        with transaction.atomic():
            change()
            transaction.set_rollback(True)

    assert dropped(cache, roll_back) == set()


def test_value_read_before_a_change_is_refused(cache: MemoryCache[str, str]) -> None:
    ticket = feed_of(cache).ticket()
    change()
    assert feed_of(cache).catch_up()
    assert not cache.put(DEMO[1], "old", ticket, [DEMO])
    assert cache.put(OTHER[1], "new", ticket, [OTHER])


def test_value_put_too_early_is_dropped(cache: MemoryCache[str, str]) -> None:
    ticket = feed_of(cache).ticket()
    change()
    assert cache.put(DEMO[1], "old", ticket, [DEMO])
    assert cache.get(DEMO[1]) is None


def test_value_read_in_a_transaction_is_refused(cache: MemoryCache[str, str]) -> None:
    with transaction.atomic():
        assert not cache.put("key", "value", feed_of(cache).ticket(), [DEMO])


def test_old_ticket_is_refused_once_drops_are_forgotten(
    cache: MemoryCache[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_cache, "MAX_DROPS", 1)
    ticket = feed_of(cache).ticket()
    for name in ("demo", "other"):
        change(name)
        assert feed_of(cache).catch_up()
    assert not cache.put("key", "value", ticket, [("index", "never changed")])


def test_everything_is_dropped_after_too_many_changes(
    cache: MemoryCache[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "MAX_CHANGES", 1)

    def change_twice() -> None:
        change()
        change()

    assert dropped(cache, change_twice) == {DEMO[1], OTHER[1]}
    keep(cache, DEMO, OTHER)
    assert dropped(cache, change) == {DEMO[1]}


def test_everything_is_dropped_if_changes_were_deleted_unread(
    cache: MemoryCache[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a suspended machine has slept for hours: clocks play no part."""
    monkeypatch.setattr(change_log, "KEPT", -change_log.KEPT)

    def change_and_delete() -> None:
        change()
        change_log.delete_old()

    assert dropped(cache, change_and_delete) == {DEMO[1], OTHER[1]}


def wait_for_older_transactions() -> None:
    """Wait for those of other databases, too: as long as one runs, a feed on PostgreSQL takes more as unread."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            (limit,) = cursor.fetchone()

            def are_over() -> bool:
                cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= %s", [limit])
                return bool(cursor.fetchone()[0])

            wait_until(are_over)


def test_deletion_of_changes_that_were_read_drops_nothing(
    cache: MemoryCache[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_log, "KEPT", -change_log.KEPT)
    assert dropped(cache, change) == {DEMO[1]}
    wait_for_older_transactions()
    assert feed_of(cache).catch_up()
    assert dropped(cache, change_log.delete_old) == set()
    assert Change.objects.get().kind == DELETION


def test_value_ends_at_its_time(cache: MemoryCache[str, str]) -> None:
    assert cache.put("key", "value", feed_of(cache).ticket(), [DEMO], good_until=0.0)
    assert cache.get("key") is None


def test_values_that_are_used_stay_longest(crates: None) -> None:
    with fed_cache(max_size=2) as cache:
        keep(cache, ("index", "a"), ("index", "b"))
        cache.peek("a")
        keep(cache, ("index", "c"))
        assert set(cache.entries) == {"a", "c"}
        assert cache.size == 2


def test_one_value_spares_only_some_used_values(crates: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would look at all of them, and everybody wait for the lock meanwhile."""
    monkeypatch.setattr(memory_cache, "MAX_SPARED", 3)
    with fed_cache(max_size=20) as cache:
        names = [str(number) for number in range(20)]
        keep(cache, *(("index", name) for name in names))
        for name in names:
            cache.peek(name)
        keep(cache, ("index", "new"))
        assert set(cache.entries) == {*names, "new"} - {"3"}
        assert [name for name in names if name != "3" and not cache.entries[name].is_used] == names[:3]


def test_drop_of_other_kinds_needs_no_lock(cache: MemoryCache[str, str]) -> None:
    tags = [("unknown", "key")]
    thread = threading.Thread(target=cache.drop, args=(tags, feed_of(cache).next_position()), daemon=True)
    with cache.lock:
        thread.start()
        thread.join(5)
        assert not thread.is_alive()


def test_threads_look_at_the_log_together(cache: MemoryCache[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    feed, may_end, looks = feed_of(cache), threading.Event(), []

    def look() -> bool:
        looks.append(threading.current_thread())
        return may_end.wait(10)

    monkeypatch.setattr(feed, "look", look)
    threads = [threading.Thread(target=feed.catch_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(feed.turns._waiters) == 7)  # type: ignore[attr-defined]
    may_end.set()
    for thread in threads:
        thread.join()
    assert len(looks) == 2  # the seven need one that has begun after them


def test_missing_trigger_turns_the_cache_off(crates: None) -> None:
    cache = MemoryCache[str, str]({"index": ["crates_version"]}, 10)
    feed = ChangeFeed([cache])
    cache.put("key", "value", feed.ticket(), [DEMO])
    assert cache.get("key") is None


def test_lost_connection_drops_everything(cache: MemoryCache[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_feed, "RETRY_SECONDS", 0)
    feed = feed_of(cache)
    assert feed.reader is not None
    feed.reader.close()
    assert cache.get(DEMO[1]) is None
    assert feed.catch_up()
    assert cache.entries == {}
    keep(cache, DEMO)
    assert cache.get(DEMO[1]) == "value"


def test_looks_need_no_connection_of_the_thread(cache: MemoryCache[str, str]) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert cache.get(DEMO[1])
    assert len(queries) == 0


# --- SQLite -------------------------------------------------------------------------------------------------------


@pytest.mark.only_sqlite
def test_log_is_read_only_after_a_commit(cache: MemoryCache[str, str]) -> None:
    reader = feed_of(cache).reader
    assert isinstance(reader, SQLiteReader)
    statements: list[str] = []
    reader.connection.set_trace_callback(statements.append)
    feed_of(cache).catch_up()
    assert statements == ["PRAGMA data_version"]


@pytest.mark.only_sqlite
def test_replaced_file_is_noticed(tmp_path: Path) -> None:
    path, backup = tmp_path / "registry.sqlite3", tmp_path / "backup"
    for file in (path, backup):
        shutil.copyfile(sqlite_template(), file)
    wrapper = connections["default"].copy()
    wrapper.settings_dict["NAME"] = path
    wrapper.connect()
    reader = SQLiteReader(wrapper)
    assert reader.read() == ()
    backup.rename(path)
    with pytest.raises(Lost):
        reader.read()
    wrapper.close()


@pytest.mark.only_sqlite
@pytest.mark.parametrize("changes", [0, 3])
def test_database_restored_in_place_is_noticed(tmp_path: Path, changes: int) -> None:
    """The ids of the log go back, and come again for other changes."""
    path = tmp_path / "registry.sqlite3"
    shutil.copyfile(sqlite_template(), path)
    insert = "INSERT INTO registry_site_change (kind, key, at) VALUES ('index', 'de/mo/demo', '2026-01-01')"
    wrapper = connections["default"].copy()
    wrapper.settings_dict["NAME"] = path
    with closing(sqlite3.connect(path)) as other, closing(sqlite3.connect(tmp_path / "backup")) as backup:
        other.backup(backup)
        other.execute(insert)
        other.commit()
        wrapper.connect()
        reader = SQLiteReader(wrapper)
        backup.backup(other)
        for _ in range(changes):
            other.execute(insert)
        other.commit()
        with pytest.raises(TooManyChanges):
            reader.read()
        assert reader.read() == ()
        other.execute(insert)
        other.commit()
        assert reader.read() == [DEMO]
    wrapper.close()


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


@pytest.mark.only_postgresql
def test_late_commit_of_an_older_transaction_is_read(cache: MemoryCache[str, str]) -> None:
    other = connections["default"].copy()
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute("UPDATE crates_crate SET index_etag = 'late' WHERE name = 'demo'")
    assert dropped(cache, lambda: change("other")) == {OTHER[1]}
    assert cache.get(DEMO[1]) == "value"
    assert dropped(cache, other.commit) == {DEMO[1]}
    other.close()


@pytest.mark.only_postgresql
def test_reader_reads_what_its_snapshot_did_not_see(crates: None) -> None:
    """The statement says it in a way for which there is an index."""
    early, middle, late = (connections["default"].copy() for _ in range(3))
    wrapper = connections["default"].copy()

    def begin(other: BaseDatabaseWrapper, key: str) -> None:
        other.set_autocommit(False)
        write(other, key)

    def write(other: BaseDatabaseWrapper, key: str) -> None:
        with other.cursor() as cursor:
            cursor.execute(
                "INSERT INTO registry_site_change (kind, key, at, transaction)"
                " VALUES ('index', %s, now(), pg_current_xact_id()::text::bigint)",
                [key],
            )

    begin(early, "early")
    begin(middle, "middle")
    change()
    begin(late, "late")
    wrapper.connect()
    reader = PostgreSQLReader(wrapper)
    reads = []
    steps: list[Callable[[], object]] = [
        lambda: change("other"),
        middle.commit,
        lambda: write(early, "early, again"),
        late.commit,
        early.commit,
        lambda: None,
    ]
    for step in steps:
        with connection.cursor() as cursor:
            step()
            cursor.execute(
                "SELECT kind, key FROM registry_site_change"
                " WHERE NOT pg_visible_in_snapshot(transaction::text::xid8, %s::pg_snapshot)",
                [reader.snapshot.decode()],
            )
            expected = sorted(cursor.fetchall())
        reads.append(sorted(reader.read()))
        assert reads[-1] == expected
    assert [[key for _, key in tags] for tags in reads] == [
        ["ot/he/other"],
        ["middle"],
        [],
        ["late"],
        ["early", "early, again"],
        [],
    ]
    for other in (early, middle, late, wrapper):
        other.close()


@pytest.mark.only_postgresql
def test_rolled_back_savepoint_drops_nothing(cache: MemoryCache[str, str]) -> None:
    def work() -> None:
        with transaction.atomic():
            change("other")
            with transaction.atomic():
                change()
                transaction.set_rollback(True)

    assert dropped(cache, work) == {OTHER[1]}


@pytest.mark.only_postgresql
def test_truncation_drops_everything(cache: MemoryCache[str, str]) -> None:
    def truncate() -> None:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE crates_crate CASCADE")

    assert dropped(cache, truncate) == {DEMO[1], OTHER[1]}


@pytest.mark.only_postgresql
def test_rows_of_another_server_are_ignored(cache: MemoryCache[str, str]) -> None:
    """A restored database brings numbers of transactions that have not begun here."""
    Change.objects.create(kind="index", key=DEMO[1], at=timezone.now(), transaction=2**60)
    assert dropped(cache, lambda: None) == set()


class Loop:
    """The main loop of a worker, as far as a feed in it needs it."""

    def __init__(self, cache: MemoryCache[str, str]) -> None:
        self.poller = selectors.DefaultSelector()
        self.feed = LoopFeed(feed_of(cache), self.poller)
        self.answers: list[bool] = []
        self.ask()
        if self.feed.is_postgresql:
            wait_until(lambda: bool(self.feed.connected))

    def ask(self) -> None:
        self.feed.catch_up(self.answers.append)

    def run(self) -> list[bool]:
        """Dispatch events until all are answered, and return the answers since the last call."""
        while self.feed.pending:
            for key, _ in self.poller.select(0.1):
                key.data(key.fileobj)
            self.feed.expire()
        answers, self.answers = self.answers, []
        return answers


@pytest.fixture
def loop(cache: MemoryCache[str, str]) -> Iterator[Loop]:
    loop = Loop(cache)
    loop.run()
    yield loop
    loop.feed.close()


def test_main_loop_catches_up(loop: Loop, cache: MemoryCache[str, str]) -> None:
    loop.ask()
    assert loop.run() == [True]
    keep(cache, DEMO, OTHER)
    change()
    for _ in range(3):
        loop.ask()
    assert loop.run() == [True] * 3
    assert set(cache.entries) == {OTHER[1]}


@pytest.mark.only_postgresql
def test_nobody_waits_long_for_a_frozen_database(
    loop: Loop, cache: MemoryCache[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_feed, "DEADLINE", 0.05)
    loop.ask()
    assert loop.run() == [True]
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE registry_site_change IN ACCESS EXCLUSIVE MODE")
        assert not feed_of(cache).catch_up()
        loop.ask()
        loop.ask()
        assert loop.run() == [False, False]


def test_caches_of_the_registry_rely_on_logged_tables() -> None:
    for cache in memory_cache.caches:
        assert change_log.missing_triggers(connection, cache.tables) == []
    assert change_log.missing_triggers(connection, TABLES) == []
