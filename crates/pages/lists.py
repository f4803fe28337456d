"""Pages of keywords and categories, and of the crates that have one."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from crates import listing, section, taxonomy_lists
from crates.listing import CrateQuery
from registry_site import paging, visitors

CRATES_PER_PAGE = 30
WORDS_PER_PAGE = 100
SORTS = {"downloads": "Most downloaded", "recent-updates": "Latest", "new": "Newest", "alpha": "By name"}


@require_safe
def keywords(request: HttpRequest) -> HttpResponse:
    """`GET /keywords?sort=alpha&page=`"""
    visitors.require_reader(request)
    rows, total = taxonomy_lists.list_keywords(word_sort(request), paging.number_of(request), WORDS_PER_PAGE)
    return render(request, "crates/keywords.html", word_context(request, rows, total))


@require_safe
def categories(request: HttpRequest) -> HttpResponse:
    """`GET /categories?sort=alpha&page=`"""
    visitors.require_reader(request)
    rows, total = taxonomy_lists.list_categories(word_sort(request), paging.number_of(request), WORDS_PER_PAGE)
    return render(request, "crates/categories.html", word_context(request, rows, total))


@require_safe
def keyword(request: HttpRequest, word: str) -> HttpResponse:
    """`GET /keywords/{keyword}?sort=&page=`"""
    visitors.require_reader(request)
    row = taxonomy_lists.get_keyword(word)
    return render(request, "crates/keyword.html", {"keyword": row, **crate_context(request, keywords=[row.word])})


@require_safe
def category(request: HttpRequest, slug: str) -> HttpResponse:
    """`GET /categories/{slug}?sort=&page=`, with all that is beneath it"""
    visitors.require_reader(request)
    family = taxonomy_lists.describe_category(slug)
    return render(
        request, "crates/category.html", {"family": family, **crate_context(request, category=family.category.slug)}
    )


def word_sort(request: HttpRequest) -> str:
    return "alpha" if request.GET.get("sort") == "alpha" else "crates"


def word_context(request: HttpRequest, rows: list[Any], total: int) -> dict[str, Any]:
    number = paging.number_of(request)
    has_next = number * WORDS_PER_PAGE < total
    return {"rows": rows, "total": total, "sort": word_sort(request), **paging.ways(request, number, rows, has_next)}


def crate_context(request: HttpRequest, **filters: Any) -> dict[str, Any]:
    """Return a page of the crates that some filters of `CrateQuery` leave."""
    number = paging.number_of(request)
    sort = request.GET.get("sort", "")
    sort = sort if sort in SORTS else "downloads"
    page, keys = listing.page_of_keys(CrateQuery(sort=sort, page=number, per_page=CRATES_PER_PAGE, **filters))
    rows = section.entries(keys)
    crates = [rows[key] for key in keys if key in rows]
    ways = paging.ways(request, number, crates, page.next_page is not None)
    return {"crates": crates, "total": page.total, "sort": sort, "sorts": SORTS, **ways}
