"""Announcements of staff: shown on every page, and to those who publish, while they last."""

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import Error, transaction
from django.utils import timezone

from registry_site import audit
from registry_site.errors import Conflict, Invalid
from registry_site.models import Announcement

CACHE_SECONDS = 5
MAX_PENDING = 10  # each page shows all of them


class CurrentAnnouncements:
    """The announcements that are shown now, or will be, in the memory of a process.

    Each page shows them, and they change seldom: most pages cost no query, and show a change some seconds later.
    """

    def __init__(self) -> None:
        self.rows: Sequence[Announcement] = ()
        self.due = 0.0

    def get(self) -> list[Announcement]:
        if time.monotonic() >= self.due:
            self.refresh()
        now = timezone.now()
        return [row for row in self.rows if row.is_shown_at(now)]

    def refresh(self) -> None:
        self.due = time.monotonic() + CACHE_SECONDS  # before the query, so that other threads show the former rows
        with suppress(Error):  # the page of an error shows the former rows while the database does not answer
            self.rows = list(Announcement.objects.pending())

    def forget(self) -> None:
        self.due = 0.0


current = CurrentAnnouncements()


def on_pages() -> list[Announcement]:
    """Return the announcements that pages show now."""
    return [announcement for announcement in current.get() if announcement.on_pages]


def publish_warnings() -> list[str]:
    """Return the announcements for those who publish, each as one line."""
    return [" ".join(row.text.split()) for row in current.get() if row.in_publish_warnings]


def new(
    text: str,
    *,
    level: str = Announcement.Level.NOTICE,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    on_pages: bool = True,
    in_publish_warnings: bool = False,
) -> Announcement:
    """Return an announcement that is not stored yet. Raises `Invalid`, with the name of the field as code."""
    text = "\n".join(line.strip() for line in text.strip().splitlines())
    longest = Announcement.MAX_LENGTH
    if not text or len(text) > longest:
        raise Invalid(f"An announcement has 1 to {longest} characters.", code="text")
    # A terminal would obey an escape sequence, and some characters show text in another order than it is read.
    if not text.replace("\n", "").isprintable():
        raise Invalid("An announcement has no characters that do not show, such as control characters.", code="text")
    if ends_at is not None and ends_at <= max(timezone.now(), starts_at or timezone.now()):
        raise Invalid("The end is over already, or before the start.", code="ends_at")
    if not (on_pages or in_publish_warnings):
        raise Invalid("Show it on pages, to those who publish, or both.", code="on_pages")
    return Announcement(
        text=text,
        level=level,
        starts_at=starts_at or timezone.now(),
        ends_at=ends_at,
        on_pages=on_pages,
        in_publish_warnings=in_publish_warnings,
    )


def announce(announcement: Announcement, *, actor: AbstractBaseUser | None) -> Announcement:
    """Store a new announcement; raises `Conflict` if there are too many."""
    with transaction.atomic():
        if Announcement.objects.pending().count() >= MAX_PENDING:
            raise Conflict(f"There are {MAX_PENDING} announcements already; withdraw one first.", code="text")
        announcement.created_by = actor  # type: ignore[assignment]  # a user of this registry
        announcement.save()
        ends_at = announcement.ends_at and announcement.ends_at.isoformat()
        audit.record(
            actor,
            audit.Action.ANNOUNCEMENT_ADD,
            announcement,
            text=announcement.text,
            level=announcement.level,
            starts_at=announcement.starts_at.isoformat(),
            ends_at=ends_at or "",
            on_pages=announcement.on_pages,
            in_publish_warnings=announcement.in_publish_warnings,
        )
        transaction.on_commit(current.forget)
    return announcement


def withdraw(announcement: Announcement, *, actor: AbstractBaseUser | None) -> bool:
    """Show an announcement no longer; return False if it was withdrawn before."""
    with transaction.atomic():
        rows = Announcement.objects.filter(pk=announcement.pk, withdrawn_at=None)
        is_withdrawn = bool(rows.update(withdrawn_at=timezone.now()))
        if is_withdrawn:
            audit.record(actor, audit.Action.ANNOUNCEMENT_WITHDRAW, announcement)
        transaction.on_commit(current.forget)
    return is_withdrawn
