"""Atom feeds and badges of crates: small files that other programs fetch again and again."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.feedgenerator import Atom1Feed
from django.views.decorators.http import require_safe

from crates import badges, names, ownership
from crates.pages import readers
from crates.pages.crate import CratePage
from crates.presentation import FEED_LENGTH, OwnCrate, PresentedCrate
from crates.records import VersionRecord
from registry_site.http.small_files import printable, unless_unchanged

BADGE_SECONDS = 60


class Feed(CratePage):
    """`GET /crates/{name}/feed.atom`: the latest versions"""

    def require_reader(self, request: HttpRequest) -> None:
        readers.require_reader(request)

    def respond(self, request: HttpRequest, crate: PresentedCrate) -> HttpResponse:
        text = feed_of(crate, crate.list_versions(1, FEED_LENGTH, by_date=True).versions)
        return unless_unchanged(request, text, "application/atom+xml; charset=utf-8")


def feed_of(crate: PresentedCrate, versions: Sequence[VersionRecord]) -> str:
    """Return the feed of some versions of a crate, which come with the latest first."""
    root = f"{settings.PUBLIC_URL}{crate.root}"
    feed = Atom1Feed(
        title=f"Versions of {crate.name}",
        link=root,
        feed_url=f"{root}/feed.atom",
        description=printable(crate.version.description),
        feed_guid=root,
    )
    for version in versions:
        feed.add_item(
            title=f"{version.crate} {version.num}{' (yanked)' if version.yanked else ''}",
            link=f"{root}/{version.num}",
            unique_id=f"{root}/{version.num}",
            description=printable(summary_of(version)),
            author_name=version.published_by.username if version.published_by else None,
            pubdate=version.created_at,
            updateddate=version.updated_at,
        )
    return feed.writeString("utf-8")


def summary_of(version: VersionRecord) -> str:
    return " ".join(map(str, version.states)) or f"Version {version.num} was published."


@require_safe
def badge(request: HttpRequest, name: str) -> HttpResponseBase:
    """`GET /badge/{name}.svg`: the version that describes a crate"""
    readers.require_reader(request)
    if not names.PATTERN.fullmatch(name) or len(name) > names.MAX_LENGTH:
        raise ownership.missing(name)
    svg: Any = cache.get_or_set(f"badge-{names.canonical(name)}", lambda: badge_of(name), BADGE_SECONDS)
    return unless_unchanged(request, svg, "image/svg+xml")


def badge_of(name: str) -> str:
    """Return the badge of a crate; raises as `OwnCrate.get`."""
    crate = OwnCrate.get(name)
    if crate.version.yanked:
        return badges.render("yanked", badges.GREY)
    return badges.render(f"v{crate.version.num}", badges.ORANGE if crate.is_prerelease else badges.BLUE)
