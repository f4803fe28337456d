"""Rows of many crates, as publishes would write them; for search, which needs no `.crate` files."""

from collections.abc import Iterable
from typing import NamedTuple

from accounts.models import User
from crates import dependency_rows, names, search
from crates.models import (
    Crate,
    CrateDownloads,
    CrateWords,
    Dependency,
    Ownership,
    Version,
    VersionContents,
    VersionDownloads,
)


class Listing(NamedTuple):
    """A crate of one version to create."""

    name: str
    description: str = ""
    keywords: tuple[str, ...] = ()
    readme: str = ""
    downloads: int = 0


def create_crates(listings: Iterable[Listing], publisher: User) -> None:
    """Create crates with their versions, READMEs and words."""
    listings = list(listings)
    crates = Crate.objects.bulk_create(
        Crate(
            name=listing.name, canonical_name=names.canonical(listing.name), index_path=names.index_path(listing.name)
        )
        for listing in listings
    )
    versions = Version.objects.bulk_create(
        Version(
            crate=crate,
            number="1.0.0",
            release="1.0.0",
            checksum="0" * 64,
            size=1,
            published_by=publisher,
            description=listing.description,
            keywords=list(listing.keywords),
        )
        for crate, listing in zip(crates, listings, strict=True)
    )
    for crate, version in zip(crates, versions, strict=True):
        crate.max_version = crate.default_version = crate.newest_version = version
    Crate.objects.bulk_update(crates, ["max_version", "default_version", "newest_version"], batch_size=500)
    rows = list(zip(crates, versions, listings, strict=True))
    VersionContents.objects.bulk_create(
        VersionContents(version=version, readme_text=listing.readme) for _, version, listing in rows
    )
    CrateDownloads.objects.bulk_create(
        CrateDownloads(crate=crate, total=listing.downloads) for crate, _, listing in rows
    )
    CrateWords.objects.bulk_create(
        CrateWords(crate=crate, version=version, **search.words_of(crate.name, version, listing.readme))
        for crate, version, listing in rows
    )


def create_crate_of(count: int, publisher: User, name: str = "demo", dependencies: int = 2) -> Crate:
    """Create a crate with `count` versions, from 0.0.0 on, each with dependencies, downloads and some features."""
    crate = Crate.objects.create(
        name=name, canonical_name=names.canonical(name), index_path=names.index_path(name), version_count=count
    )
    Ownership.objects.create(crate=crate, user=publisher, added_by=publisher)
    entry = {
        "name": "other",
        "req": "^1",
        "features": ["std"],
        "optional": False,
        "default_features": True,
        "target": None,
        "kind": "normal",
        "registry": None,
        "package": None,
    }
    versions = Version.objects.bulk_create(
        Version(
            crate=crate,
            number=f"{number // 100}.{number % 100}.0",
            release=f"{number // 100}.{number % 100}.0",
            checksum="0" * 64,
            size=1,
            published_by=publisher,
            description="A crate.",
            license="MIT",
            features={"default": ["std"], "std": []},
            dependencies=[entry] * dependencies,
            has_library=True,
            binary_names=["demo"],
            line_counts={"Rust": {"code_lines": 3, "comment_lines": 2, "files": 1}},
        )
        for number in range(count)
    )
    Dependency.objects.bulk_create(
        (
            dependency_rows.row(version, position, entry, is_current=version is versions[-1])
            for version in versions
            for position in range(dependencies)
        ),
        batch_size=500,
    )
    VersionDownloads.objects.bulk_create(VersionDownloads(version=version, total=2) for version in versions)
    CrateDownloads.objects.create(crate=crate, total=2 * count, recent=1)
    crate.max_version = crate.default_version = crate.newest_version = versions[-1]
    crate.save()
    return crate
