"""Crates, of this registry and of the mirror, in the search of the admin site."""

from collections.abc import Iterator

from django.db.models import F, Value
from django.db.models.functions import Concat

from crates import names
from crates.mirror.models import CANONICAL_NAME, CachedCrate, CachedIndexFile, Incident
from crates.models import Crate, Version
from registry_site.admin.search import CHECKSUM, Rows, add
from registry_site.search.prefixes import begins


@add("crates.view_crate")
def find_crates(text: str) -> Iterator[Rows]:
    crates = Crate.with_removed.filter(begins("canonical_name", names.canonical(text)))
    yield Rows("Crates", crates, "name", order="canonical_name")


@add("crates.view_version")
def find_versions(text: str) -> Iterator[Rows]:
    """Yield versions by checksum, or by `name@number`."""
    full_name = Concat(F("crate__name"), Value("@"), F("number"))
    if CHECKSUM.fullmatch(text.lower()):
        of_checksum = Version.with_removed.filter(begins("checksum", text.lower()))
        yield Rows("Versions of a checksum", of_checksum, full_name, "checksum", "checksum", has_list=False)
    name, at, number = text.partition("@")
    if at:
        versions = Version.with_removed.filter(crate__canonical_name=names.canonical(name))
        yield Rows("Versions", versions.filter(begins("number", number)), full_name, order="number", has_list=False)


@add("mirror.view_cachedindexfile")
def find_mirrored_crates(text: str) -> Iterator[Rows]:
    index_files = CachedIndexFile.objects.alias(canonical=CANONICAL_NAME)
    rows = index_files.filter(begins("canonical", names.canonical(text)))
    yield Rows("Mirrored crates", rows, "name", "upstream", "canonical")


@add("mirror.view_cachedcrate")
def find_stored_files(text: str) -> Iterator[Rows]:
    if CHECKSUM.fullmatch(text.lower()):
        crates = CachedCrate.objects.filter(begins("sha256", text.lower()))
        yield Rows(
            "Stored files of the mirror", crates, Concat(F("name"), Value("@"), F("version")), "sha256", "sha256"
        )


@add("mirror.view_incident")
def find_incidents(text: str) -> Iterator[Rows]:
    yield Rows("Incidents", Incident.objects.filter(begins("subject", text)), "subject", "detail")
