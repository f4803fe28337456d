"""Downloads of packages: counted by release and day, and summed up."""

from datetime import timedelta

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from packages import download_counts
from packages.models import DailyDownloads, Package, PackageDownloads, Release, ReleaseDownloads
from registry_site.download_counts import today
from registry_site.signals import purge_requested
from registry_site.write_buffers import flush
from tests.support.browser import Browser
from tests.support.package_archives import DEMO_TGZ, upload_archive

PACKAGES = "/namespaces/alice/packages"
ARCHIVE = f"{PACKAGES}/demo/versions/1.0.0/download"


def create(browser: Browser) -> Release:
    upload_archive(browser, "POST", PACKAGES, DEMO_TGZ, package_name="demo", version="1.0.0", field="npm")
    return Release.objects.get()


def test_download_reads_and_only_reads(browser: Browser) -> None:
    release = create(browser)
    with CaptureQueriesContext(connection) as queries:
        for headers in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=10-"}):
            browser.get(ARCHIVE, headers=headers).getvalue()
    assert {query["sql"].split()[0] for query in queries.captured_queries} == {"SELECT"}
    flush()
    assert list(DailyDownloads.objects.values_list("release", "day", "count")) == [(release.pk, today(), 2)]
    assert ReleaseDownloads.objects.get(pk=release.pk).total == 2
    assert PackageDownloads.objects.get().recent == 2


def test_counts_go_with_their_package(browser: Browser) -> None:
    release = create(browser)
    download_counts.store({(release.pk, today()): 1})
    download_counts.releases.count(release.pk)
    Package.objects.all().delete()
    flush()
    assert not download_counts.releases.pending
    for rows in (DailyDownloads, ReleaseDownloads, PackageDownloads):
        assert not rows.objects.exists(), rows


def test_old_downloads_are_recent_no_more(browser: Browser) -> None:
    release = create(browser)
    download_counts.store({(release.pk, today() - timedelta(days=days)): 1 for days in (0, 89, 90)})
    purge_requested.send(sender=None)
    total = PackageDownloads.objects.get()
    assert (total.total, total.recent) == (3, 2)


def test_admin_shows_downloads_of_packages(browser: Browser, as_root: Client) -> None:
    download_counts.store({(create(browser).pk, today()): 4711})
    for path in ("/admin/packages/package/?o=-8", "/admin/packages/release/?o=-7"):
        page = as_root.get(path)
        assert (path, page.status_code, "4711" in page.content.decode()) == (path, 200, True)
