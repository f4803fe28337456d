"""Rows of many crates, as publishes would write them; for search, which needs no `.crate` files."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.db.models import F

from accounts.models import User
from crates import dependency_rows, names, search, taxonomy
from crates.models import (
    Category,
    Crate,
    CrateDownloads,
    CrateWords,
    Dependency,
    Keyword,
    Ownership,
    Version,
    VersionContents,
    VersionDownloads,
)
from registry_site import counters


class Listing(NamedTuple):
    """A crate of one version to create."""

    name: str
    description: str = ""
    keywords: tuple[str, ...] = ()
    readme: str = ""
    downloads: int = 0
    recent_downloads: int = 0
    categories: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()


def create_crates(listings: Iterable[Listing], publisher: User) -> None:
    """Create crates with their versions, READMEs, words, keywords, categories and dependencies."""
    listings = list(listings)
    crates = Crate.objects.bulk_create(
        Crate(
            name=listing.name,
            canonical_name=names.canonical(listing.name),
            index_path=names.index_path(listing.name),
            version_count=1,
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
            categories=list(listing.categories),
            dependencies=[dependency_entry(name) for name in listing.dependencies],
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
        CrateDownloads(crate=crate, total=listing.downloads, recent=listing.recent_downloads)
        for crate, _, listing in rows
    )
    CrateWords.objects.bulk_create(
        (
            CrateWords(crate=crate, **search.words_of(crate.name, version, listing.readme))
            for crate, version, listing in rows
        ),
        batch_size=500,  # PostgreSQL writes hundreds of entries of indexes for each
    )
    Dependency.objects.bulk_create(
        dependency_rows.row(version, position, entry, is_current=True)
        for version in versions
        for position, entry in enumerate(version.dependencies)
    )
    relate(Crate.keywords.through, Keyword, "word", [(crate, listing.keywords) for crate, _, listing in rows])
    relate(Crate.categories.through, Category, "slug", [(crate, listing.categories) for crate, _, listing in rows])
    counters.recount_all()


def relate(table: Any, model: Any, key: str, values_of_crates: Sequence[tuple[Crate, Sequence[str]]]) -> None:
    """Lead from crates to keywords or categories, in the table between them, and count these crates."""
    counts = Counter(value for _, values in values_of_crates for value in values)
    names_of_categories = {value: {"name": taxonomy.category_name(value)} for value in counts if key == "slug"}
    model.objects.bulk_create(
        (model(**{key: value}, **names_of_categories.get(value, {})) for value in counts), ignore_conflicts=True
    )
    rows = {getattr(row, key): row for row in model.objects.filter(**{f"{key}__in": counts})}
    for value, count in counts.items():
        model.objects.filter(pk=rows[value].pk).update(crate_count=F("crate_count") + count)
    table.objects.bulk_create(
        table(crate=crate, **{model._meta.model_name: rows[value]})
        for crate, values in values_of_crates
        for value in values
    )


def dependency_entry(name: str) -> dict[str, Any]:
    """Return a dependency in the form of the index."""
    return {
        "name": name,
        "req": "^1",
        "features": ["std"],
        "optional": False,
        "default_features": True,
        "target": None,
        "kind": "normal",
        "registry": None,
        "package": None,
    }


def create_crate_of(count: int, publisher: User, name: str = "demo", dependencies: int = 2) -> Crate:
    """Create a crate with `count` versions, from 0.0.0 on, each with dependencies, downloads and some features."""
    crate = Crate.objects.create(
        name=name, canonical_name=names.canonical(name), index_path=names.index_path(name), version_count=count
    )
    Ownership.objects.create(crate=crate, user=publisher, added_by=publisher)
    entry = dependency_entry("other")
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
    counters.recount_all()
    return crate
