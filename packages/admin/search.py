"""Packages in the search of the admin site."""

from collections.abc import Iterator

from django.db.models import F, Value
from django.db.models.functions import Concat

from packages import names
from packages.models import Package, Release
from registry_site.admin.search import CHECKSUM, Rows, add
from registry_site.search.prefixes import begins


@add("packages.view_package")
def find_packages(text: str) -> Iterator[Rows]:
    packages = Package.objects.filter(begins("canonical_name", names.canonical(text)))
    yield Rows("Packages", packages, "name", "namespace__name", "canonical_name")


@add("packages.view_release")
def find_releases(text: str) -> Iterator[Rows]:
    if CHECKSUM.fullmatch(text.lower()):
        releases = Release.objects.filter(begins("sha256", text.lower()))
        full_name = Concat(F("package__name"), Value(" "), F("version"))
        yield Rows("Releases of a checksum", releases, full_name, "sha256", "sha256", has_list=False)
