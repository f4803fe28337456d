"""Atom feeds of new versions."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.feedgenerator import Atom1Feed

from packages.pages.package import PackagePage
from packages.presentation import PresentedPackage
from registry_site.http.small_files import printable, unless_unchanged


class Feed(PackagePage):
    """`GET /namespaces/{namespace}/packages/{name}/feed.atom`: the latest versions"""

    def respond(self, request: HttpRequest, package: PresentedPackage) -> HttpResponse:
        return unless_unchanged(request, feed_of(package), "application/atom+xml; charset=utf-8")


def feed_of(package: PresentedPackage) -> str:
    root = f"{settings.PUBLIC_URL}{package.root}"
    feed = Atom1Feed(
        title=f"Versions of {package.row}",
        link=root,
        feed_url=f"{root}/feed.atom",
        description=printable(package.release.description),
        feed_guid=root,
    )
    for release in package.list_latest():
        address = f"{settings.PUBLIC_URL}{release.page_path}"
        feed.add_item(
            title=printable(str(release)),
            link=address,
            unique_id=address,
            description=printable(f"Version {release.version} was published as {release.get_status_display()}."),
            author_name=release.publisher.username,
            pubdate=release.published_at,
            updateddate=release.published_at,
        )
    return feed.writeString("utf-8")
