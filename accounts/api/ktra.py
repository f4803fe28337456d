"""Ktra's user endpoints: https://book.ktra.dev, "Ktra Web APIs".

Where Ktra answers 200 with an error in the body, the status here is honest; the body is the same.
"""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import registration, tokens
from accounts.api.shapes import NO_STORE, Text
from accounts.authentication import Anyone
from registry_site.dialects import Cargo


class Password(serializers.Serializer[None]):
    password = Text()


class Token(serializers.Serializer[Any]):
    token = serializers.CharField()


class PasswordChange(serializers.Serializer[None]):
    old_password = Text()
    new_password = Text()


def _token(text: str) -> Response:
    """`cargo-ktra-login` takes a body of exactly this one key."""
    return Response({"token": text}, headers=NO_STORE)


class KtraUsers(Cargo, ViewSet):
    """An answer carries the account's default token; the one before it ends."""

    permission_classes = [Anyone]

    @extend_schema(request=Password, responses=Token)
    def new_user(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/new_user/{user_name}`, body `{ "password": "PASSWORD" }`"""
        given = self.given(Password, request.data)
        user = registration.sign_up(user_name, given["password"])
        return _token(tokens.replace_default(user))

    @extend_schema(request=Password, responses=Token)
    def login(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/login/{user_name}`, body `{ "password": "PASSWORD" }`"""
        given = self.given(Password, request.data)
        return _token(registration.log_in_to_cargo(user_name, given["password"]))

    @extend_schema(request=PasswordChange, responses=Token)
    def change_password(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/change_password/{user_name}`, body `{ "old_password": …, "new_password": … }`"""
        given = self.given(PasswordChange, request.data)
        _, token = registration.change_password(user_name, **given)
        return _token(token)


class Me(Cargo, ViewSet):
    permission_classes = [Anyone]

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    def retrieve(self, request: Request) -> HttpResponse:
        """`GET /me` with passwords: how to get a token, as one line to paste."""
        line = (
            "$ curl -X POST -H 'Content-Type: application/json' -d '{\"password\":\"YOUR PASSWORD\"}' "
            f"{settings.PUBLIC_URL}/ktra/api/v1/login/<YOUR USERNAME>\n"
        )
        return HttpResponse(line, content_type="text/plain; charset=utf-8")
