"""torrust-index's API context `user`, and its sentences about accounts."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import bans, email_verification, registration, roles
from accounts.api.serializers import NO_STORE, ONE_TIME_CODE, Text
from accounts.authentication import TorrustSessionAuthentication, get_principal
from accounts.credentials import jwt_sessions
from accounts.models import User
from accounts.passwords import change, login
from accounts.permissions import AllowAny, IsAuthenticated
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Torrust, TorrustFailure
from registry_site.http.shapes import Shape

# The original's sentences, by the code of the failure.
MESSAGES = {
    "signup_closed": "This server is closed for registration. Contact admin if this is unexpected",
    "name_taken": "Username not available",
    "email_required": "Email is required",
    "email_invalid": "Please enter a valid email address",
    "email_taken": "Email not available",
    "passwords_differ": "Passwords don't match",
    "password_too_short": "Password too short",
    "password_too_long": "Password too long",
    "wrong_password": "Invalid username/email or password",
    "unverified": "Please verify your email before logging in",
    "no_credential": "Unauthorized actions for guest users. "
    "Try logging in to check if you have permission to perform the action",
    "unauthenticated": "Token invalid.",
    "revoked": "Token invalid.",
    "expired": "Token expired. Please sign in again.",
    "link_invalid": "Token invalid.",
    "not_administrator": "Unauthorized action.",
    "user_missing": "User not found",
}


class AnyText(Text):
    """A text of any length, also an empty one. The domain verbs refuse it with a code that has a sentence above."""

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


class NewUser(Shape):
    user_id = serializers.IntegerField()


class LoggedIn(Shape):
    token = serializers.CharField()
    username = serializers.CharField()
    admin = serializers.BooleanField()


def logged_in(token: str, user: User) -> Response:
    answer = {"token": token, "username": user.username, "admin": roles.is_administrator(user)}
    return Response(answer, headers=NO_STORE)


class TorrustView(Torrust, ViewSet):
    messages = MESSAGES


class TorrustUsers(TorrustView):
    permission_classes = [AllowAny]

    @extend_schema(request=Registration, responses=NewUser)
    def register(self, request: Request) -> Response:
        """`POST /v1/user/register`"""
        data = self.validated(Registration, request.data)
        user = registration.sign_up(
            data["username"],
            data["password"],
            data["email"] or "",
            confirmation=data["confirm_password"],
        )
        return Response({"user_id": user.pk})

    @extend_schema(parameters=[ONE_TIME_CODE], request=LogIn, responses=LoggedIn)
    def log_in(self, request: Request) -> Response:
        """`POST /v1/user/login`"""
        data = self.validated(LogIn, request.data)
        user = login.authenticate(**data)
        return logged_in(jwt_sessions.create_torrust_session(user).token, user)

    @extend_schema(request=JsonWebToken, responses=LoggedIn)
    def renew_token(self, request: Request) -> Response:
        """`POST /v1/user/token/renew`"""
        data = self.validated(JsonWebToken, request.data)
        token, session = jwt_sessions.renew_torrust_session(data["token"])
        return logged_in(token, session.user)


class PlainTextRenderer(BaseRenderer):
    media_type = "text/plain"
    format = "txt"

    def render(self, data: str, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> str:
        return data


class TorrustEmailLinks(TorrustView):
    """The link in a mail. A person follows it, so success and failure are text, as in the original."""

    permission_classes = [AllowAny]
    renderer_classes = [PlainTextRenderer]
    failure_serializer = OpenApiTypes.STR  # type: ignore[assignment]  # a text has no fields

    @classmethod
    def success(cls, data: Any) -> Any:
        return data

    @classmethod
    def failure(cls, status_code: int, code: str, message: str) -> Any:
        return message

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    def verify_email(self, request: Request, token: str) -> Response:
        """`GET /v1/user/email/verify/{token}`"""
        link = email_verification.verify(token)
        if link.needs_former:
            return Response(f"Email verified. Now follow the link that was sent to {link.user.email}.")
        return Response("Email verified, you can close this page.")


class InvalidToken(TorrustFailure):
    data = serializers.CharField()  # type: ignore[assignment]  # the serializer's own `data` is not asked for


class TorrustVerification(TorrustView):
    """The check of a token. The document has the refusal under `data`, the original under `error`: here both."""

    permission_classes = [AllowAny]
    failure_serializer = InvalidToken

    @classmethod
    def failure(cls, status_code: int, code: str, message: str) -> Any:
        return {"error": message, "data": message}

    @extend_schema(request=JsonWebToken, responses=OpenApiTypes.STR)
    def verify_token(self, request: Request) -> Response:
        """`POST /v1/user/token/verify`"""
        data = self.validated(JsonWebToken, request.data)
        jwt_sessions.authenticate(jwt_sessions.TorrustToken, data["token"])
        return Response("Token is valid.")


class TorrustBans(TorrustView):
    authentication_classes = [TorrustSessionAuthentication]
    permission_classes = [IsAuthenticated]

    @extend_schema(request=None, responses=OpenApiTypes.STR)
    def ban(self, request: Request, name: str) -> Response:
        """`DELETE /v1/user/ban/{user}`"""
        ban = bans.ban_named(get_principal(request), name)
        return Response(f"Banned user: {ban.user}")


class TorrustPasswords(TorrustView):
    authentication_classes = [TorrustSessionAuthentication]
    permission_classes = [IsAuthenticated]
    messages = {**MESSAGES, "wrong_password": "Invalid password"}

    @extend_schema(request=PasswordChange, responses=OpenApiTypes.STR)
    def change(self, request: Request, name: str) -> Response:
        """`POST /v1/user/{user}/change-password`"""
        data = self.validated(PasswordChange, request.data)
        user = change.change_password(
            get_principal(request),
            name,
            data["current_password"],
            data["password"],
            data["confirm_password"],
        )
        return Response(f"Password changed for user with ID: {user.pk}")
