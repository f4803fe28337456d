"""Finding packages: words of a text, the same for every database, in an index that the database keeps.

PostgreSQL has a GIN index over the words, SQLite an FTS5 table that its triggers fill; both know beginnings of words.
Chinese and its like have no blanks between words, so each pair of neighbouring characters counts as one.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from django.db.models import Lookup, QuerySet, TextField
from django.dispatch import receiver

from namespaces.models import Namespace
from namespaces.signals import namespace_hidden
from packages import names
from packages.models import Package, Type

LONGEST_QUERY = 200
MOST_WORDS = 12
LONGEST_WORD = 63  # characters; what follows tells nothing more
MOST_BY_NAME = 200
MOST_FOUND = 500
BATCH = 500

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3105-\u312f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def tokenize(text: str) -> list[str]:
    """What a text is found by, in its order and each once; all in lower case."""
    folded = unicodedata.normalize("NFKC", text)
    spaced = _UNSPACED.sub(lambda run: f" {' '.join(_grams(run[0]))} ", folded)
    whole, parts = _WORD.findall(spaced), _WORD.findall(_CAMEL.sub(" ", spaced))
    return _distinct((*whole, *parts))


def tokenize_query(query: str) -> list[str]:
    """The words of a query: of a run of characters without blanks only its pairs, which are the more telling."""
    folded = unicodedata.normalize("NFKC", query)
    spaced = _UNSPACED.sub(lambda run: f" {' '.join(_pairs(run[0]) or run[0])} ", folded)
    return _distinct(_WORD.findall(spaced))[:MOST_WORDS]


def update_search_fields(package: Package) -> None:
    """What the row of a package has to say to the index; nothing while it is not to be found."""
    newest = package.newest
    if package.type != Type.PUBLIC or package.removed_at or package.namespace.removed_at or newest is None:
        package.search_name = package.search_text = ""
        return
    package.search_name = " ".join(tokenize(f"{package.namespace.name} {package.name}"))
    everything = [package.namespace.name, package.name, package.field, newest.description, *newest.keywords]
    package.search_text = " ".join(tokenize(" ".join(everything)))


@receiver(namespace_hidden)
def update_packages_of_namespace(sender: type[Namespace], namespace: Namespace, **kwargs: Any) -> None:
    """What is in a removed namespace is not to be found, and must not stand in the way of what is."""
    packages = Package.objects.filter(namespace=namespace)
    if namespace.removed_at is not None:
        packages.update(search_name="", search_text="")
        return
    present = packages.filter(removed_at=None).select_related("newest").iterator(BATCH)
    while batch := list(islice(present, BATCH)):
        for package in batch:
            package.namespace = namespace
            update_search_fields(package)
        Package.objects.bulk_update(batch, ["search_name", "search_text"])


def search_packages(query: str) -> "Sequence[int] | QuerySet[Package, int]":
    """Primary keys of the public packages that have all the words of the query or words that begin so.

    The best first: a name that is the query, one that begins so, one that has all the words, and the rest; of the
    equally good ones in the order of their names. No more than MOST_FOUND are found; an empty query is no search and
    lists all by name.
    """
    public = Package.objects.present().filter(type=Type.PUBLIC)
    if not query.strip():
        return public.order_by("canonical_name", "pk").values_list("pk", flat=True)
    terms = tokenize_query(query)
    if not terms:
        return []
    named = _rows(public.filter(search_name__has_words=terms), MOST_BY_NAME)
    found = {**_rows(public.filter(search_text__has_words=terms), MOST_FOUND), **named}
    wanted = query.strip().lower()
    namespace, _, name = wanted.rpartition("/")
    exact = public.named(namespace, name) if namespace else public.filter(canonical_name=names.canonical(name))
    found |= _rows(exact, MOST_BY_NAME)
    ranked = sorted(found, key=lambda pk: (_distance(wanted, found[pk], pk in named), found[pk]))
    return ranked[:MOST_FOUND]


def _rows(packages: Any, limit: int) -> dict[int, tuple[str, str]]:
    """By primary key, the names of the package and of its namespace."""
    rows = packages.values_list("pk", "canonical_name", "namespace__reservation__name").order_by()[:limit]
    return {pk: (name, namespace) for pk, name, namespace in rows}


def _distance(wanted: str, row: tuple[str, str], is_named: bool) -> int:
    name, namespace = row
    if wanted in (name, f"{namespace}/{name}"):
        return 0
    if name.startswith(wanted):
        return 1
    return 2 if is_named else 3


def _distinct(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word.casefold()[:LONGEST_WORD] for word in found))


def _grams(run: str) -> list[str]:
    return [*run, *_pairs(run)]


def _pairs(run: str) -> list[str]:
    return [run[place : place + 2] for place in range(len(run) - 1)]


@TextField.register_lookup
class HasWords(Lookup):
    """`search_text__has_words=[…]`: the column, a text of words, has a word that begins with each of these."""

    lookup_name = "has_words"
    prepare_rhs = False

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str, ...]]:
        column, _ = self.process_lhs(compiler, connection)
        # Behind a SELECT the planner cannot see the words: for common ones it would rather read the whole table.
        query = " & ".join(f"'{word}':*" for word in self.rhs)  # words have letters and digits only
        return f"array_to_tsvector(string_to_array({column}, ' ')) @@ (SELECT %s::tsquery)", (query,)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        table = self.lhs.alias
        query = " ".join(f'"{word}"*' for word in self.rhs)
        found = "SELECT rowid FROM packages_words WHERE packages_words MATCH %s LIMIT %s"
        return f'"{table}"."id" IN ({found})', (f"{{{self.lhs.target.column}}} : ({query})", MOST_FOUND)
