"""What the page of a user in the admin site shows of crates: those that the user owns, and what was published."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Count, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from accounts.models import User
from crates.models import Crate, Ownership, Version
from registry_site.admin.object_pages import (
    MAX_ROWS,
    CountedFact,
    Link,
    Panel,
    add_fact,
    add_panel,
    link_to,
    list_url,
    object_url,
    panel_of,
)
from registry_site.templatetags import figures

COLUMNS = ("added_at", "added_by__username", "crate__name", "crate__version_count", "crate__updated_at")


def crate_panels(request: HttpRequest, user: User) -> Iterator[Panel]:
    ownerships = Ownership.objects.filter(user=user).select_related("crate", "added_by")
    yield panel_of(
        "Crates",
        {
            "Crate": lambda row: Link(row.crate.name, object_url(Crate, row.crate_id)),
            "Versions": lambda row: row.crate.version_count,
            "Last change": lambda row: row.crate.updated_at,
            "Owner since": lambda row: row.added_at,
            "Made owner by": lambda row: link_to(row.added_by),
            "Removed": lambda row: row.crate.removed_at,
        },
        ownerships.only(*COLUMNS, "crate__removed_at", "user_id").order_by("crate__canonical_name")[: MAX_ROWS + 1],
        more=Link("All ownerships", list_url(Ownership, q=user.username)),
    )


def stored_versions() -> dict[str, Any]:
    """Return the number of versions that a user has published, and the bytes of their files that are stored."""
    versions = Version.with_removed.filter(published_by=OuterRef("pk"), destroyed_at=None)
    published = versions.order_by().values("published_by")
    return {
        "version_number": Coalesce(Subquery(published.annotate(number=Count("pk")).values("number")), 0),
        "version_bytes": Coalesce(Subquery(published.annotate(bytes=Sum("size")).values("bytes")), 0),
    }


def show_versions(user: Any) -> str:
    return f"{figures.size(user.version_bytes)} in {figures.counted(user.version_number, 'version')} of crates"


add_panel(User, Ownership, crate_panels)
add_fact(User, CountedFact("Stored in crates", stored_versions, show_versions))
