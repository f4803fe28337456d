"""The registry web API, as The Cargo Book has it under "Registry Web API", and the downloads."""

import re
from dataclasses import asdict

from django.http import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.authentication import CargoToken, Holder, Reader, principal
from crates import downloading, ownership, publishing
from crates import search as searching
from registry_site.dialects import Cargo, LengthRequired
from registry_site.parsers import RawParser


class Query(serializers.Serializer[None]):
    q = serializers.CharField(default="", allow_blank=True, max_length=searching.LONGEST_QUERY)
    page = serializers.IntegerField(default=1, min_value=1, max_value=1_000_000)
    per_page = serializers.IntegerField(default=10, min_value=1, max_value=2**31)


class Owners(serializers.Serializer[None]):
    users = serializers.ListField(child=serializers.CharField(max_length=255), max_length=ownership.MOST_AT_ONCE)


class CargoView(Cargo, ViewSet):
    authentication_classes = [CargoToken]
    permission_classes = [Holder]


class Publish(CargoView):
    parser_classes = [RawParser]

    def publish(self, request: Request) -> Response:
        """`PUT /api/v1/crates/new`"""
        length = re.fullmatch(r"[0-9]{1,39}", request.META.get("CONTENT_LENGTH", ""))
        if length is None:
            raise LengthRequired
        published = publishing.publish(principal(request), request._request, int(length[0]))
        warnings = {
            "invalid_categories": published.invalid_categories,
            "invalid_badges": [],
            "other": published.warnings,
        }
        return Response({"warnings": warnings})


class Versions(CargoView):
    def yank(self, request: Request, name: str, number: str) -> Response:
        """`DELETE /api/v1/crates/{crate_name}/{version}/yank`"""
        publishing.yank(principal(request), name, number)
        return Response({"ok": True})

    def unyank(self, request: Request, name: str, number: str) -> Response:
        """`PUT /api/v1/crates/{crate_name}/{version}/unyank`"""
        publishing.unyank(principal(request), name, number)
        return Response({"ok": True})


class CrateOwners(CargoView):
    def list(self, request: Request, name: str) -> Response:
        """`GET /api/v1/crates/{crate_name}/owners`"""
        users = [
            {"id": user.pk, "login": user.login, "name": user.username, "email": user.email or None}
            for user in ownership.owners(name)
        ]
        return Response({"users": users})

    def add(self, request: Request, name: str) -> Response:
        """`PUT /api/v1/crates/{crate_name}/owners`"""
        given = self.given(Owners, request.data)
        message = ownership.add(principal(request), name, given["users"])
        return Response({"ok": True, "msg": message})

    def remove(self, request: Request, name: str) -> Response:
        """`DELETE /api/v1/crates/{crate_name}/owners`"""
        given = self.given(Owners, request.data)
        ownership.remove(principal(request), name, given["users"])
        return Response({"ok": True, "msg": ""})


class Crates(CargoView):
    permission_classes = [Reader]

    def search(self, request: Request) -> Response:
        """`GET /api/v1/crates?q={query}&per_page={n}`"""
        given = self.given(Query, request.query_params)
        per_page = min(given["per_page"], 100)
        results = searching.search(given["q"], given["page"], per_page)
        return Response({"crates": [asdict(crate) for crate in results.crates], "meta": {"total": results.total}})


class Downloads(CargoView):
    permission_classes = [Reader]

    def retrieve(self, request: Request, name: str, number: str) -> HttpResponseBase:
        """`GET {dl}/{crate}/{version}/download`"""
        return downloading.download(request._request, name, number)
