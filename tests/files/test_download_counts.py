"""Downloads of files: counted by file and day, and summed up."""

from datetime import date
from pathlib import Path

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from files import download_counts, models
from files.models import ClientDownloads, DailyDownloads, File, FileDownloads
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


def test_old_days_become_months(as_box: FileClient, file_root: Path, box: models.Client, as_root: Client) -> None:
    key, _ = add_files(as_box, file_root)
    download_counts.store({(key, box.pk, date(2024, 2, day)): 100 for day in range(1, 30)})
    purge_requested.send(sender=None)
    for model in (DailyDownloads, ClientDownloads):
        assert list(model.objects.values_list("day", "count")) == [(date(2024, 2, 1), 2900)]
    page = as_root.get("/admin/files/file/?o=-10")
    assert "2900" in page.content.decode()
