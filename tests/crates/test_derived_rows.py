"""Rows that follow from versions: the foremost versions of a crate, its keywords and categories, its dependencies."""

import random
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from crates import derived_fields, taxonomy
from crates.models import Category, Crate, Dependency, Keyword, Version
from tests.support import packing
from tests.support.cast import CargoClient
from tests.support.concurrency import run_concurrently
from tests.support.migrations import migrate

BEFORE = ("crates", "0004_large_columns_last")
FOREMOST = ("max_version", "default_version", "newest_version")


def publish(client: CargoClient, version: str = "1.0.0", extra: str = "", name: str = "demo", tables: str = "") -> None:
    toml = packing.manifest(name, version, extra) + tables
    assert client.publish(packing.body(name, version, toml=toml)).status_code == 200


def foremost() -> tuple[str | None, ...]:
    """Return the numbers of the highest, the default and the newest version of the only crate."""
    crate = Crate.objects.select_related(*FOREMOST).get()
    versions = [getattr(crate, field) for field in FOREMOST]
    return tuple(version.number if version else None for version in versions)


def change_yanked(client: CargoClient, version: str, action: str) -> tuple[str | None, ...]:
    send: Any = client.delete if action == "yank" else client.put
    assert send(f"/api/v1/crates/demo/{version}/{action}").status_code == 200
    return foremost()


# --- Foremost versions ------------------------------------------------------------------------------------------


def test_publish_chooses_foremost_versions(as_alice: CargoClient) -> None:
    chosen = {}
    for version in ("1.0.0-rc.1", "0.9.0", "2.0.0-rc.1", "1.0.0", "0.9.1"):
        publish(as_alice, version)
        chosen[version] = foremost()
    assert chosen == {
        "1.0.0-rc.1": ("1.0.0-rc.1", "1.0.0-rc.1", "1.0.0-rc.1"),
        "0.9.0": ("1.0.0-rc.1", "0.9.0", "0.9.0"),
        "2.0.0-rc.1": ("2.0.0-rc.1", "0.9.0", "2.0.0-rc.1"),
        "1.0.0": ("2.0.0-rc.1", "1.0.0", "1.0.0"),
        "0.9.1": ("2.0.0-rc.1", "1.0.0", "0.9.1"),
    }
    assert Crate.objects.get().version_count == 5


def test_yank_chooses_other_foremost_versions(as_alice: CargoClient) -> None:
    for version in ("1.0.0", "0.9.0", "2.0.0-rc.1"):
        publish(as_alice, version)
    yanked = [change_yanked(as_alice, version, "yank") for version in ("1.0.0", "0.9.0", "2.0.0-rc.1")]
    assert yanked == [
        ("2.0.0-rc.1", "0.9.0", "2.0.0-rc.1"),
        ("2.0.0-rc.1", "2.0.0-rc.1", "2.0.0-rc.1"),
        (None, "1.0.0", None),
    ]
    unyanked = [change_yanked(as_alice, version, "unyank") for version in ("0.9.0", "2.0.0-rc.1", "1.0.0")]
    assert unyanked == [
        ("0.9.0", "0.9.0", "0.9.0"),
        ("2.0.0-rc.1", "0.9.0", "2.0.0-rc.1"),
        ("2.0.0-rc.1", "1.0.0", "2.0.0-rc.1"),
    ]
    assert Crate.objects.get().version_count == 3


def test_incremental_choice_equals_choice_among_all(as_alice: CargoClient) -> None:
    numbers = ("1.0.0-a", "0.1.0", "1.0.0", "0.2.0-b", "0.2.0")
    changes = [*numbers, "1.0.0", "0.2.0", "1.0.0", "0.1.0", "0.2.0-b", "0.2.0", "1.0.0-a", "1.0.0-a", "0.1.0"]
    for position, number in enumerate(changes):
        if position < len(numbers):
            publish(as_alice, number)
        else:
            is_yanked = Version.objects.get(number=number).yanked
            change_yanked(as_alice, number, "unyank" if is_yanked else "yank")
        chosen = derived_fields.choose_foremost(Version.objects.all())
        versions = [getattr(chosen, field) for field in FOREMOST]
        assert foremost() == tuple(version.number if version else None for version in versions)


