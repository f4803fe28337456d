"""`manage.py refreshcrates`: older versions get the facts that a publish takes today, and nothing else changes."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from crates import readme_rendering, refreshing, removal, search, version_facts
from crates.models import Crate, CrateWords, Version, VersionContents
from crates.package import facts
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.cast import CargoClient

EXTRA = 'license = "mit"\nkeywords = ["a"]\nreadme = "R.md"\n'


@pytest.fixture(autouse=True)
def crates(as_alice: CargoClient) -> None:
    """Publish two crates, one with two versions, and take their facts away, as if an older release had stored them."""
    for name, number in (("demo", "1.0.0"), ("demo", "2.0.0"), ("other", "1.0.0+build")):
        toml = packing.manifest(name, number, EXTRA) + '[dependencies]\nserde = "1"\n'
        crate = packing.crate(name, number, toml, {"R.md": f"# {name} {number}"})
        assert as_alice.publish(packing.frame(packing.metadata(name, number), crate)).status_code == 200
    readme_rendering.work_off()


def forget() -> None:
    blank = Version()
    Version.objects.update(**{column: getattr(blank, column) for column in version_facts.COLUMNS})
    VersionContents.objects.all().delete()
    for crate in Crate.objects.all():
        search.update_words(crate, search.stored_words_of(crate))


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("refreshcrates", *arguments, stdout=out)
    return out.getvalue()


def snapshot() -> Any:
    """Return every column of crates, versions and their contents, but for keys of contents."""
    contents = [field.name for field in VersionContents._meta.fields if field.name != "id"]
    words = [field.name for field in CrateWords._meta.fields]
    return (
        list(Crate.objects.order_by("pk").values()),
        list(Version.objects.order_by("pk").values()),
        list(VersionContents.objects.order_by("version").values(*contents)),
        list(CrateWords.objects.order_by("crate").values(*words)),
    )


def blob_of(directory: Path, number: str) -> Path:
    checksum = Version.objects.get(number=number).checksum
    return directory / checksum[:2] / checksum[2:4] / checksum


def test_facts_are_those_of_a_publish() -> None:
    before = snapshot()
    forget()
    assert snapshot() != before
    assert run() == "3 of 3 versions read, 3 have new facts.\n"
    assert snapshot() == before


def test_second_run_reads_nothing() -> None:
    forget()
    run()
    assert run() == "0 of 0 versions read, 0 have new facts.\n"
    before = snapshot()
    assert run("--all") == "3 of 3 versions read, 3 have new facts.\n"
    assert snapshot() == before


def test_refresh_is_recorded() -> None:
    forget()
    run()
    run()
    event = AuditEvent.objects.get(action="crate.refresh")
    assert (event.actor_name, event.detail) == ("manage.py refreshcrates", {"refreshed": 3})


def test_damaged_and_lost_files_are_listed(blob_directory: Path) -> None:
    forget()
    blob_of(blob_directory, "1.0.0").unlink()
    damaged = blob_of(blob_directory, "2.0.0")
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(CommandError) as failure:
        run()
    lines = str(failure.value).splitlines()
    assert lines[0] == "2 cannot be read:"
    assert [line.partition(": ")[0] for line in lines[1:]] == ["demo@1.0.0", "demo@2.0.0"]
    assert failure.value.returncode == 1
    assert Version.objects.get(examined=facts.REVISION).crate.name == "other"


def test_other_versions_follow_a_stopped_run(monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    monkeypatch.setattr(refreshing, "PAGE_SIZE", 1)
    for page in refreshing.pages(everything=False):
        refreshing.refresh(page[0])
        break
    assert run() == "2 of 2 versions read, 2 have new facts.\n"
    assert not Version.objects.exclude(examined=facts.REVISION).exists()


def test_change_in_between_is_kept() -> None:
    forget()
    (page,) = refreshing.pages(everything=False)
    Version.objects.filter(pk=page[0].pk).update(yanked=True)
    Version.objects.filter(pk=page[1].pk).update(examined=facts.REVISION, edition="2024")
    assert [refreshing.refresh(version) for version in page] == [True, False, True]
    first, second, _ = Version.objects.order_by("pk")
    assert (first.yanked, first.edition, second.edition) == (True, "2021", "2024")


def test_version_that_is_gone_is_left_out() -> None:
    forget()
    (page,) = refreshing.pages(everything=False)
    Version.objects.filter(pk=page[0].pk).delete()
    Crate.objects.get(name="other").versions.all().delete()
    Crate.objects.filter(name="other").delete()
    assert [refreshing.refresh(version) for version in page] == [False, True, False]
    assert VersionContents.objects.count() == 1


def test_destroyed_version_gets_no_texts_back(root: User) -> None:
    """A run that has read the file before staff destroyed it must not store what it read."""
    forget()
    (page,) = refreshing.pages(everything=False)
    version = Version.objects.get(pk=page[0].pk)
    removal.remove_version(version, "a secret", actor=root)
    removal.destroy_version(version, "a secret", actor=root)
    assert not refreshing.refresh(page[0])
    assert not VersionContents.objects.filter(version=version.pk).exists()
    assert run() == "2 of 2 versions read, 2 have new facts.\n"


def test_file_of_a_destroyed_version_is_not_missed(root: User, blob_directory: Path) -> None:
    forget()
    (page,) = refreshing.pages(everything=False)
    blob_of(blob_directory, "1.0.0").unlink()
    removal.remove_version(page[0], "a secret", actor=root)
    assert [refreshing.refresh(version) for version in page] == [False, True, True]


def test_index_file_is_neither_read_nor_written() -> None:
    forget()
    with CaptureQueriesContext(connection) as queries:
        run()
    assert [
        query["sql"]
        for query in queries.captured_queries
        if '"crates_indexline"' in query["sql"] or '"dependencies"' in query["sql"]
    ] == []
