"""The summary of the registry, as crates.io's front page has it."""

from collections.abc import Sequence
from dataclasses import dataclass

from crates import catalogue, counters, listing, taxonomy_lists
from crates.models import Category, Crate, Keyword
from crates.records import CrateRecord
from registry_site.counters import read

LENGTH = 10  # of each list
MAX_CHANGES = 200  # that are looked at for crates which are not new


@dataclass(frozen=True)
class Summary:
    """The numbers of crates and downloads, and the first of some lists."""

    num_crates: int
    num_downloads: int
    new_crates: Sequence[CrateRecord]
    just_updated: Sequence[CrateRecord]
    most_downloaded: Sequence[CrateRecord]
    most_recently_downloaded: Sequence[CrateRecord]
    popular_keywords: Sequence[Keyword]
    popular_categories: Sequence[Category]


def summarize() -> Summary:
    """Return the summary of all crates with a usable version."""
    changes = listing.first_keys("recent-updates", MAX_CHANGES)
    old = set(Crate.objects.filter(pk__in=changes, version_count__gt=1).values_list("pk", flat=True))
    keys = {
        "new_crates": listing.first_keys("new", LENGTH),
        "just_updated": [key for key in changes if key in old][:LENGTH],
        "most_downloaded": listing.first_keys("downloads", LENGTH),
        "most_recently_downloaded": listing.first_keys("recent-downloads", LENGTH),
    }
    numbers = read(counters.usable_crates, counters.downloads)
    records = catalogue.crate_records_of({key for some in keys.values() for key in some})
    return Summary(
        num_crates=numbers[counters.usable_crates],
        num_downloads=numbers[counters.downloads],
        popular_keywords=taxonomy_lists.list_keywords("crates", 1, LENGTH)[0],
        popular_categories=taxonomy_lists.list_categories("crates", 1, LENGTH)[0],
        **{name: [records[key] for key in some if key in records] for name, some in keys.items()},
    )
