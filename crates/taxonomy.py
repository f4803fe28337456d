"""Keywords and categories as rows. Those of a crate are those of its default version; each row counts its crates."""

from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.db.models import F, QuerySet

from crates.models import Category, Crate, Keyword, Version


def assign(crate: Crate, former: Version | None, version: Version | None) -> None:
    """Give a locked crate the keywords and categories of its new default version instead of the former one's.

    In the transaction that makes it the default one.
    """
    _replace(crate.keywords, "word", _words(former), {word: Keyword(word=word) for word in _words(version)})
    slugs = {slug: Category(slug=slug, name=category_name(slug)) for slug in _slugs(version)}
    _replace(crate.categories, "slug", _slugs(former), slugs)


def normal_word(word: str) -> str:
    """Return the form in which a keyword is unique."""
    return word.strip().lower()


def category_name(slug: str) -> str:
    """Return the name of a category for people: `development-tools::testing` → `Development tools::Testing`."""
    return "::".join(part.replace("-", " ").capitalize() for part in slug.split("::"))


def _words(version: Version | None) -> set[str]:
    return {normal_word(word) for word in version.keywords} - {""} if version else set()


def _slugs(version: Version | None) -> set[str]:
    return {slug.lower() for slug in version.categories} if version else set()


def _replace(relation: Any, key: str, former_keys: set[str], rows: dict[str, Any]) -> None:
    """Let the `relation` of a crate lead to the rows with these keys, which are created where there are none yet."""
    if rows.keys() == former_keys:  # as for most versions of a crate
        return
    table = relation.model.objects
    former = set(relation.order_by().values_list("pk", flat=True)) if former_keys else set()
    chosen = _get_or_create(table, key, rows) if rows else set()
    if connection.features.has_select_for_update:
        # Publishes of other crates count the same rows. All lock them in this order, so that none waits for another
        # that waits for it; and the keys of rows never change, so that others may refer to them meanwhile.
        while not _lock(table.filter(pk__in=former ^ chosen)) >= chosen - former:  # `forget` has deleted a word since
            chosen = _get_or_create(table, key, rows)
    if added := chosen - former:
        table.filter(pk__in=added).update(crate_count=F("crate_count") + 1)
        relation.add(*added)
    if removed := former - chosen:
        table.filter(pk__in=removed, crate_count__gt=0).update(crate_count=F("crate_count") - 1)
        relation.remove(*removed)


def forget(versions: Iterable[Version]) -> None:
    """Delete the words of destroyed versions that no crate has any more, in the transaction that destroys them."""
    for table, key, words_of in ((Keyword.objects, "word", _words), (Category.objects, "slug", _slugs)):
        words = {word for version in versions for word in words_of(version)}
        unused = table.filter(**{f"{key}__in": words}, crate_count=0)
        table.filter(pk__in=_lock(unused), crate_count=0).delete()


def _lock(rows: QuerySet[Any]) -> set[int]:
    """Lock rows in the order of their keys, and return these."""
    return set(rows.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))


def _get_or_create(table: Any, key: str, rows: dict[str, Any]) -> set[int]:
    """Return the primary keys of the rows with these keys."""
    selected = table.filter(**{f"{key}__in": rows}).order_by().values_list(key, "pk")
    present = dict(selected)
    if missing := sorted(rows.keys() - present.keys()):
        # Another publish may insert the same; both go by the order of the keys, so that none waits for a waiting one.
        table.bulk_create([rows[value] for value in missing], ignore_conflicts=True)
        present = dict(selected.all())
    return set(present.values())
