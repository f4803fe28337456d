"""Search over public packages, best matches first."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.dispatch import receiver

from accounts import names as account_names
from namespaces.models import Namespace
from namespaces.signals import namespace_visibility_changed
from packages import counters, names
from packages.models import LISTING_COLUMNS, SEARCH_COLUMNS, Package, Release, Type
from registry_site.compiled_queries import compiled
from registry_site.search import spelling
from registry_site.search.lookup import RenderedQuery, WordQuery, all_of
from registry_site.search.words import tokenize, tokenize_query

NAMES = ("name", "namespace__name", "newest__version")
MAX_QUERY = 300  # characters: a namespace and a name of the longest kind fit
MAX_NAME_MATCHES = 200
MAX_RESULTS = 500
BATCH_SIZE = 500


def update_listing(package: Package) -> None:
    """Set the columns of a package for lists and search, in the transaction that saves them."""
    counters.listed_packages.add(set_listing(package), package.pk)


def set_listing(package: Package) -> int:
    """Set the columns of a package for lists and search; return the change of the number of listed packages."""
    was_listed, newest = package.is_listed, package.newest
    package.is_listed = package.type == Type.PUBLIC and not (package.removed_at or package.namespace.removed_at)
    if not package.is_listed or newest is None:
        package.search_name = package.search_text = package.search_spelling = ""
        return package.is_listed - was_listed
    package.search_name = " ".join(tokenize(f"{package.namespace.name} {package.name}"))
    texts = [package.namespace.name, package.name, package.field, newest.description, *newest.keywords]
    package.search_text = " ".join(tokenize(" ".join(texts)))
    package.search_spelling = " ".join(spelling.spelling_words(package.name))
    return package.is_listed - was_listed


@receiver(namespace_visibility_changed)
def update_packages_of_namespace(sender: type[Namespace], namespace: Namespace, **kwargs: Any) -> None:
    """Take the packages of a removed namespace out of lists and search, or put those of a restored one back.

    Results are limited, so packages that nobody may read must not use up the limit.
    """
    # Locked, so that a change of a package comes first, or finds the namespace as it is now.
    packages = Package.objects.filter(namespace=namespace).order_by("pk").select_for_update(no_key=True, of=("self",))
    if namespace.removed_at is not None:
        listed = sum(packages.values_list("is_listed", flat=True).iterator(BATCH_SIZE))
        Package.objects.filter(namespace=namespace).update(is_listed=False, **dict.fromkeys(SEARCH_COLUMNS, ""))
        counters.listed_packages.add(-listed, namespace.pk)
        return
    unused = (f"newest__{column}" for column in Release.LARGE_COLUMNS)
    present = packages.filter(removed_at=None).select_related("newest").defer(*unused).iterator(BATCH_SIZE)
    added = 0
    while batch := list(islice(present, BATCH_SIZE)):
        for package in batch:
            package.namespace = namespace
            added += set_listing(package)
        Package.objects.bulk_update(batch, LISTING_COLUMNS)
    counters.listed_packages.add(added, namespace.pk)


def search_packages(query: str) -> list[int]:
    """Return primary keys of the listed packages that match all words of a query, by prefix; the best first.

    `rank` orders the results, then the name; there are at most `MAX_RESULTS`. If nothing matches, names that are spelt
    one or two letters off do. A query without words has no results.
    """
    listed = Package.objects.listed()
    words = tokenize_query(query)
    if not words:
        return []
    # Three queries, each with a limit and without an order: the index alone answers them, however common the words are.
    # Good matches must not fall victim to the limit of the last query, so they have queries of their own.
    wanted_name = names.canonical(query.strip())
    namespace, name = names.split_qualified(wanted_name)
    exact = rows_named(account_names.canonical(namespace), name) if namespace else rows_of_name(name)
    text = all_of(words, limit=MAX_RESULTS).text(connection.vendor)
    by_name, by_text = by_key(rows_by_name(text)), by_key(rows_by_text(text))
    rows = {**by_text, **by_name, **by_key(exact)}
    if not rows:
        return misspelt(listed, name)
    ranked = sorted(rows, key=lambda pk: (rank(wanted_name, *rows[pk], matches_name=pk in by_name), rows[pk]))
    return ranked[:MAX_RESULTS]


def matching_names(text: str, number: int) -> list[Package]:
    """Return the first public packages with all words of a text in their names and namespaces, with names alone."""
    words = tokenize_query(text)
    rows = Package.objects.listed().select_related("namespace", "newest").only(*NAMES).order_by()
    return list(rows.filter(search_name__matches=all_of(words, limit=number))[:number]) if words else []


def misspelt(packages: QuerySet[Package], name: str) -> list[int]:
    """Return the primary keys of packages with a similar name, the most similar ones first."""

    def candidates(query: WordQuery) -> dict[int, str]:
        rows = packages.filter(search_spelling__matches=query).values_list("pk", "canonical_name")
        return {pk: spelling.joined(candidate) for pk, candidate in rows.order_by()[: query.limit]}

    close = spelling.closest(spelling.joined(name), candidates)
    return sorted(close, key=lambda pk: (*close[pk], pk))


def rank(query: str, name: str, namespace: str, *, matches_name: bool) -> int:
    """Return 0 for the name itself, 1 for a prefix of it, 2 for all words in the names, and 3 for other matches."""
    if query in (name, f"{namespace}/{name}"):
        return 0
    if name.startswith(query):
        return 1
    return 2 if matches_name else 3


NameRow = tuple[int, str, str]  # primary key, and canonical names of package and namespace


def name_rows(packages: QuerySet[Package], limit: int) -> QuerySet[Package, NameRow]:
    return packages.values_list("pk", "canonical_name", "namespace__reservation__name").order_by()[:limit]


def by_key(rows: Iterable[NameRow]) -> dict[int, tuple[str, str]]:
    return {pk: (name, namespace) for pk, name, namespace in rows}


@compiled
def rows_named(namespace: str, name: str) -> QuerySet[Package, NameRow]:
    return name_rows(Package.objects.listed().named(namespace, name), MAX_NAME_MATCHES)


@compiled
def rows_of_name(name: str) -> QuerySet[Package, NameRow]:
    return name_rows(Package.objects.listed().filter(canonical_name=name), MAX_NAME_MATCHES)


@compiled
def rows_by_name(text: str) -> QuerySet[Package, NameRow]:
    query = RenderedQuery(text, MAX_NAME_MATCHES)
    return name_rows(Package.objects.listed().filter(search_name__matches=query), MAX_NAME_MATCHES)


@compiled
def rows_by_text(text: str) -> QuerySet[Package, NameRow]:
    query = RenderedQuery(text, MAX_RESULTS)
    return name_rows(Package.objects.listed().filter(search_text__matches=query), MAX_RESULTS)