def test_yank_reads_texts_of_few_versions(as_alice: CargoClient) -> None:
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        publish(as_alice, version)
    with CaptureQueriesContext(connection) as queries:
        change_yanked(as_alice, "3.0.0", "yank")
    of_all = [sql for query in queries.captured_queries if '"crate_id" = ' in (sql := query["sql"]) and "NOT" in sql]
    assert len(of_all) == 1
    assert '"description"' not in of_all[0]


def test_yank_and_unyank_set_their_time(as_alice: CargoClient) -> None:
    publish(as_alice)
    created = Crate.objects.get().updated_at
    change_yanked(as_alice, "1.0.0", "yank")
    version = Version.objects.get()
    assert version.yanked_at is not None
    assert Crate.objects.get().updated_at >= version.yanked_at > created
    change_yanked(as_alice, "1.0.0", "unyank")
    assert Version.objects.get().yanked_at is None


# --- Keywords and categories ------------------------------------------------------------------------------------


def words_of(crate: str) -> tuple[set[str], set[str]]:
    row = Crate.objects.get(name=crate)
    return set(row.keywords.values_list("word", flat=True)), set(row.categories.values_list("slug", flat=True))


def counts() -> dict[str, int]:
    return dict(Keyword.objects.values_list("word", "crate_count")) | dict(
        Category.objects.values_list("slug", "crate_count")
    )


def test_keywords_are_those_of_the_default_version(as_alice: CargoClient) -> None:
    publish(as_alice, "1.0.0", 'keywords = ["Json", "json", "fast", " "]\ncategories = ["a::b"]')
    publish(as_alice, "2.0.0", 'keywords = ["json", "slow"]\ncategories = ["c"]')
    publish(as_alice, "3.0.0-rc.1", 'keywords = ["future"]')
    publish(as_alice, "0.1.0", 'keywords = ["past"]')
    assert words_of("demo") == ({"json", "slow"}, {"c"})
    assert counts() == {"json": 1, "fast": 0, "slow": 1, "a::b": 0, "c": 1}
    change_yanked(as_alice, "2.0.0", "yank")
    assert words_of("demo") == ({"json", "fast"}, {"a::b"})
    assert counts() == {"json": 1, "fast": 1, "slow": 0, "a::b": 1, "c": 0}


def test_keywords_count_their_crates(as_alice: CargoClient) -> None:
    for name in ("one", "two"):
        publish(as_alice, "1.0.0", 'keywords = ["json"]', name)
    publish(as_alice, "1.1.0", 'keywords = ["json"]', "two")
    assert counts() == {"json": 2}
    publish(as_alice, "2.0.0", "", "one")
    assert counts() == {"json": 1}


def test_count_never_falls_below_zero(as_alice: CargoClient) -> None:
    publish(as_alice, "1.0.0", 'keywords = ["json"]')
    Keyword.objects.update(crate_count=0)
    publish(as_alice, "2.0.0")
    assert counts() == {"json": 0}


def test_category_has_a_name_for_people() -> None:
    assert taxonomy.category_name("development-tools::build-utils") == "Development tools::Build utils"


@pytest.mark.only_postgresql
@pytest.mark.django_db(transaction=True)
def test_concurrent_changes_count_right(as_alice: CargoClient) -> None:
    """Changes of crates with the same words wait for each other, and never in a circle."""
    words = [f"word{number}" for number in range(60)]
    for number in range(4):
        publish(as_alice, name=f"demo{number}")

    def change(crate: Crate) -> None:
        try:
            former = None
            for last in range(10, 60):
                version = Version(keywords=random.sample(words[:last], 10))
                with transaction.atomic():
                    taxonomy.assign(crate, former, version)
                former = version
        finally:
            connections.close_all()

    run_concurrently([partial(change, crate) for crate in Crate.objects.all()])
    assert counts() == {word.word: word.crates.count() for word in Keyword.objects.all()}


