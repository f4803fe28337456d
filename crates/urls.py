"""URLs of the registry for cargo, and of the mirror."""

from django.conf import settings
from django.urls import URLPattern, path, register_converter
from django.urls.converters import StringConverter

from crates.api import cargo, crates, me, mirror_crates, site, taxonomy, users
from crates.api.index import Index
from crates.api.mirror import Mirror
from crates.mirror.presentation import MirroredCrate
from crates.pages import crate as crate_pages
from crates.pages import feeds, index_paths, lists, owners, people
from crates.pages.diff import ChooseVersions, Diff
from crates.pages.source import Source
from crates.presentation import OwnCrate, PresentedCrate
from registry_site.http.negotiation import by_accept, page_first
from registry_site.http.url_groups import grouped


class VersionConverter(StringConverter):
    """Versions begin with a digit, so that no word such as `owners` is taken for one."""

    regex = "[0-9][^/]*"


class WordConverter(StringConverter):
    """Keywords and slugs can have a slash, but not at the end, where people's paths are forgiven one."""

    regex = ".*[^/]"


register_converter(VersionConverter, "version")
register_converter(WordConverter, "word")


def pages_beneath(root: str, name: str, kind: type[PresentedCrate]) -> list[URLPattern]:
    """Return the pages beneath that of a crate, and those of its versions."""
    crate, version = f"{root}/<str:name>", f"{root}/<str:name>/<version:number>"
    views = crate_pages
    return [
        path(f"{crate}/versions", views.Versions.as_view(kind=kind), name=f"{name}-versions"),
        path(f"{crate}/dependencies", views.Dependencies.as_view(kind=kind), name=f"{name}-dependencies"),
        path(f"{crate}/dependents", views.Dependents.as_view(kind=kind), name=f"{name}-dependents"),
        path(f"{crate}/feed.atom", feeds.Feed.as_view(kind=kind), name=f"{name}-feed"),
        path(f"{crate}/diff", ChooseVersions.as_view(kind=kind), name=f"{name}-diff"),
        path(f"{crate}/diff/<version:start>...<version:number>", Diff.as_view(kind=kind), name=f"{name}-diff-page"),
        path(f"{crate}/source", Source.as_view(kind=kind), name=f"{name}-source"),
        path(f"{crate}/source/<path:path>", Source.as_view(kind=kind), name=f"{name}-source-file"),
        path(f"{version}/source", Source.as_view(kind=kind), name=f"{name}-version-source"),
        path(f"{version}/source/<path:path>", Source.as_view(kind=kind), name=f"{name}-version-source-file"),
        path(f"{crate}.md", views.Markdown.as_view(kind=kind), name=f"{name}-markdown"),
        path(f"{version}.md", views.Markdown.as_view(kind=kind), name=f"{name}-version-markdown"),
        path(f"{version}/dependencies", views.Dependencies.as_view(kind=kind), name=f"{name}-version-dependencies"),
    ]


