"""Web API for cargo, as in The Cargo Book, "Registry Web API", and downloads of `.crate` files."""

import re
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import names, profiles
from accounts.authentication import CargoTokenAuthentication, get_principal
from accounts.permissions import ReadAccess, TokenRequired
from crates import downloads, ownership, publishing, yanking
from crates.api.shapes import OwnerShape
from crates.package import upload
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Cargo, LengthRequired
from registry_site.http.parsers import RawParser
from registry_site.http.shapes import Shape


class OwnerLogins(serializers.Serializer[None]):
    users = serializers.ListField(
        child=serializers.CharField(max_length=names.MAX_LOGIN_LENGTH), max_length=ownership.MAX_LOGINS
    )


class PublishWarnings(Shape):
    class Kinds(Shape):
        invalid_categories = serializers.ListField(child=serializers.CharField())
        invalid_badges = serializers.ListField(child=serializers.CharField())
        other = serializers.ListField(child=serializers.CharField())

    warnings = Kinds()


class VersionChange(serializers.Serializer[Any]):
    class YankFields(serializers.Serializer[Any]):
        yanked = serializers.BooleanField(required=False)
        yank_message = serializers.CharField(
            required=False, allow_null=True, allow_blank=True, max_length=yanking.MAX_MESSAGE_LENGTH
        )

        def validate_yank_message(self, message: str | None) -> str:
            return message or ""  # null takes the message away

    version = YankFields()


class Success(Shape):
    ok = serializers.BooleanField()


class SuccessMessage(Success):
    msg = serializers.CharField()


class OwnerList(Shape):
    class User(OwnerShape):
        email = serializers.CharField(allow_null=True, help_text="Null unless the one who asks may see it.")

    users = User(many=True)


class CargoView(Cargo, ViewSet):
    authentication_classes = [CargoTokenAuthentication]
    permission_classes = [TokenRequired]


class Publish(CargoView):
    parser_classes = [RawParser]

    @staticmethod
    def check_body_length(request: HttpRequest, length: int) -> None:
        upload.check_length(length, settings.MAX_CRATE_SIZE)

    @extend_schema(request={"application/octet-stream": OpenApiTypes.BINARY}, responses=PublishWarnings)
    def publish(self, request: Request) -> Response:
        """`PUT /api/v1/crates/new`"""
        # cargo always sends a length. Without one a body could grow for ever before it is refused.
        length = re.fullmatch(r"[0-9]{1,39}", request.META.get("CONTENT_LENGTH", ""))
        if length is None:
            raise LengthRequired
        result = publishing.publish(get_principal(request), request._request, int(length[0]))
        warnings = {
            "invalid_categories": result.invalid_categories,
            "invalid_badges": [],
            "other": result.warnings,
        }
        return Response({"warnings": warnings})


class Versions(CargoView):
    @extend_schema(request=None, responses=Success)
    def yank(self, request: Request, name: str, number: str) -> Response:
        """`DELETE /api/v1/crates/{crate_name}/{version}/yank`"""
        yanking.set_yanked(get_principal(request), name, number, yanked=True)
        return Response({"ok": True})

    @extend_schema(request=None, responses=Success)
    def unyank(self, request: Request, name: str, number: str) -> Response:
        """`PUT /api/v1/crates/{crate_name}/{version}/unyank`"""
        yanking.set_yanked(get_principal(request), name, number, yanked=False)
        return Response({"ok": True})


class CrateOwners(CargoView):
    @extend_schema(responses=OwnerList)
    def owners(self, request: Request, name: str) -> Response:
        """`GET /api/v1/crates/{crate_name}/owners`"""
        owners = ownership.owners(name)
        emails = profiles.visible_emails(get_principal(request).user, owners)
        users = [{**OwnerShape.write(owner), "email": emails[owner.pk] or None} for owner in owners]
        return Response({"users": users})

    @extend_schema(request=OwnerLogins, responses=SuccessMessage)
    def add(self, request: Request, name: str) -> Response:
        """`PUT /api/v1/crates/{crate_name}/owners`"""
        body = self.validated(OwnerLogins, request.data)
        message = ownership.add(get_principal(request), name, body["users"])
        return Response({"ok": True, "msg": message})

    @extend_schema(request=OwnerLogins, responses=SuccessMessage)
    def remove(self, request: Request, name: str) -> Response:
        """`DELETE /api/v1/crates/{crate_name}/owners`"""
        body = self.validated(OwnerLogins, request.data)
        ownership.remove(get_principal(request), name, body["users"])
        return Response({"ok": True, "msg": ""})


class Downloads(CargoView):
    permission_classes = [ReadAccess]

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def retrieve(self, request: Request, name: str, number: str) -> HttpResponseBase:
        """`GET {dl}/{crate}/{version}/download`"""
        return downloads.download(request._request, name, number)