# --- Dependencies -----------------------------------------------------------------------------------------------

TABLES = """
[dependencies.alias]
version = "1.2"
package = "Real-Crate"
registry-index = "sparse+http://testserver/index/"
optional = true
default-features = false
features = ["a"]
[target.'cfg(unix)'.dev-dependencies]
libc = "0.2"
"""


def test_dependencies_are_rows(as_alice: CargoClient, settings: Any) -> None:
    own = f"sparse+{settings.PUBLIC_URL}/index/"
    publish(as_alice, tables=TABLES.replace("sparse+http://testserver/index/", own))
    fields = ("name", "canonical_name", "explicit_name", "registry", "requirement", "kind", "is_optional")
    rows = Dependency.objects.order_by("position").values_list(*fields, "default_features", "features", "target")
    crates_io = "https://github.com/rust-lang/crates.io-index"
    assert list(rows) == [
        ("Real-Crate", "real_crate", "alias", "", "^1.2", "normal", True, False, ["a"], ""),
        ("libc", "libc", "", crates_io, "^0.2", "dev", False, True, [], "cfg(unix)"),
    ]


def test_current_dependencies_follow_the_default_version(as_alice: CargoClient) -> None:
    def current() -> list[str]:
        return list(Dependency.objects.filter(is_current=True).values_list("version__number", flat=True))

    chosen = []
    for version in ("1.0.0", "2.0.0", "0.1.0"):
        publish(as_alice, version, tables='[dependencies]\nserde = "1"\n')
        chosen.append(current())
    for action in ("yank", "unyank"):
        change_yanked(as_alice, "2.0.0", action)
        chosen.append(current())
    assert chosen == [["1.0.0"], ["2.0.0"], ["2.0.0"], ["1.0.0"], ["2.0.0"]]
    assert Dependency.objects.count() == 3


def test_dependents_are_one_indexed_look_up(as_alice: CargoClient) -> None:
    rows = Dependency.objects.filter(canonical_name="serde", registry="", is_current=True).order_by()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
    assert "current_dependents" in rows.explain()


# --- Rows from before -------------------------------------------------------------------------------------------


def snapshot() -> Any:
    fields = [field.name for field in Dependency._meta.fields if field.name != "id"]
    return foremost(), words_of("demo"), counts(), list(Dependency.objects.values_list(*fields))


@pytest.mark.django_db(transaction=True)
def test_migration_fills_rows_as_publishes_do(as_alice: CargoClient) -> None:
    publish(
        as_alice, "1.0.0", 'keywords = ["Json", "json", "fast", " "]\ncategories = ["a::b"]', tables=TABLES_ELSEWHERE
    )
    publish(as_alice, "0.9.0", 'keywords = ["past"]', tables='[dependencies]\nserde = "1"\n')
    publish(as_alice, "2.0.0", tables='[build-dependencies]\ncc = "1"\n')
    change_yanked(as_alice, "2.0.0", "yank")
    Keyword.objects.filter(crate_count=0).delete()
    before = snapshot()
    old = migrate(BEFORE)
    assert old.get_model("crates", "Crate").objects.get().newest.number == "1.0.0"
    migrate()
    assert snapshot() == before
    crate = Crate.objects.get()
    assert (crate.version_count, crate.updated_at, crate.downloads.total) == (3, crate.index_modified, 0)


TABLES_ELSEWHERE = (
    '\n[dependencies.alias]\nversion = "1.2"\npackage = "Real-Crate"\n[target.x.dependencies]\nlibc = "0"\n'
)
