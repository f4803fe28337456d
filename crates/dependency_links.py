"""Ways from the dependencies of a crate to the pages of the crates that are needed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urlsplit

from django.conf import settings

from crates import names
from crates.mirror import shared_names
from crates.mirror.models import IndexSummary
from crates.models import Crate
from crates.package.dependencies import CRATES_IO
from crates.package.requirements import Requirement
from crates.records import DependencyRecord
from registry_site import semantic_versions
from registry_site.errors import Invalid


@dataclass(frozen=True)
class LinkedDependency:
    """A dependency, the address of its crate, and the newest version of that; empty if nobody knows them."""

    record: DependencyRecord
    url: str
    origin: str  # the other registry that has the crate
    newest: str
    is_outdated: bool  # the requirement does not admit the newest version


def link(records: Sequence[DependencyRecord]) -> list[LinkedDependency]:
    """Return dependencies with the ways to their crates, in two queries."""
    own = newest_of_own({record.crate_id for record in records if not record.registry})
    mirrored = newest_of_mirrored({record.crate_id for record in records if record.registry == CRATES_IO})
    return [link_of(record, own, mirrored) for record in records]


def link_of(record: DependencyRecord, own: dict[str, str], mirrored: dict[str, str]) -> LinkedDependency:
    canonical = names.canonical(record.crate_id)
    if not record.registry:
        url, origin, newest = f"/crates/{record.crate_id}", "", own.get(canonical, "")
    elif record.registry == CRATES_IO and canonical in mirrored:
        url, origin, newest = f"/mirror/crates/{record.crate_id}", "crates.io", mirrored[canonical]
    elif record.registry == CRATES_IO:
        url, origin, newest = f"https://crates.io/crates/{quote(record.crate_id, safe='')}", "crates.io", ""
    else:
        url, origin, newest = "", urlsplit(record.registry.removeprefix("sparse+")).hostname or "", ""
    return LinkedDependency(record, url, origin, newest, is_outdated(record.req, newest))


def newest_of_own(some: Collection[str]) -> dict[str, str]:
    """Return the versions that describe crates of this registry, by canonical name."""
    if not some:
        return {}
    rows = Crate.objects.filter(canonical_name__in={names.canonical(name) for name in some})
    return {name: number or "" for name, number in rows.values_list("canonical_name", "default_version__number")}


def newest_of_mirrored(some: Collection[str]) -> dict[str, str]:
    """Return the versions that describe crates of the mirror's stored index files, by canonical name."""
    if not some or not settings.MIRROR:
        return {}
    rows = IndexSummary.objects.filter(index_file__name__in={name.lower() for name in some}, index_file__status=200)
    return {names.canonical(name): number for name, number in rows.values_list("name", "default_version")}


def address_in_mirror(name: str) -> str:
    """Return the address of a crate of the mirror's stored index files; empty if none has this name."""
    is_served = any(newest_of_mirrored([name]).values()) and not shared_names.unserved_names([names.canonical(name)])
    return f"/mirror/crates/{quote(name, safe='')}" if is_served else ""


@lru_cache(maxsize=4096)  # a page has many dependents, and their requirements are few
def is_outdated(requirement: str, newest: str) -> bool:
    """Return whether a requirement does not admit the newest version of a crate; False if it cannot be read."""
    try:
        return bool(newest) and not Requirement.parse(requirement).matches(semantic_versions.parse(newest))
    except Invalid:
        return False
