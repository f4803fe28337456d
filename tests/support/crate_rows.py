"""Rows of many crates, as publishes would write them; for search, which needs no `.crate` files."""

from collections.abc import Iterable
from typing import NamedTuple

from accounts.models import User
from crates import names, search
from crates.models import Crate, CrateDownloads, CrateWords, Version, VersionContents


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
