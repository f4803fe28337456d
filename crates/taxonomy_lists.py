"""Keywords and categories that crates have, as crates.io's read API lists them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from crates import taxonomy
from crates.models import Category, Keyword
from registry_site.errors import NotFound

MAX_CATEGORIES = 10_000  # in one answer
MAX_DEPTH = 32  # a slug has at most 64 characters


@dataclass(frozen=True)
class CategoryFamily:
    """A category, those directly beneath it, and those above it, the highest first."""

    category: Category
    subcategories: Sequence[Category]
    parent_categories: Sequence[Category]


def list_keywords(sort: str, page: int, per_page: int) -> tuple[list[Keyword], int]:
    """Return a page of keywords, by name or with the most crates first, and the number of all."""
    return page_of(Keyword.objects, "word", sort, page, per_page)


def list_categories(sort: str, page: int, per_page: int) -> tuple[list[Category], int]:
    """Return a page of categories, by name or with the most crates first, and the number of all."""
    return page_of(Category.objects, "slug", sort, page, per_page)


def page_of(rows: Any, column: str, sort: str, page: int, per_page: int) -> tuple[list[Any], int]:
    used = rows.exclude(crate_count=0)  # not `> 0`, for which a database could take the index of the counts
    order = ("-crate_count", column) if sort == "crates" else (column,)
    start = (page - 1) * per_page
    return list(used.order_by(*order)[start : start + per_page]), used.count()


def get_keyword(word: str) -> Keyword:
    """Return a keyword; raises `NotFound`."""
    keyword = Keyword.objects.filter(word=taxonomy.normal_word(word)).first()
    if keyword is None:
        raise NotFound(f"No crate here has had the keyword {word[:80]!r}.")
    return keyword


def describe_category(slug: str) -> CategoryFamily:
    """Return a category with those around it; raises `NotFound`."""
    slug = slug.lower()
    parts = slug.split("::")[: MAX_DEPTH + 1]
    above = ["::".join(parts[:length]) for length in range(1, len(parts))]
    is_beneath = Q(slug__startswith=f"{slug}::", crate_count__gt=0)
    rows = Category.objects.filter(Q(slug__in=[slug, *above]) | is_beneath).order_by("slug")[:MAX_CATEGORIES]
    categories = {category.slug: category for category in rows}
    if slug not in categories:
        raise NotFound(f"No crate here has had the category {slug[:80]!r}.")
    beneath = [row for row in categories.values() if row.slug.rpartition("::")[0] == slug]
    return CategoryFamily(categories[slug], beneath, [categories[parent] for parent in above if parent in categories])


def category_slugs() -> list[Category]:
    """Return all categories, by name."""
    return list(Category.objects.filter(crate_count__gt=0).only("slug", "description")[:MAX_CATEGORIES])