MIRROR = [
    *pages_beneath("mirror/crates", "mirrored-crate", MirroredCrate),
    path("mirror/index/config.json", Mirror.as_view({"get": "config"})),
    path(
        "mirror/index/<path:path>",
        by_accept(page=index_paths.from_mirror_index, api=Mirror.as_view({"get": "entry"})),
    ),
    path(
        "mirror/crates/<str:name>",
        by_accept(
            page=crate_pages.Readme.as_view(kind=MirroredCrate),
            api=Mirror.as_view({"get": "crate"}),
            markdown=crate_pages.Markdown.as_view(kind=MirroredCrate),
        ),
        name="mirrored-crate",
    ),
    path("ktra/api/v1/mirror/<str:crate>/<str:version>/download", Mirror.as_view({"get": "download"})),
    # crates.io's API, for mirrored crates
    path("mirror/api/v1/crates", mirror_crates.MirrorCrates.as_view({"get": "search"})),
    path("mirror/api/v1/crates/new", mirror_crates.MirrorPublish.as_view({"put": "publish"})),
    path(
        "mirror/api/v1/crates/<str:name>",
        mirror_crates.MirrorCrate.as_view({"get": "retrieve", "delete": "remove"}),
    ),
    path("mirror/api/v1/crates/<str:name>/downloads", mirror_crates.MirrorCrate.as_view({"get": "downloads"})),
    path(
        "mirror/api/v1/crates/<str:name>/reverse_dependencies",
        mirror_crates.MirrorCrate.as_view({"get": "reverse_dependencies"}),
    ),
    path("mirror/api/v1/crates/<str:name>/versions", mirror_crates.MirrorCrate.as_view({"get": "versions"})),
    path(
        "mirror/api/v1/crates/<str:name>/owners",
        mirror_crates.MirrorOwners.as_view({"get": "owners", "put": "add", "delete": "remove"}),
    ),
    path("mirror/api/v1/crates/<str:name>/owner_user", mirror_crates.MirrorOwners.as_view({"get": "owner_user"})),
    path("mirror/api/v1/crates/<str:name>/owner_team", mirror_crates.MirrorOwners.as_view({"get": "owner_team"})),
    path(
        "mirror/api/v1/crates/<str:name>/<version:number>",
        mirror_crates.MirrorVersion.as_view({"get": "retrieve", "patch": "update"}),
    ),
    *(
        path(
            f"mirror/api/v1/crates/<str:name>/<version:number>/{action}",
            mirror_crates.MirrorVersion.as_view({method: action}),
        )
        for method, action in (
            ("get", "dependencies"),
            ("get", "authors"),
            ("get", "downloads"),
            ("get", "readme"),
            ("get", "download"),
            ("delete", "yank"),
            ("put", "unyank"),
        )
    ),
    path("mirror/crates/<str:name>/<version:number>/readme", mirror_crates.MirrorReadmes.as_view({"get": "retrieve"})),
    path(
        "mirror/crates/<str:name>/<version:number>",
        page_first(
            page=crate_pages.Readme.as_view(kind=MirroredCrate),
            markdown=crate_pages.Markdown.as_view(kind=MirroredCrate),
            api=mirror_crates.MirrorVersion.as_view({"get": "retrieve"}),
        ),
        name="mirrored-crate-version",
    ),
]

# cargo before 1.96 takes the index `X.git` for the index `X`, and sends it the token for that (CVE-2026-5222).
BESIDE_THE_INDEX = [path("index.git/<path:path>", Index.as_view({"get": "retrieve"}))]

# Not served, but their paths stay reserved and in their dialect: see registry_site.http.url_map.
switched_off = [*BESIDE_THE_INDEX, *([] if settings.MIRROR else MIRROR)]

