"""The state of the registry for staff: disk and blobs, the last purge, the version, and the settings in force."""

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.cache import cache
from django.core.files.storage import storages
from django.db import connection
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils import timezone

from registry_site.admin import front_page, site_pages
from registry_site.admin.front_page import Fact, Notice, when
from registry_site.environment import Reading
from registry_site.models import Action, AuditEvent, StoredBlob
from registry_site.templatetags.figures import size

SECONDS = 60  # for which sums over large tables are kept, in each worker
LATE_PURGE_DAYS = 3
SCARCE = 4  # times the reserve of the disk: less is a matter for the operator
VIEW_SETTINGS = "registry_site.view_auditevent"  # who reads the audit log may read the settings


@front_page.add(VIEW_SETTINGS, "Storage")
def storage() -> Iterator[Notice | Fact]:
    """Yield the space on the disk, and the size of the blobs."""
    free = free_bytes(settings.DATA_DIR)
    yield Notice(
        int(free < SCARCE * settings.MIN_FREE_SPACE),
        f"disk with only {size(free)} free; uploads need {size(settings.MIN_FREE_SPACE)}",
        reverse("admin:settings"),
        is_urgent=free < settings.MIN_FREE_SPACE,
    )
    yield Fact("Data directory", disk_space(settings.DATA_DIR))
    number, total = stored_blobs()
    yield Fact("Blobs", f"{size(total)} in {number:,} file{pluralize(number)}, {place_of_store('blobs')}")


def stored_blobs() -> tuple[int, int]:
    """Return how many blobs there are, and their bytes; counted anew once a minute."""
    blobs = StoredBlob.objects
    sums: Any = cache.get_or_set("stored_blobs", lambda: blobs.aggregate(n=Count("pk"), bytes=Sum("size")), SECONDS)
    return sums["n"], sums["bytes"] or 0


def place_of_store(name: str) -> str:
    """Return where a store has its bytes, and what room there is beside the data directory's."""
    store: Any = storages[name]
    if bucket := getattr(store, "bucket_name", ""):
        return f"in the bucket {bucket}"
    directory = Path(store.location)
    if device_of(directory) == device_of(settings.DATA_DIR):
        return "on the same disk"
    return f"on another disk with {disk_space(directory)}"


def existing(directory: Path) -> Path:
    """Return the directory, or the nearest above it that exists: the first blob makes its own."""
    return next(path for path in (directory, *directory.parents) if path.exists())


def device_of(directory: Path) -> int:
    return existing(directory).stat().st_dev


def free_bytes(directory: Path) -> int:
    return shutil.disk_usage(existing(directory)).free


def disk_space(directory: Path) -> str:
    usage = shutil.disk_usage(existing(directory))
    return f"{size(usage.free)} free of {size(usage.total)}"


@front_page.add(VIEW_SETTINGS, "Upkeep")
def upkeep() -> Iterator[Notice | Fact]:
    """Yield the last purge, the version, and variables that nothing reads."""
    # With the actor, whom no purge has, so that the index of actors and actions finds it.
    purges = AuditEvent.objects.filter(actor=None, action=Action.REGISTRY_PURGE).order_by("-at")
    last = purges.only("at", "object_id").first()
    if last is None:
        yield Fact("Last purge", "never: let manage.py purge run once a day")
    else:
        url = reverse("admin:registry_site_auditevent_change", args=[last.pk])
        yield Fact("Last purge", when(last.at), url)
        days = (timezone.now() - last.at).days
        yield Notice(days if days >= LATE_PURGE_DAYS else 0, "day{s} since the last purge", url)
    yield Fact("Last backup", "not known: nothing here makes backups or hears of them")
    yield Fact("Version", settings.VERSION)
    changed = sum(reading.source != "default" for reading in settings.REGISTRY.readings.values())
    yield Fact("Settings", f"{changed} of {len(settings.REGISTRY.readings)} are set", reverse("admin:settings"))
    unknown = settings.REGISTRY.unknown_names()
    names = ", ".join(unknown[:5])
    yield Notice(len(unknown), f"variable{{s}} that nothing reads: {names}", reverse("admin:settings"))


@site_pages.page("settings/", "settings", VIEW_SETTINGS)
def settings_page(request: HttpRequest) -> HttpResponse:
    """`GET /admin/settings/`"""
    readings: list[Reading] = sorted(settings.REGISTRY.readings.values(), key=lambda reading: reading.name)
    versions = {
        "Entrepot": settings.VERSION,
        "Python": platform.python_version(),
        "Django": django.get_version(),
        "Database": f"{connection.vendor} {'.'.join(map(str, connection.get_database_version()))}",
    }
    return site_pages.render(
        request,
        "admin/settings.html",
        "Settings in force",
        readings=readings,
        unknown=settings.REGISTRY.unknown_names(),
        versions=versions,
    )
