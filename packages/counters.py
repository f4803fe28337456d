"""How many packages everybody may read."""

from packages.models import Package
from registry_site.counters import Counter


def count_listed() -> int:
    return Package.objects.listed().count()


listed_packages = Counter("listed packages", count_listed)
