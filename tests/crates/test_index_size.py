"""Index files that grow: their limits, and how little is done while a lock is held."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from crates import derived_fields, index, index_files, removal
from crates.models import Crate, IndexLine, Version
from crates.package import features
from tests.support import packing
from tests.support.cast import CargoClient
from tests.support.crate_rows import create_crate_of
from tests.support.rows_read import steps_of_sqlite

YANK = "/api/v1/crates/demo/1.0.0/yank"
UNYANK = "/api/v1/crates/demo/1.0.0/unyank"


def body_with(table: dict[str, list[str]], version: str = "1.0.0") -> bytes:
    """Return a publish body of demo with these features."""
    lines = "".join(f'"{name}" = {values}\n' for name, values in table.items())
    return packing.body(
        version=version, toml=packing.manifest(version=version) + f"[features]\n{lines}", features=table
    )


def refusal(response: Any) -> str:
    assert response.status_code == 400
    return str(response.json()["errors"][0]["detail"])


def index_text() -> str:
    """Return the index file of demo."""
    file = index_files.read("de/mo/demo")
    assert file is not None
    assert Crate.objects.get().index_size == len(file.text)
    return file.text


# --- Limits -----------------------------------------------------------------------------------------------------


def test_endless_feature_is_refused(as_alice: CargoClient) -> None:
    body = body_with({"a": ["b"] * (features.MAX_VALUES + 1), "b": []})
    assert "a has 1001 entries; at most 1000 are taken" in refusal(as_alice.publish(body))
    assert as_alice.publish(body_with({"a": ["b"] * features.MAX_VALUES, "b": []})).status_code == 200


def test_endless_features_of_dependency_are_refused(as_alice: CargoClient) -> None:
    toml = packing.manifest() + f'[dependencies.base]\nversion = "1"\nfeatures = {["a"] * 1001}\n'
    body = packing.body(toml=toml, deps=[packing.dependency("base", features=["a"])])
    assert "features has 1001 entries" in refusal(as_alice.publish(body))


def test_long_line_is_refused(as_alice: CargoClient, blob_directory: Path) -> None:
    body = body_with({f"{n:0255}": [] for n in range(300)})
    assert "demo 1.0.0 needs 7" in refusal(as_alice.publish(body))
    assert not Crate.objects.exists()
    assert not any(path.is_file() for path in blob_directory.rglob("*"))


def test_full_index_file_takes_no_version(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    Crate.objects.update(index_size=index.MAX_FILE_SIZE)
    assert "The index file of demo would have" in refusal(as_alice.publish(packing.body(version="2.0.0")))
    assert Version.objects.count() == 1
    # What is there stays usable.
    assert as_alice.publish(packing.body()).status_code == 200
    assert as_alice.delete(YANK).status_code == 200
    assert '"yanked":true' in IndexLine.objects.get().text


@override_settings(CRATE_CHANGES_PER_MINUTE=3)
def test_changes_of_crate_are_limited(as_alice: CargoClient, as_bob: CargoClient) -> None:
    as_alice.publish(packing.body())
    as_alice.put_json("/api/v1/crates/demo/owners", {"users": ["bob"]})
    # A repetition changes nothing, and does not count.
    statuses = [change(path).status_code for change, path in [(as_alice.delete, YANK), (as_alice.put, UNYANK)] * 2]
    assert statuses == [200, 200, 429, 200]
    refused = as_alice.publish(packing.body(version="2.0.0"))
    assert (refused.status_code, refused["Retry-After"].isdecimal()) == (429, True)
    assert "alice has changed demo 3 times within a minute" in refused.json()["errors"][0]["detail"]
    assert as_alice.publish(packing.body("demo2")).status_code == 200
    assert as_bob.delete(YANK).status_code == 200


@override_settings(CRATE_CHANGES_PER_MINUTE=0)
def test_changes_need_no_limit(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    assert as_alice.delete(YANK).status_code == 200


# --- Work before the locks --------------------------------------------------------------------------------------


def test_long_texts_are_read_before_locks(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    as_alice.publish(packing.body(version="0.9.0"))
    changes: list[Any] = [
        lambda: as_alice.delete(YANK),
        lambda: as_alice.put(UNYANK),
        lambda: as_alice.publish(packing.body(version="2.0.0")),
    ]
    for change in changes:
        with CaptureQueriesContext(connection) as queries:
            assert change().status_code == 200
        statements = [query["sql"] for query in queries.captured_queries]
        # The transaction begins by checking the publisher again. An earlier one registers the blob.
        first_lock = next(
            number
            for number, (before, sql) in enumerate(pairwise(statements), start=1)
            if 'FROM "accounts_' in sql and "SAVEPOINT" in before
        )
        selected = [sql for sql in statements[first_lock:] if sql.startswith("SELECT")]
        assert selected
        assert [sql for sql in selected if '"text"' in sql or '"dependencies"' in sql] == []


def test_change_before_the_lock_is_kept(as_alice: CargoClient) -> None:
    for number in ("1.0.0", "2.0.0"):
        as_alice.publish(packing.body(version=number))
    version = Version.objects.get(number="2.0.0")
    derive = partial(derived_fields.after_yank, version=version, yanked=True)
    prepared = derive(Crate.objects.get())
    as_alice.delete(YANK)
    Version.objects.filter(pk=version.pk).update(yanked=True)
    derived_fields.save(Crate.objects.get(), prepared, derive)
    assert index_text().count('"yanked":true') == 2


def test_highest_version_follows_each_change(as_alice: CargoClient) -> None:
    highest = []
    for number in ("1.0.0", "3.0.0", "2.0.0"):
        as_alice.publish(packing.body(version=number))
        highest.append(Crate.objects.get().max_version)
    for number in ("3.0.0", "1.0.0", "2.0.0"):
        as_alice.delete(f"/api/v1/crates/demo/{number}/yank")
        highest.append(Crate.objects.get().max_version)
    for number in ("1.0.0", "3.0.0", "2.0.0"):
        as_alice.put(f"/api/v1/crates/demo/{number}/unyank")
        highest.append(Crate.objects.get().max_version)
    numbers = [version.number if version else None for version in highest]
    assert numbers == ["1.0.0", "3.0.0", "3.0.0", "2.0.0", "2.0.0", None, "1.0.0", "3.0.0", "3.0.0"]


def test_only_the_line_of_the_version_changes(as_alice: CargoClient) -> None:
    numbers = ("1.0.0-rc.1", "1.0.0", "11.0.0", "1.0.0-rc.10")
    for number in numbers:
        as_alice.publish(packing.body(version=number))
    lines = index_text().splitlines(keepends=True)
    for position, number in enumerate(numbers):
        as_alice.delete(f"/api/v1/crates/demo/{number}/yank")
        lines[position] = lines[position].replace('"yanked":false', '"yanked":true')
        assert index_text().splitlines(keepends=True) == lines


def test_each_change_has_a_validator_of_its_own(as_alice: CargoClient, root: User) -> None:
    """Two histories that part have no validator in common, as after a backup is restored."""
    for number in ("1.0.0", "2.0.0"):
        as_alice.publish(packing.body(version=number))
    changes = (
        lambda: as_alice.publish(packing.body(version="3.0.0")),
        lambda: as_alice.publish(packing.body(version="3.0.1")),
        lambda: as_alice.delete(YANK),
        lambda: as_alice.delete("/api/v1/crates/demo/2.0.0/yank"),
        lambda: removal.remove_version(Version.objects.get(number="1.0.0"), "a secret", actor=root),
    )
    texts = {Crate.objects.get().index_etag: index_text()}
    for change in changes:
        with suppress(InterruptedError), transaction.atomic():
            change()
            etag = Crate.objects.get().index_etag
            assert texts.setdefault(etag, index_text()) == index_text()
            raise InterruptedError
    assert len(texts) == 1 + len(changes)


# --- Growth -----------------------------------------------------------------------------------------------------


def test_each_version_costs_the_same(as_alice: CargoClient, alice: User) -> None:
    """A publish takes as many queries, and as much work of the database, for the 2,001st version as for the third."""
    queries_of: dict[str, list[int]] = {}
    steps_of: dict[str, list[int]] = {}
    for name, count in (("few", 2), ("many", 2000)):
        crate = create_crate_of(count, alice, name)
        crate.versions.update(published_at=timezone.now() - timedelta(days=400))
        derived_fields.save(crate, None, lambda crate: derived_fields.from_versions(crate, crate.versions.all()))
        changes: list[Callable[[str], Any]] = [
            lambda name: as_alice.publish(packing.body(name, "0.0.0-rc.1")),
            lambda name: as_alice.publish(packing.body(name, "99.0.0")),
            lambda name: as_alice.delete(f"/api/v1/crates/{name}/0.0.0-rc.1/yank"),
            lambda name: as_alice.put(f"/api/v1/crates/{name}/0.0.0-rc.1/unyank"),
            lambda name: as_alice.delete(f"/api/v1/crates/{name}/99.0.0/yank"),
        ]
        for change in changes:
            with CaptureQueriesContext(connection) as queries, steps_of_sqlite() as steps:
                assert change(name).status_code == 200
            queries_of.setdefault(name, []).append(len(queries))
            steps_of.setdefault(name, []).append(steps[0])
    assert queries_of["many"] == queries_of["few"]
    # After the yank of the highest version any other may be the highest, so all their numbers are read.
    pairs = zip(steps_of["few"][:-1], steps_of["many"][:-1], strict=True)
    assert [many for few, many in pairs if many > 1.2 * few] == []
