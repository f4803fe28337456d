"""torrust-index's API context `user`."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import bans, email_verification, registration, roles
from accounts.api.shapes import NO_STORE, Text
from accounts.authentication import TorrustSessionAuthentication, get_principal
from accounts.credentials import jwt_sessions
from accounts.models import User
from accounts.passwords import change, login
from accounts.permissions import AllowAny, IsAuthenticated
from registry_site.http.dialects import Torrust, TorrustFailure

LONGEST_NAME = 20


class AnyText(Text):
    """Whatever it is, the verbs say what is wrong with it in the words of the documents."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": None, "allow_blank": True, **options})


class Registration(serializers.Serializer[None]):
    username = AnyText()
    email = AnyText(required=False, allow_null=True, default="")
    password = AnyText()
    confirm_password = AnyText()


class LogIn(serializers.Serializer[None]):
    login = AnyText()
    password = AnyText()


class JsonWebToken(serializers.Serializer[None]):
    token = AnyText()


class PasswordChange(serializers.Serializer[None]):
    current_password = AnyText()
    password = AnyText()
    confirm_password = AnyText()


class NewUser(serializers.Serializer[Any]):
    user_id = serializers.IntegerField()


class LoggedIn(serializers.Serializer[Any]):
    token = serializers.CharField()
    username = serializers.CharField()
    admin = serializers.BooleanField()


def _logged_in(grant: jwt_sessions.IssuedSession, user: User) -> Response:
    answer = {"token": grant.token, "username": user.username, "admin": roles.is_administrator(user)}
    return Response(answer, headers=NO_STORE)


class TorrustUsers(Torrust, ViewSet):
    permission_classes = [AllowAny]

    @extend_schema(request=Registration, responses=NewUser)
    def register(self, request: Request) -> Response:
        """`POST /v1/user/register`"""
        given = self.validated(Registration, request.data)
        user = registration.sign_up(
            given["username"],
            given["password"],
            given["email"] or "",
            confirmation=given["confirm_password"],
            longest_name=LONGEST_NAME,
        )
        return Response({"user_id": user.pk})

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    def verify_email(self, request: Request, token: str) -> HttpResponse:
        """`GET /v1/user/email/verify/{token}`, for a person who follows the link"""
        email_verification.verify(token)
        return HttpResponse("Email verified, you can close this page.", content_type="text/plain; charset=utf-8")

    @extend_schema(request=LogIn, responses=LoggedIn)
    def log_in(self, request: Request) -> Response:
        """`POST /v1/user/login`"""
        given = self.validated(LogIn, request.data)
        user = login.authenticate(**given)
        return _logged_in(jwt_sessions.create_torrust_session(user), user)

    @extend_schema(request=JsonWebToken, responses=LoggedIn)
    def renew_token(self, request: Request) -> Response:
        """`POST /v1/user/token/renew`"""
        given = self.validated(JsonWebToken, request.data)
        grant = jwt_sessions.renew_torrust_session(given["token"])
        return _logged_in(grant, grant.session.user)


class InvalidToken(TorrustFailure):
    data = serializers.CharField()  # type: ignore[assignment]  # the serializer's own `data` is not asked for


class TorrustVerification(Torrust, ViewSet):
    """The document puts the refusal under `data`, the original under `error`; here it is under both."""

    permission_classes = [AllowAny]
    failures = InvalidToken

    @classmethod
    def failure(cls, status_code: int, code: str, message: str) -> Any:
        return {"error": message, "data": message}

    @extend_schema(request=JsonWebToken, responses=OpenApiTypes.STR)
    def verify_token(self, request: Request) -> Response:
        """`POST /v1/user/token/verify`"""
        given = self.validated(JsonWebToken, request.data)
        jwt_sessions.authenticate(jwt_sessions.TorrustToken, given["token"])
        return Response("Token is valid.")


class TorrustBans(Torrust, ViewSet):
    authentication_classes = [TorrustSessionAuthentication]
    permission_classes = [IsAuthenticated]

    @extend_schema(request=None, responses=OpenApiTypes.STR)
    def ban(self, request: Request, name: str) -> Response:
        """`DELETE /v1/user/ban/{user}`"""
        ban = bans.ban_named(get_principal(request), name)
        return Response(f"Banned user: {ban.user}")


class TorrustPasswords(Torrust, ViewSet):
    authentication_classes = [TorrustSessionAuthentication]
    permission_classes = [IsAuthenticated]
    messages = {**Torrust.messages, "wrong_password": "Invalid password"}

    @extend_schema(request=PasswordChange, responses=OpenApiTypes.STR)
    def change(self, request: Request, name: str) -> Response:
        """`POST /v1/user/{user}/change-password`"""
        given = self.validated(PasswordChange, request.data)
        user = change.change_password(
            get_principal(request),
            name,
            given["current_password"],
            given["password"],
            given["confirm_password"],
        )
        return Response(f"Password changed for user with ID: {user.pk}")
