"""Removal of crates and versions: by owners within limits, by staff with a reason; restoring and destroying."""

import json
import random
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts import reserved_names
from accounts.credentials import cargo_tokens
from accounts.models import User
from accounts.name_patterns import NameKind
from crates import derived_fields, download_counts, index, listing, removal, search, yanking
from crates.models import Crate, CrateDownloads, CrateWords, Dependency, Keyword, Version, VersionContents
from registry_site import counters
from registry_site.errors import Conflict, NotFound, PermissionDenied
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.admin import run_action
from tests.support.cast import CargoClient
from tests.support.concurrency import run_concurrently

CRATE = "/api/v1/crates/demo"
INDEX = "/index/de/mo/demo"
CRATES = "/admin/crates/crate/"
VERSIONS = "/admin/crates/version/"
ON_DEMO = '[dependencies.demo]\nversion = "1"\nregistry-index = "sparse+http://testserver/index/"\n'
REASON = "It has a token in it."


def publish(client: CargoClient, version: str = "1.0.0", name: str = "demo", extra: str = "", tables: str = "") -> Any:
    toml = packing.manifest(name, version, extra) + tables
    return client.publish(packing.body(name, version, toml=toml))


def detail(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["errors"][0]["detail"] if response.content else ""


def make_older(**age: float) -> None:
    Crate.objects.update(created_at=timezone.now() - timedelta(**age))


def age_removal() -> None:
    """Let the time in the trash be over."""
    for model in (Crate, Version):
        model.with_removed.exclude(removed_at=None).update(removed_at=timezone.now() - timedelta(days=15))


def the_version(number: str = "1.0.0") -> Version:
    return Version.with_removed.select_related("crate").get(number=number)


def the_crate() -> Crate:
    return Crate.with_removed.get(name="demo")


def download_status(client: CargoClient, number: str = "1.0.0") -> int:
    response = client.get(f"/dl/demo/{number}/download")
    list(response)  # its end closes the file
    return int(response.status_code)


def visible(client: CargoClient) -> dict[str, Any]:
    """Return what shows a crate: statuses of index, download and page, and what search, dependents and words say."""
    return {
        "index": client.get(INDEX).status_code,
        "download": download_status(client),
        "page": client.get("/crates/demo").status_code,
        "owners": client.get(f"{CRATE}/owners").status_code,
        "found": len(search.matching("demo")),
        "listed": listing.list_crates(listing.CrateQuery()).total,
        "dependents": Dependency.objects.filter(canonical_name="base", is_current=True).count(),
        "keywords": list(Keyword.objects.values_list("word", "crate_count")),
    }


# --- By owners -------------------------------------------------------------------------------------------------------


def test_owner_removes_a_young_crate(as_alice: CargoClient) -> None:
    publish(as_alice, extra='keywords = ["fast"]', tables='[dependencies]\nbase = "1"\n')
    publish(as_alice, "1.0.0", "user", tables=ON_DEMO)
    response = as_alice.delete(f"{CRATE}?message=Its%20name%20was%20wrong.")
    assert (response.status_code, response.content) == (204, b"")
    assert visible(as_alice) == {
        "index": 404,
        "download": 410,
        "page": 410,
        "owners": 404,
        "found": 0,
        "listed": 1,
        "dependents": 0,
        "keywords": [("fast", 0)],
    }
    assert detail(as_alice.get("/dl/demo/1.0.0/download")) == (410, "demo 1.0.0 was removed: Its name was wrong.")
    event = AuditEvent.objects.get(action="crate.remove")
    assert (event.actor_name, event.target, event.detail) == ("alice", "demo", {"reason": "Its name was wrong."})
    assert as_alice.delete(CRATE).status_code == 404


def test_removal_of_an_older_crate_has_conditions(as_alice: CargoClient, alice: User, bob: User) -> None:
    publish(as_alice)
    make_older(hours=73)
    day = timezone.now().date()

    def add_owner() -> None:
        the_crate().ownerships.create(user=bob)

    def add_dependent() -> None:
        the_crate().ownerships.filter(user=bob).delete()
        publish(as_alice, "0.1.0", "user", tables=ON_DEMO)

    def add_downloads() -> None:
        as_alice.delete("/api/v1/crates/user")
        download_counts.store({(the_version().pk, day): 501})

    preparations = {
        "only crates with a single owner": add_owner,
        "only crates without reverse dependencies": add_dependent,
        "only crates with at most 500 downloads per month": add_downloads,
    }
    for beginning, prepare in preparations.items():
        prepare()
        status, sentence = detail(as_alice.delete(CRATE))
        assert (status, sentence.startswith(beginning)) == (409, True), sentence
        assert as_alice.get(INDEX).status_code == 200
    Version.objects.filter(crate__name="demo").get().daily_downloads.update(count=500)
    assert as_alice.delete(CRATE).status_code == 204


def test_older_versions_of_dependents_count(as_alice: CargoClient, root: User) -> None:
    publish(as_alice)
    publish(as_alice, "0.1.0", "user", tables=ON_DEMO)
    publish(as_alice, "0.2.0", "user")
    make_older(hours=73)
    assert detail(as_alice.delete(CRATE))[0] == 409
    removal.remove_version(the_version("0.1.0"), REASON, actor=root)
    assert as_alice.delete(CRATE).status_code == 204


def test_stranger_and_weaker_token_cannot_remove(as_alice: CargoClient, as_bob: CargoClient, alice: User) -> None:
    publish(as_alice)
    assert as_bob.delete(CRATE).status_code == 403
    weaker = CargoClient(token=cargo_tokens.create(alice, "ci", ["publish", "yank"]))
    assert weaker.delete(CRATE).status_code == 403
    assert as_alice.delete(f"{CRATE}?message={'x' * 501}").status_code == 400
    assert as_alice.delete("/api/v1/crates/other").status_code == 404
    assert as_alice.get(INDEX).status_code == 200


def test_name_is_reserved_for_former_owners(as_alice: CargoClient, as_bob: CargoClient, bob: User) -> None:
    publish(as_alice)
    the_crate().ownerships.create(user=User.objects.create_user("carla"))
    as_alice.delete(CRATE)
    status, sentence = detail(publish(as_bob, "1.0.1"))
    assert (status, "reserved for its owners until" in sentence) == (403, True)
    assert publish(as_alice, "1.0.1").status_code == 200
    assert the_crate().ownerships.count() == 2
    assert [json.loads(line)["vers"] for line in as_alice.get(INDEX).content.splitlines()] == ["1.0.1"]


def test_name_is_free_after_the_trash(as_alice: CargoClient, as_bob: CargoClient, bob: User) -> None:
    publish(as_alice)
    the_crate().follows.create(user=bob)
    as_alice.delete(CRATE)
    age_removal()
    call_command("purge")
    assert publish(as_bob, "2.0.0", "Demo").status_code == 200
    crate = Crate.objects.get()
    assert (crate.name, list(crate.owners.all()), crate.version_count) == ("Demo", [bob], 1)
    assert not crate.follows.exists()
    status, sentence = detail(publish(as_bob, "1.0.0", "Demo"))
    assert (status, "cannot be used again" in sentence) == (409, True)
    assert publish(as_alice, "3.0.0", "Demo").status_code == 403


def test_number_of_a_removed_version_is_never_free(as_alice: CargoClient, alice: User, root: User) -> None:
    publish(as_alice)
    publish(as_alice, "2.0.0")
    removal.remove_version(the_version(), REASON, actor=root)
    for number in ("1.0.0", "1.0.0+build"):
        assert detail(publish(as_alice, number)) == (
            409,
            f"demo 1.0.0 was removed: {REASON} (Its number cannot be used again; publish under a new version.)",
        )


def test_removed_name_is_checked_as_new(as_alice: CargoClient) -> None:
    publish(as_alice)
    as_alice.delete(CRATE)
    reserved_names.reserve(NameKind.CRATE, "demo", "Ask the core team.", actor=None)
    assert detail(publish(as_alice, "2.0.0")) == (403, "The crate name demo is reserved here: Ask the core team.")


# --- By staff --------------------------------------------------------------------------------------------------------


def test_staff_remove_and_restore_a_version(as_alice: CargoClient, as_root: Client) -> None:
    publish(as_alice, extra='keywords = ["old"]')
    publish(as_alice, "2.0.0", extra='keywords = ["new"]')
    before = as_alice.get(INDEX)
    assert "1 removed" in run_action(as_root, VERSIONS, "remove", the_version("2.0.0"), reason=REASON)
    crate = Crate.objects.select_related("max_version", "default_version", "newest_version").get()
    assert crate.default_version == crate.max_version == crate.newest_version == the_version()
    assert (crate.version_count, [keyword.word for keyword in crate.keywords.all()]) == (1, ["old"])
    after = as_alice.get(INDEX)
    assert (b'"2.0.0"' in after.content, after["ETag"] == before["ETag"]) == (False, False)
    assert detail(as_alice.get("/dl/demo/2.0.0/download")) == (410, f"demo 2.0.0 was removed: {REASON}")
    assert "1 restored" in run_action(as_root, VERSIONS, "restore", the_version("2.0.0"))
    assert as_alice.get(INDEX).content == before.content
    assert download_status(as_alice, "2.0.0") == 200
    assert [keyword.word for keyword in Crate.objects.get().keywords.all()] == ["new"]


def index_lines(client: CargoClient) -> list[Any]:
    """Return the lines of the index file as objects: PostgreSQL orders the keys of JSON that it has stored."""
    return [json.loads(line) for line in client.get(INDEX).content.splitlines()]


def test_staff_remove_and_restore_a_crate(as_alice: CargoClient, as_root: Client) -> None:
    publish(as_alice, extra='keywords = ["fast"]', tables='[dependencies]\nbase = "1"\n')
    publish(as_alice, "2.0.0", tables='[dependencies]\nbase = "1"\n')
    run_action(as_root, VERSIONS, "remove", the_version("2.0.0"), reason=REASON)
    before, lines = visible(as_alice), index_lines(as_alice)
    assert "1 removed" in run_action(as_root, CRATES, "remove", the_crate(), reason=REASON)
    assert visible(as_alice)["index"] == 404
    status, sentence = detail(publish(as_alice, "3.0.0"))
    assert (status, sentence.startswith(f"demo was removed: {REASON} (Its name is reserved")) == (403, True)
    assert "demo" in as_root.get(CRATES).content.decode()
    assert "restore that" in run_action(as_root, VERSIONS, "restore", the_version())
    assert "1 restored" in run_action(as_root, CRATES, "restore", the_crate())
    assert (visible(as_alice), index_lines(as_alice)) == (before, lines)
    assert as_alice.get("/dl/demo/2.0.0/download").status_code == 410  # it was removed before the crate


def test_last_removed_version_leaves_no_index_file(as_alice: CargoClient, root: User) -> None:
    publish(as_alice)
    removal.remove_version(the_version(), REASON, actor=root)
    assert (as_alice.get(INDEX).status_code, as_alice.get("/crates/demo").status_code) == (404, 410)
    assert search.matching("demo") == []
    assert publish(as_alice, "1.0.1").status_code == 200
    assert as_alice.get(INDEX).status_code == 200


def test_staff_need_a_reason(as_alice: CargoClient, as_root: Client) -> None:
    publish(as_alice)
    for path, row in ((CRATES, the_crate()), (VERSIONS, the_version())):
        for action in ("remove", "destroy"):
            assert "This field is required." in run_action(as_root, path, action, row, reason=" ")
    assert as_alice.get(INDEX).status_code == 200


def test_removed_version_is_not_yanked(as_alice: CargoClient, as_root: Client, root: User) -> None:
    publish(as_alice)
    publish(as_alice, "2.0.0")
    stale = the_version()
    removal.remove_version(the_version(), REASON, actor=root)
    assert as_alice.delete("/api/v1/crates/demo/1.0.0/yank").status_code == 404
    assert "restore it first" in run_action(as_root, VERSIONS, "yank", stale, reason=REASON)
    with pytest.raises(Conflict):
        yanking.set_yanked_as_staff(stale, yanked=True, actor=root)


# --- Destruction -----------------------------------------------------------------------------------------------------


def test_destroyed_version_has_no_texts(as_alice: CargoClient, as_root: Client) -> None:
    extra = 'keywords = ["secretive"]\ndescription = "s3cret"\ncategories = ["secrets"]\nreadme = "README.md"'
    publish(as_alice, "2.0.0")
    crate = packing.crate(
        toml=packing.manifest(extra=extra) + '[dependencies]\ns3cret = "1"\n', files={"README.md": "s3cret"}
    )
    as_alice.publish(packing.frame(packing.metadata(), crate))
    assert "0 destroyed" in run_action(as_root, VERSIONS, "destroy", the_version(), reason=REASON)
    run_action(as_root, VERSIONS, "remove", the_version(), reason=REASON)
    assert "1 destroyed" in run_action(as_root, VERSIONS, "destroy", the_version(), reason=REASON)
    for model in (Version, VersionContents, Dependency, Keyword, CrateWords, Crate):
        for row in model._base_manager.values():
            assert not re.search("s3cret|secret", str(row)), row
    version = the_version()
    assert (len(version.checksum), version.removal_reason) == (64, REASON)
    assert "nobody can restore it" in run_action(as_root, VERSIONS, "restore", version)
    assert as_alice.get("/dl/demo/1.0.0/download").status_code == 410


def test_every_text_of_a_version_is_emptied() -> None:
    kept = {"id", "crate", "number", "release", "checksum", "size", "published_by", "published_at", "yanked"}
    kept |= {"yanked_at", "has_library", "has_build_script", "is_proc_macro", "unpacked_size", "file_count"}
    kept |= {"examined", "removed_at", "removed_by", "removal_reason", "destroyed_at", "erased_at"}
    assert {field.name for field in Version._meta.concrete_fields} == kept | set(removal.WITHOUT_TEXTS)


def test_purge_destroys_after_the_time_in_the_trash(as_alice: CargoClient, root: User) -> None:
    for number in ("1.0.0", "2.0.0", "3.0.0"):
        publish(as_alice, number, extra='description = "text"')
    removal.remove_version(the_version(), REASON, actor=root)
    age_removal()
    removal.remove_version(the_version("2.0.0"), REASON, actor=root)
    with pytest.raises(Conflict):
        removal.restore_version(the_version(), actor=root)
    call_command("purge")
    texts = Version.with_removed.order_by("number").values_list("description", flat=True)
    assert list(texts) == ["", "text", "text"]
    event = AuditEvent.objects.get(action="crate.destroy")
    assert (event.actor_name, event.detail["versions"]) == ("manage.py purge", ["1.0.0"])


def test_word_of_another_crate_survives(as_alice: CargoClient, root: User) -> None:
    for name in ("demo", "other"):
        publish(as_alice, name=name, extra='keywords = ["shared"]')
    crate = the_crate()
    removal.remove_crate_as_staff(crate, REASON, actor=root)
    removal.destroy_crate(crate, REASON, actor=root)
    assert list(Keyword.objects.values_list("word", "crate_count")) == [("shared", 1)]


def test_downloads_count_until_destruction(as_alice: CargoClient, root: User) -> None:
    for number in ("1.0.0", "2.0.0"):
        publish(as_alice, number)
    version, today = the_version(), timezone.now().date()
    days = {(version.pk, today): 2, (the_version("2.0.0").pk, today): 1, (the_version("2.0.0").pk, date(2020, 1, 1)): 4}
    download_counts.store(days)
    deeds = {(7, 7): removal.remove_version, (5, 1): removal.destroy_version}
    for totals, deed in deeds.items():
        deed(version, REASON, actor=root)
        assert CrateDownloads.objects.values_list("total", "recent").get() == totals
    assert download_counts.most_in_a_month(the_crate()) == 4


# --- Races -----------------------------------------------------------------------------------------------------------


@pytest.mark.only_postgresql  # readers lock the tables of a database in memory, which those of a file do not
@pytest.mark.django_db(transaction=True)
def test_races_leave_derived_fields_right(as_alice: CargoClient, root: User) -> None:
    for number in range(4):
        publish(as_alice, f"1.{number}.0", extra=f'keywords = ["word{number}", "common"]')
    numbers = [f"1.{number}.0" for number in range(4)]
    chance = random.Random(7)

    def run(deed: Callable[[], object]) -> None:
        try:
            with suppress(Conflict, NotFound, PermissionDenied):
                deed()
        finally:
            connections.close_all()

    def deed() -> Callable[[], object]:
        version, kind = the_version(chance.choice(numbers)), chance.randrange(8)
        deeds: list[Callable[[], object]] = [
            partial(removal.remove_version, version, REASON, actor=root),
            partial(removal.restore_version, version, actor=root),
            partial(removal.restore_version, version, actor=root),
            partial(yanking.set_yanked_as_staff, version, yanked=True, actor=root),
            partial(yanking.set_yanked_as_staff, version, yanked=False, actor=root),
            partial(removal.remove_crate_as_staff, the_crate(), REASON, actor=root),
            partial(removal.restore_crate, the_crate(), actor=root),
            partial(publish, as_alice, "2.0.0"),
        ]
        return partial(run, deeds[kind])

    for _ in range(12):
        run_concurrently([deed() for _ in range(4)])
        check_derived_fields()


def check_derived_fields() -> None:
    """Compare all that is derived of the only crate with what its present versions say."""
    crate = Crate.with_removed.get()
    present = list(crate.versions.all())
    fields = derived_fields.from_versions(crate, crate.versions.all())
    foremost = (crate.max_version, crate.default_version, crate.newest_version)
    chosen = fields.foremost
    assert foremost == (chosen.max_version, chosen.default_version, chosen.newest_version)
    lines = [index.render_line(crate.name, version) for version in present]
    assert sorted(crate.index_lines.values_list("text", flat=True)) == sorted(lines)
    assert crate.index_size == fields.lines.size == len("".join(lines))
    assert crate.version_count == len(present)
    assert counters.recount_all() == "All counters are right."
    assert not (crate.removed_at and present)
    words = set(crate.default_version.keywords) if crate.default_version else set()
    assert {keyword.word for keyword in crate.keywords.all()} == words
    assert set(Keyword.objects.filter(crate_count__gt=0).values_list("word", flat=True)) == words
    assert CrateWords.objects.filter(version=crate.max_version and crate.default_version).count() == (
        crate.max_version is not None
    )
