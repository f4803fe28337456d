"""Descriptions of mirrored crates: the stored file that describes each, and its keywords and categories as rows."""

from collections.abc import Collection, Iterator, Mapping

import semver

from crates.mirror import resolving
from crates.mirror.models import CachedCrate, CrateFacts, IndexSummary, Topic


def update(names: Collection[str]) -> None:
    """Choose the files that describe some crates, in the transaction that stores or deletes facts or an index file.

    `names` are in lower case. On PostgreSQL the caller has locked the files before; nobody locks them after this.
    """
    rows = IndexSummary.objects.filter(index_file__name__in=names).select_related("index_file")
    columns = ("index_file__name", "default_version", "described_by", "lines")
    summaries = list(rows.only(*columns).order_by("pk").select_for_update(of=("self",), no_key=True))
    cached = CachedCrate.objects.filter(name__in=names).exclude(facts=None)
    keys = {(name, version, sha256): pk for name, version, sha256, pk in cached.values_list(*FILE, "pk")}
    changed = []
    for summary in summaries:
        chosen = choose_file(summary, keys)
        if summary.described_by_id != chosen:
            summary.described_by_id = chosen
            changed.append(summary)
    IndexSummary.objects.bulk_update(changed, ["described_by"])
    store_topics([summary for summary in summaries if summary.described_by_id or summary in changed])


FILE = ("name", "version", "sha256")


def choose_file(summary: IndexSummary, keys: Mapping[tuple[str, str, str], int]) -> int | None:
    """Return the file of the default version, or else of the highest stored one, out of `keys` by name and version."""
    name = summary.index_file.name
    stored = {line[0]: key for line in summary.lines if (key := keys.get((name, line[0], line[1])))}
    if summary.default_version in stored:
        return stored[summary.default_version]
    highest = max(stored, key=lambda version: (resolving.parse(version) or semver.Version(0), version), default="")
    return stored.get(highest)


def store_topics(summaries: Collection[IndexSummary]) -> None:
    """Store the keywords and categories of the files that describe some crates, whose rows are locked."""
    files = [summary.described_by_id for summary in summaries if summary.described_by_id]
    facts = CrateFacts.objects.only("keywords", "categories").in_bulk(files)
    chosen = {
        (summary.pk, kind, word)
        for summary in summaries
        if summary.described_by_id in facts
        for kind, word in topics_of(facts[summary.described_by_id])
    }
    rows = Topic.objects.filter(summary__in=summaries).values_list("summary_id", "kind", "word", "pk")
    present = {(summary, kind, word): pk for summary, kind, word, pk in rows}
    Topic.objects.filter(pk__in=[pk for topic, pk in present.items() if topic not in chosen]).delete()
    Topic.objects.bulk_create(
        Topic(summary_id=summary, kind=kind, word=word) for summary, kind, word in sorted(chosen - present.keys())
    )


def topics_of(facts: CrateFacts) -> Iterator[tuple[Topic.Kind, str]]:
    for word in facts.keywords:
        yield Topic.Kind.KEYWORD, word
    for slug in facts.categories:
        yield Topic.Kind.CATEGORY, slug
        parts = slug.split("::")
        for length in range(1, len(parts)):
            yield Topic.Kind.PARENT, "::".join(parts[:length])
