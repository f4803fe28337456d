"""Downloads of files: counted by file and day, and summed up."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from files import download_counts, models
from files.models import ClientDownloads, DailyDownloads, FetchedFile, File, FileDownloads
from registry_site.download_counts import today
from registry_site.signals import purge_requested
from registry_site.write_buffers import flush
from tests.support.file_clients import FileClient, upload_file


def add_files(machine: FileClient, root: Path) -> list[int]:
    """Add a file of the disk and an upload, and return their ids."""
    path = root / "data.bin"
    path.write_bytes(b"on the disk")
    on_disk = machine.send("POST", "/", {"path": str(path), "serve_path": "a.bin"}).json()
    upload = upload_file(machine, "POST", "/", b"uploaded", serve_path="b.bin").json()
    return [answer["results"][0]["id"] for answer in (on_disk, upload)]


def test_downloads_read_and_only_read(as_box: FileClient, file_root: Path) -> None:
    keys = add_files(as_box, file_root)
    with CaptureQueriesContext(connection) as queries:
        for key in keys:
            for method, value in (("GET", "bytes=0-"), ("GET", "bytes=3-"), ("HEAD", ""), ("GET", "")):
                as_box.send(method, f"/{key}", headers={"Range": value}).getvalue()
    assert {query["sql"].split()[0] for query in queries.captured_queries} == {"SELECT"}
    flush()
    assert list(DailyDownloads.objects.order_by("file").values_list("file", "day", "count")) == [
        (key, today(), 2) for key in keys
    ]
    assert list(ClientDownloads.objects.values_list("client__name", "day", "count")) == [("box", today(), 4)]


def test_counts_go_with_their_file(as_box: FileClient, file_root: Path, box: models.Client) -> None:
    gone, present = add_files(as_box, file_root)
    download_counts.store({(gone, box.pk, today()): 1})
    for key in (gone, present):
        download_counts.files.count(key, box.pk)
    File.objects.filter(pk=gone).delete()
    flush()
    assert not download_counts.files.pending
    assert list(FileDownloads.objects.values_list("file", "total")) == [(present, 1)]
    assert DailyDownloads.objects.count() == 1


def test_last_files_of_a_client_are_known(as_box: FileClient, file_root: Path, box: models.Client) -> None:
    first, second = add_files(as_box, file_root)
    for key in (first, second):
        as_box.send("GET", f"/{key}").getvalue()
        flush()
    FetchedFile.objects.filter(file=second).update(fetched_at=timezone.now() - timedelta(days=2))
    as_box.send("GET", f"/{second}").getvalue()
    flush()
    assert list(FetchedFile.objects.values_list("file", "client__name")) == [(second, "box"), (first, "box")]
    assert FetchedFile.objects.earliest("fetched_at").fetched_at > timezone.now() - timedelta(minutes=1)


def test_only_the_newest_files_are_known(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FetchedFile, "MAX_OF_CLIENT", 3)
    now = timezone.now()
    files = File.objects.bulk_create(
        File(path=str(number), serve_path=str(number), size=1, uploaded_at=now, modified_at=now) for number in range(5)
    )
    busy, calm = (models.Client.objects.create(name=name) for name in ("busy", "calm"))
    download_counts.store({(files[0].pk, calm.pk, today()): 1, (files[0].pk, busy.pk, date(2024, 2, 1)): 1})
    with CaptureQueriesContext(connection) as few:
        download_counts.store({(files[1].pk, busy.pk, today()): 1})
    with CaptureQueriesContext(connection) as many:
        download_counts.store({(file.pk, busy.pk, today()): 1 for file in files[2:]})
    assert len(few) == len(many)
    kept = FetchedFile.objects.order_by("client", "file").values_list("client__name", "file__serve_path")
    assert list(kept) == [("busy", "2"), ("busy", "3"), ("busy", "4"), ("calm", "0")]


def test_old_days_become_months(as_box: FileClient, file_root: Path, box: models.Client, as_root: Client) -> None:
    key, _ = add_files(as_box, file_root)
    download_counts.store({(key, box.pk, date(2024, 2, day)): 100 for day in range(1, 30)})
    purge_requested.send(sender=None)
    for model in (DailyDownloads, ClientDownloads):
        assert list(model.objects.values_list("day", "count")) == [(date(2024, 2, 1), 2900)]
    page = as_root.get("/admin/files/file/?o=-10")
    assert "2900" in page.content.decode()
