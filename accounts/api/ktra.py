"""Ktra's user endpoints: https://book.ktra.dev, "Ktra Web APIs".

Where Ktra answers 200 with an error in the body, the status here is honest; the body is the same.
"""

from django.conf import settings
from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import credentials, registration, tokens
from accounts.authentication import Anyone
from registry_site.dialects import Cargo


class Secret(serializers.CharField):
    """A text as it is: not trimmed, and not made of a number."""

    def __init__(self) -> None:
        super().__init__(trim_whitespace=False, max_length=4096)

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Password(serializers.Serializer[None]):
    password = Secret()


class PasswordChange(serializers.Serializer[None]):
    old_password = Secret()
    new_password = Secret()


def _token(text: str) -> Response:
    """`cargo-ktra-login` takes a body of exactly this one key."""
    return Response({"token": text}, headers={"Cache-Control": "no-store"})


class KtraUsers(Cargo, ViewSet):
    """An answer carries the account's default token; the one before it ends."""

    permission_classes = [Anyone]

    def new_user(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/new_user/{user_name}`, body `{ "password": "PASSWORD" }`"""
        given = Password(data=request.data)
        given.is_valid(raise_exception=True)
        user = registration.sign_up(user_name, given.validated_data["password"])
        return _token(tokens.replace_default(user))

    def login(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/login/{user_name}`, body `{ "password": "PASSWORD" }`"""
        given = Password(data=request.data)
        given.is_valid(raise_exception=True)
        user = credentials.check(user_name, given.validated_data["password"])
        return _token(tokens.replace_default(user))

    def change_password(self, request: Request, user_name: str) -> Response:
        """`POST /ktra/api/v1/change_password/{user_name}`, body `{ "old_password": …, "new_password": … }`"""
        given = PasswordChange(data=request.data)
        given.is_valid(raise_exception=True)
        _, token = registration.change_password(user_name, **given.validated_data)
        return _token(token)


class Me(Cargo, ViewSet):
    permission_classes = [Anyone]

    def retrieve(self, request: Request) -> HttpResponse:
        """`GET /me` with passwords: how to get a token, as one line to paste."""
        line = (
            "$ curl -X POST -H 'Content-Type: application/json' -d '{\"password\":\"YOUR PASSWORD\"}' "
            f"{settings.PUBLIC_URL}/ktra/api/v1/login/<YOUR USERNAME>\n"
        )
        return HttpResponse(line, content_type="text/plain; charset=utf-8")
