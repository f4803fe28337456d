"""crates.io's API for mirrored crates, from what is stored. It changes nothing: each change is refused at once."""

from django.http import HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.authentication import CargoTokenAuthentication
from accounts.permissions import ReadAccess
from crates.mirror import catalogue
from registry_site.http.dialects import Cargo, CargoFailure

REFUSED = {403: CargoFailure}


class MirrorView(Cargo, ViewSet):
    authentication_classes = [CargoTokenAuthentication]
    permission_classes = [ReadAccess]


class MirrorPublish(MirrorView):
    @staticmethod
    def check_body_length(request: HttpRequest, length: int) -> None:
        """Let a body of any length come as far as its refusal, for nothing reads it."""

    @extend_schema(request={"application/octet-stream": OpenApiTypes.BINARY}, responses=REFUSED)
    def publish(self, request: Request) -> Response:
        """`PUT /mirror/api/v1/crates/new`"""
        catalogue.refuse_change()


class MirrorCrate(MirrorView):
    @extend_schema(request=None, responses=REFUSED)
    def remove(self, request: Request, name: str) -> Response:
        """`DELETE /mirror/api/v1/crates/{crate}`"""
        catalogue.refuse_change()


class MirrorVersion(MirrorView):
    @extend_schema(request=None, responses=REFUSED)
    def update(self, request: Request, name: str, number: str) -> Response:
        """`PATCH /mirror/api/v1/crates/{crate}/{version}`"""
        catalogue.refuse_change()

    @extend_schema(request=None, responses=REFUSED)
    def yank(self, request: Request, name: str, number: str) -> Response:
        """`DELETE /mirror/api/v1/crates/{crate}/{version}/yank`"""
        catalogue.refuse_change()

    @extend_schema(request=None, responses=REFUSED)
    def unyank(self, request: Request, name: str, number: str) -> Response:
        """`PUT /mirror/api/v1/crates/{crate}/{version}/unyank`"""
        catalogue.refuse_change()


class MirrorOwners(MirrorView):
    @extend_schema(request=None, responses=REFUSED)
    def add(self, request: Request, name: str) -> Response:
        """`PUT /mirror/api/v1/crates/{crate}/owners`"""
        catalogue.refuse_change()

    @extend_schema(request=None, responses=REFUSED)
    def remove(self, request: Request, name: str) -> Response:
        """`DELETE /mirror/api/v1/crates/{crate}/owners`"""
        catalogue.refuse_change()
