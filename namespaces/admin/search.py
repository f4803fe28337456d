"""Namespaces in the search of the admin site."""

from collections.abc import Iterator

from accounts import names
from namespaces.models import Namespace
from registry_site.admin.search import Rows, add
from registry_site.search.prefixes import begins


@add("namespaces.view_namespace")
def find_namespaces(text: str) -> Iterator[Rows]:
    namespaces = Namespace.objects.filter(begins("reservation__name", names.canonical(text)))
    yield Rows("Namespaces", namespaces, "name", order="reservation__name")
