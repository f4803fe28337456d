"""Ktra's user endpoints: https://book.ktra.dev, "Ktra Web APIs".

Where Ktra answers 200 with an error in the body, the status here is honest; the body is the same.
"""

from typing import Any

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.api.serializers import NO_STORE, ONE_TIME_CODE, Text
from accounts.authentication import BrowserSessionAuthentication, CargoTokenAuthentication, get_principal
from accounts.credentials import cargo_tokens
from accounts.models import User
from accounts.oidc import flow
from accounts.permissions import AllowAny, AllowAnySameOrigin, AllowAnyTopLevel, TokenRequired
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Cargo
from registry_site.http.shapes import Shape


class Password(serializers.Serializer[None]):
    password = Text()


class Token(Shape):
    token = serializers.CharField()


class PasswordChange(serializers.Serializer[None]):
    old_password = Text()
    new_password = Text()


def token_response(text: str) -> Response:
    # cargo-ktra-login expects exactly this key.
    return Response({"token": text}, headers=NO_STORE)


class KtraUsers(Cargo, ViewSet):
    """Verbs that answer with a new default token. The former default token ends."""

    permission_classes = [AllowAny]

    @extend_schema(request=Password, responses=Token)
    def new_user(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/new_user/{user_name}`, body `{ "password": "PASSWORD" }`"""
        data = self.validated(Password, request.data)
        return token_response(cargo_tokens.sign_up(user_name, data["password"]))

    @extend_schema(parameters=[ONE_TIME_CODE], request=Password, responses=Token)
    def login(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/login/{user_name}`, body `{ "password": "PASSWORD" }`"""
        data = self.validated(Password, request.data)
        return token_response(cargo_tokens.log_in(user_name, data["password"]))

    @extend_schema(parameters=[ONE_TIME_CODE], request=PasswordChange, responses=Token)
    def change_password(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/change_password/{user_name}`, body `{ "old_password": …, "new_password": … }`"""
        data = self.validated(PasswordChange, request.data)
        return token_response(cargo_tokens.change_password(user_name, **data))


# The names of components stay the same: programs are generated from the description of the API.
@extend_schema_serializer(component_name="Known")
class ExistingToken(Shape):
    username = serializers.CharField()
    existing_token = serializers.CharField()


@extend_schema_serializer(component_name="New")
class NewToken(Shape):
    """A new default token, and the one that it replaced, if its text was stored."""

    username = serializers.CharField()
    new_token = serializers.CharField()
    revoked_token = serializers.CharField(allow_null=True)


def describe_token(user: User, token: cargo_tokens.DefaultToken) -> dict[str, Any]:
    """Return the documented answer of `/me` and `/replace_token`."""
    if token.is_new:
        return NewToken.write({"username": user.login, "new_token": token.text, "revoked_token": token.previous})
    return ExistingToken.write({"username": user.login, "existing_token": token.text})


EXISTING_OR_NEW_TOKEN = PolymorphicProxySerializer("MeAnswer", [ExistingToken, NewToken], resource_type_field_name=None)


class Me(Cargo, ViewSet):
    """The default token of a signed-in user. Others sign in at the provider, or read how to log in."""

    # Without a provider, only its digest is stored: a browser session could not be shown it.
    authentication_classes = [
        CargoTokenAuthentication,
        *([BrowserSessionAuthentication] if settings.OIDC_LOGIN else []),
    ]
    permission_classes = [AllowAnyTopLevel]

    @extend_schema(responses={(200, "application/json"): EXISTING_OR_NEW_TOKEN, (200, "text/plain"): OpenApiTypes.STR})
    def retrieve(self, request: Request) -> HttpResponseBase:
        """`GET /me`"""
        if request.auth is not None:
            principal = get_principal(request)
            presented = CargoTokenAuthentication.get_token(request)
            token = cargo_tokens.reveal_default_to(principal, presented)
            return Response(describe_token(principal.user, token), headers=NO_STORE)
        if settings.OIDC_LOGIN:
            return flow.begin_sign_in(request._request, "me")
        # A person without a provider has a password: the answer is the command that logs in with it.
        command = (
            "$ curl -X POST -H 'Content-Type: application/json' -d '{\"password\":\"YOUR PASSWORD\"}' "
            f"{settings.PUBLIC_URL}/ktra/api/v1/login/<YOUR USERNAME>\n"
        )
        return HttpResponse(command, content_type="text/plain; charset=utf-8")


class Replacement(Cargo, ViewSet):
    """The replacement of the default token. It changes something by GET, as documented, hence its permission."""

    authentication_classes = [CargoTokenAuthentication, BrowserSessionAuthentication]
    permission_classes = [AllowAnySameOrigin, *([] if settings.OIDC_LOGIN else [TokenRequired])]

    @extend_schema(request=None, responses=NewToken)
    def replace(self, request: Request) -> HttpResponseBase:
        """`GET /replace_token`"""
        if request.auth is None:
            return flow.begin_sign_in(request._request, "replace")
        principal = get_principal(request)
        token = cargo_tokens.rotate_default_for(principal, CargoTokenAuthentication.get_token(request))
        return Response(describe_token(principal.user, token), headers=NO_STORE)
