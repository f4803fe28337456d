"""How many crates have a usable version, how many versions all crates have, and how often they were downloaded."""

from django.db.models import Sum

from crates.models import Crate, CrateDownloads, Version
from registry_site.counters import Counter


def count_usable() -> int:
    return Crate.with_removed.filter(max_version__isnull=False).count()


def count_versions() -> int:
    rows = Version.with_removed.order_by()
    return rows.count() - rows.exclude(removed_at=None).count()  # both in an index, instead of the rows


def sum_downloads() -> int:
    return CrateDownloads.objects.aggregate(sum=Sum("total"))["sum"] or 0


usable_crates = Counter("usable crates", count_usable)
versions = Counter("versions of crates", count_versions)
downloads = Counter("downloads of crates", sum_downloads)
