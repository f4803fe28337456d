"""Search for crates by the words of names, descriptions, keywords, categories and READMEs, best matches first."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.dispatch import receiver

from crates import names
from crates.models import Crate, CrateDownloads, CrateWords, PopularWords, Version, VersionContents
from registry_site.compiled_queries import compiled
from registry_site.errors import Invalid
from registry_site.row_writes import insert, update
from registry_site.search import spelling
from registry_site.search.lookup import RenderedQuery, WordQuery, all_of
from registry_site.search.words import tokenize, tokenize_query
from registry_site.signals import purge_requested

MAX_QUERY_LENGTH = 200
MAX_WORDS = 10
MAX_MATCHES = 100  # of the words of names, of summaries and of texts each: what one search reads stays bounded
# A word of so many letters may be the beginning of a longer one. In READMEs whole words count: of beginnings the index
# would read all matches before it could return the first.
COLUMNS = {"name_words": 2, "summary_words": 2, "text_words": 0}
POPULAR_CRATES = 1000

MAX_README = 64 * 1024  # characters that are searched
MAX_TEXT_WORDS = 3000  # of a crate; each one is an entry of the index, written while other writers wait
COPIED = ("version", *COLUMNS)
BATCH_SIZE = 100
URL = re.compile(r"\b\w{1,32}://\S+")  # looked for at the beginnings of words alone: a word can be as long as a README


@dataclass(frozen=True)
class Match:
    """A match of a search: a lower rank is a better one; the name has no separators."""

    rank: int
    name: str


# --- The words of a crate --------------------------------------------------------------------------------------------


def update_words(crate: Crate, new: dict[str, Any] | None = None, *, is_new: bool = False) -> None:
    """Store the words of a locked crate, in the transaction that changes its versions; delete them if all are yanked.

    `new` are the words of a version whose texts are new. If it is not the default one, or if there are none, nothing is
    written while the default version stays the same. `is_new` tells that the crate has no words yet.
    """
    version = crate.default_version if crate.max_version_id else None
    if version is None:
        CrateWords.objects.filter(crate=crate).delete()
        PopularWords.objects.filter(crate=crate).delete()
        return
    fields = new if new is not None and new["version"] == version else None
    if fields is None and CrateWords.objects.filter(crate=crate, version=version).exists():
        return
    words = CrateWords(crate=crate, **(fields or stored_words_of(crate)))
    if is_new or not update(words, [*COPIED, "spelling"], key="crate"):
        insert(words)
    copy = PopularWords(crate=crate, **{column: getattr(words, column) for column in COPIED})
    # The first crates count as popular until a purge compares them by their downloads: without a purge, too, common
    # words are found without reading all their matches.
    if (is_new or not update(copy, COPIED, key="crate")) and crate.pk <= POPULAR_CRATES:
        insert(copy)


@receiver(purge_requested)
def update_popular_words(**kwargs: Any) -> str:
    """Let `PopularWords` have the crates with the most downloads."""
    most = CrateDownloads.objects.exclude(crate__words=None).order_by("-total", "crate")
    keys = set(most.values_list("pk", flat=True)[:POPULAR_CRATES])
    former = set(PopularWords.objects.values_list("crate_id", flat=True))
    for some in batched(sorted(former - keys)):
        PopularWords.objects.filter(crate__in=some).delete()
    for some in batched(sorted(keys - former)):
        with transaction.atomic():
            # A publish in between would change the words that are copied.
            list(Crate.objects.filter(pk__in=some).order_by("pk").for_update().values_list("pk", flat=True))
            rows = CrateWords.objects.filter(crate__in=some).values("crate_id", "version_id", *COLUMNS)
            PopularWords.objects.bulk_create([PopularWords(**row) for row in rows], ignore_conflicts=True)
    return f"Search prefers the {len(keys)} most downloaded crates; {len(keys - former)} are new among them."


def batched(keys: list[int]) -> Iterator[list[int]]:
    return (keys[start : start + BATCH_SIZE] for start in range(0, len(keys), BATCH_SIZE))


def words_of(name: str, version: Version, readme: str) -> dict[str, Any]:
    """Return the columns of `CrateWords` for a version of the crate of this name. Long texts take milliseconds."""
    name_words = [spelling.joined(name), *tokenize(name)]
    summary = tokenize(" ".join([name, version.description, *version.keywords, *version.categories]))
    text = dict.fromkeys([*summary, *tokenize(without_urls(readme[:MAX_README]))])
    return {
        "version": version,
        "name_words": " ".join(dict.fromkeys(name_words)),
        "summary_words": " ".join(summary[:MAX_TEXT_WORDS]),
        "text_words": " ".join(list(text)[:MAX_TEXT_WORDS]),
        "spelling": " ".join(spelling.spelling_words(name)),
    }


def stored_words_of(crate: Crate) -> dict[str, Any]:
    """Return the columns of `CrateWords` for the default version of a crate that has one."""
    version = cast(Version, crate.default_version)
    readme = VersionContents.objects.filter(version=version).values_list(Left("readme_text", MAX_README)).first()
    return words_of(crate.name, version, readme[0] if readme else "")


def without_urls(text: str) -> str:
    return "\n".join(URL.sub(" ", line) if "://" in line else line for line in text.split("\n"))


# --- Search ----------------------------------------------------------------------------------------------------------


def matching(text: str) -> list[int]:
    """Return the primary keys of usable crates that have all words of `text`; the best first.

    The order: the name itself, names that begin so, names with all words, then matches in the summary and in the
    README; among equals by downloads and name. If nothing matches, names that are spelt one or two letters off.
    There are at most some hundreds. Raises `Invalid` for a text that is too long.
    """
    phrase = text.split()
    if len(text) > MAX_QUERY_LENGTH or len(phrase) > MAX_WORDS:
        raise Invalid(f"Search for at most {MAX_WORDS} words and {MAX_QUERY_LENGTH} characters.")
    words = tokenize_query(text)
    if not words:
        return []
    name = spelling.joined(text)
    matches = {pk: Match(0, name) for pk in crates_with_name(names.canonical("_".join(phrase)))}
    for rank, (column, beginnings_from) in enumerate(COLUMNS.items(), start=2):
        rows = joined_names(column, all_of(words, limit=MAX_MATCHES, beginnings_from=beginnings_from))
        matches = {pk: Match(1 if other.startswith(name) else rank, other) for pk, other in rows.items()} | matches
        if len(rows) == MAX_MATCHES:  # worse matches would not be seen
            break
    if not matches:
        close = spelling.closest(name, names_of_spelling)
        matches = {pk: Match(edits, other) for pk, (edits, other) in close.items()}
    downloads = dict(totals_of(matches))
    return sorted(matches, key=lambda pk: (matches[pk].rank, -downloads.get(pk, 0), matches[pk].name))


@compiled
def crates_with_name(canonical_name: str) -> QuerySet[CrateWords, int]:
    """Select the usable crate of a name."""
    return CrateWords.objects.filter(crate__canonical_name=canonical_name).values_list("crate_id", flat=True)


@compiled
def totals_of(crates: Collection[int]) -> QuerySet[CrateDownloads, tuple[int, int]]:
    return CrateDownloads.objects.filter(pk__in=crates).values_list("pk", "total")


def joined_names(column: str, query: WordQuery) -> dict[int, str]:
    """Return the names without separators of crates whose words match, by primary key; popular crates come first."""
    rows = rows_by_column[column](query.text(connection.vendor))
    return dict(islice(first_words(rows).items(), query.limit))


def popular_first(column: str) -> Callable[[str], list[tuple[int, str]]]:
    """Return the query for popular crates and then all whose words match in a column."""

    @compiled
    def rows(text: str) -> QuerySet[Any, tuple[int, str]]:
        query = RenderedQuery(text, MAX_MATCHES)
        popular, all_crates = (rows_with(model, column, query) for model in (PopularWords, CrateWords))
        # PostgreSQL does not begin with all crates if the popular ones are enough; it would read all matches in the
        # index. A crate can come twice.
        return popular.union(all_crates, all=True)[: 2 * MAX_MATCHES]

    return rows


rows_by_column = {column: popular_first(column) for column in COLUMNS}


def names_of_spelling(query: WordQuery) -> dict[int, str]:
    """Return the names without separators of crates whose spelling matches, by primary key."""
    return first_words(rows_with(CrateWords, "spelling", query)[: query.limit])


def rows_with(
    model: type[CrateWords | PopularWords], column: str, query: WordQuery | RenderedQuery
) -> QuerySet[Any, tuple[int, str]]:
    rows = model._default_manager.filter(**{f"{column}__matches": query})
    return rows.order_by().values_list("crate_id", "name_words")


def first_words(rows: Iterable[tuple[int, str]]) -> dict[int, str]:
    return {pk: text.partition(" ")[0] for pk, text in rows}
