"""crates.io's read API: keywords and categories."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from crates import taxonomy_lists
from crates.api import shapes
from crates.api.crates import ReadView
from crates.api.paging import PageQuery
from registry_site.http.api_docs import extend_schema


class SortedPageQuery(PageQuery):
    sort = serializers.ChoiceField(choices=["alpha", "crates"], default="alpha", allow_blank=True)


class Keywords(ReadView):
    @extend_schema(parameters=[SortedPageQuery], responses=shapes.KeywordListAnswer)
    def index(self, request: Request) -> Response:
        """`GET /api/v1/keywords`"""
        keywords, total = taxonomy_lists.list_keywords(**self.validated(SortedPageQuery, request.query_params))
        return Response(shapes.KeywordListAnswer.write({"keywords": keywords, "meta": {"total": total}}))

    @extend_schema(responses=shapes.KeywordAnswer)
    def retrieve(self, request: Request, word: str) -> Response:
        """`GET /api/v1/keywords/{keyword}`"""
        return Response(shapes.KeywordAnswer.write({"keyword": taxonomy_lists.get_keyword(word)}))


class Categories(ReadView):
    @extend_schema(parameters=[SortedPageQuery], responses=shapes.CategoryListAnswer)
    def index(self, request: Request) -> Response:
        """`GET /api/v1/categories`"""
        categories, total = taxonomy_lists.list_categories(**self.validated(SortedPageQuery, request.query_params))
        return Response(shapes.CategoryListAnswer.write({"categories": categories, "meta": {"total": total}}))

    @extend_schema(responses=shapes.CategoryAnswer)
    def retrieve(self, request: Request, slug: str) -> Response:
        """`GET /api/v1/categories/{slug}`"""
        return Response(shapes.CategoryAnswer.write({"category": taxonomy_lists.describe_category(slug)}))

    @extend_schema(responses=shapes.CategorySlugsAnswer)
    def slugs(self, request: Request) -> Response:
        """`GET /api/v1/category_slugs`"""
        return Response(shapes.CategorySlugsAnswer.write({"category_slugs": taxonomy_lists.category_slugs()}))