ROUTES = [
    # The Cargo Book: Registry Web API
    path("api/v1/crates", crates.Crates.as_view({"get": "search"})),
    path("api/v1/crates/new", cargo.Publish.as_view({"put": "publish"})),
    path("api/v1/crates/<str:name>/<str:number>/yank", cargo.Versions.as_view({"delete": "yank"})),
    path("api/v1/crates/<str:name>/<str:number>/unyank", cargo.Versions.as_view({"put": "unyank"})),
    path(
        "api/v1/crates/<str:name>/owners",
        cargo.CrateOwners.as_view({"get": "owners", "put": "add", "delete": "remove"}),
    ),
    # crates.io's read API
    path("api/v1/crates/<str:name>", crates.Crate.as_view({"get": "retrieve", "delete": "remove"})),
    path("api/v1/crates/<str:name>/versions", crates.Crate.as_view({"get": "versions"})),
    path(
        "api/v1/crates/<str:name>/reverse_dependencies",
        crates.Crate.as_view({"get": "reverse_dependencies"}),
    ),
    path("api/v1/crates/<str:name>/downloads", crates.Crate.as_view({"get": "downloads"})),
    path("api/v1/crates/<str:name>/<version:number>", crates.Version.as_view({"get": "retrieve", "patch": "update"})),
    path(
        "api/v1/crates/<str:name>/<version:number>/dependencies",
        crates.VersionParts.as_view({"get": "dependencies"}),
    ),
    path("api/v1/crates/<str:name>/<version:number>/authors", crates.VersionParts.as_view({"get": "authors"})),
    path("api/v1/crates/<str:name>/<version:number>/readme", crates.VersionParts.as_view({"get": "readme"})),
    path("api/v1/crates/<str:name>/<version:number>/download", crates.VersionParts.as_view({"get": "download"})),
    path("api/v1/crates/<str:name>/<version:number>/downloads", crates.VersionParts.as_view({"get": "downloads"})),
    path("api/v1/crates/<str:name>/owner_user", users.OwnerLists.as_view({"get": "users"})),
    path("api/v1/crates/<str:name>/owner_team", users.OwnerLists.as_view({"get": "teams"})),
    path("api/v1/crates/<str:name>/follow", me.Follows.as_view({"put": "follow", "delete": "unfollow"})),
    path("api/v1/crates/<str:name>/following", me.Follows.as_view({"get": "retrieve"})),
    path("api/v1/users/<str:login>", users.Users.as_view({"get": "retrieve"})),
    path("api/v1/users/<int:user_id>/stats", users.Users.as_view({"get": "stats"})),
    path("api/v1/me", me.Me.as_view({"get": "retrieve"})),
    path("api/v1/me/updates", me.Me.as_view({"get": "updates"})),
    path("api/v1/me/tokens", me.Tokens.as_view({"get": "index", "put": "create"})),
    path("api/v1/me/tokens/<int:token_id>", me.Tokens.as_view({"delete": "revoke"})),
    path("api/v1/summary", site.Site.as_view({"get": "summary"})),
    path("api/v1/site_metadata", site.Site.as_view({"get": "metadata"})),
    path("api/v1/keywords", taxonomy.Keywords.as_view({"get": "index"})),
    path("api/v1/keywords/<path:word>", taxonomy.Keywords.as_view({"get": "retrieve"})),
    path("api/v1/categories", taxonomy.Categories.as_view({"get": "index"})),
    path("api/v1/categories/<str:slug>", taxonomy.Categories.as_view({"get": "retrieve"})),
    path("api/v1/category_slugs", taxonomy.Categories.as_view({"get": "slugs"})),
    path("dl/<str:name>/<version:number>/readme", crates.Readmes.as_view({"get": "retrieve"})),
    # The Cargo Book: Registry Index
    path("index/config.json", Index.as_view({"get": "config"})),
    path("index/<path:path>", by_accept(page=index_paths.from_index, api=Index.as_view({"get": "retrieve"}))),
    # Pages
    *pages_beneath("crates", "crate", OwnCrate),
    path(
        "crates/<str:name>",
        page_first(
            page=crate_pages.Readme.as_view(),
            markdown=crate_pages.Markdown.as_view(),
            api=crates.Crate.as_view({"get": "retrieve"}),
        ),
        name="crate",
    ),
    path(
        "crates/<str:name>/<version:number>",
        page_first(
            page=crate_pages.Readme.as_view(),
            markdown=crate_pages.Markdown.as_view(),
            api=crates.Version.as_view({"get": "retrieve"}),
        ),
        name="crate-version",
    ),
    path("crates/<str:name>/settings", owners.Settings.as_view(), name="crate-settings"),
    path("crates/<str:name>/<version:number>/yank", owners.Yank.as_view(), name="crate-version-yank"),
    path("crates/<str:name>/<version:number>/unyank", owners.Unyank.as_view(), name="crate-version-unyank"),
    path("badge/<str:name>.svg", feeds.badge, name="badge"),
    path("keywords", lists.keywords, name="keywords"),
    path("keywords/<word:word>", lists.keyword, name="keyword"),
    path("categories", lists.categories, name="categories"),
    path("categories/<word:slug>", lists.category, name="category"),
    path("people/<str:login>", people.person, name="person"),
    path("dl/<str:name>/<str:number>/download", cargo.Downloads.as_view({"get": "retrieve"})),
    *(MIRROR if settings.MIRROR else []),
]

urlpatterns = grouped(ROUTES)
