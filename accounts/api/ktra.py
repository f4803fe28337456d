"""Ktra's user endpoints: https://book.ktra.dev, "Ktra Web APIs".

Where Ktra answers 200 with an error in the body, the status here is honest; the body is the same.
"""

from typing import Any

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import registration
from accounts.api.shapes import NO_STORE, Text
from accounts.authentication import BrowserSessionAuthentication, CargoTokenAuthentication, get_principal
from accounts.credentials import cargo_tokens
from accounts.models import User
from accounts.oidc import flow
from accounts.permissions import AllowAny, AllowAnySameOrigin, AllowAnyTopLevel
from registry_site.http.dialects import Cargo


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

    permission_classes = [AllowAny]

    @extend_schema(request=Password, responses=Token)
    def new_user(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/new_user/{user_name}`, body `{ "password": "PASSWORD" }`"""
        given = self.validated(Password, request.data)
        user = registration.sign_up(user_name, given["password"])
        return _token(cargo_tokens.rotate_default(user).text)

    @extend_schema(request=Password, responses=Token)
    def login(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/login/{user_name}`, body `{ "password": "PASSWORD" }`"""
        given = self.validated(Password, request.data)
        return _token(cargo_tokens.log_in(user_name, given["password"]))

    @extend_schema(request=PasswordChange, responses=Token)
    def change_password(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/change_password/{user_name}`, body `{ "old_password": …, "new_password": … }`"""
        given = self.validated(PasswordChange, request.data)
        return _token(cargo_tokens.change_password(user_name, **given))


class Known(serializers.Serializer[Any]):
    """Of who has a token."""

    username = serializers.CharField()
    existing_token = serializers.CharField()


class New(serializers.Serializer[Any]):
    """Of who has one from now on, and, where another was ended for it, that one."""

    username = serializers.CharField()
    new_token = serializers.CharField()
    revoked_token = serializers.CharField(allow_null=True)


def told(user: User, token: cargo_tokens.DefaultToken) -> dict[str, Any]:
    """The documented answer of `/me` and `/replace_token`."""
    if token.is_new:
        return New({"username": user.login, "new_token": token.text, "revoked_token": token.previous}).data
    return Known({"username": user.login, "existing_token": token.text}).data


EITHER = PolymorphicProxySerializer("MeAnswer", [Known, New], resource_type_field_name=None)


class Me(Cargo, ViewSet):
    """Whoever is not signed in goes to the provider, where there is one."""

    authentication_classes = [CargoTokenAuthentication, BrowserSessionAuthentication] if settings.OIDC_LOGIN else []
    permission_classes = [AllowAnyTopLevel]

    @extend_schema(responses={(200, "application/json"): EITHER, (200, "text/plain"): OpenApiTypes.STR})
    def retrieve(self, request: Request) -> HttpResponseBase:
        """`GET /me`"""
        if request.auth is not None:
            asking = get_principal(request)
            return Response(told(asking.user, cargo_tokens.reveal_default_to(asking)), headers=NO_STORE)
        if settings.OIDC_LOGIN:
            return flow.begin_sign_in(request._request, "me")
        line = (
            "$ curl -X POST -H 'Content-Type: application/json' -d '{\"password\":\"YOUR PASSWORD\"}' "
            f"{settings.PUBLIC_URL}/ktra/api/v1/login/<YOUR USERNAME>\n"
        )
        return HttpResponse(line, content_type="text/plain; charset=utf-8")


class Replacement(Cargo, ViewSet):
    """It changes something also by GET, as documented: so the page of another site must not ask for it."""

    authentication_classes = [CargoTokenAuthentication, BrowserSessionAuthentication]
    permission_classes = [AllowAnySameOrigin]

    @extend_schema(request=None, responses=New)
    def replace(self, request: Request) -> HttpResponseBase:
        """`GET /replace_token`"""
        if request.auth is None:
            return flow.begin_sign_in(request._request, "replace")
        asking = get_principal(request)
        return Response(told(asking.user, cargo_tokens.rotate_default_for(asking)), headers=NO_STORE)
