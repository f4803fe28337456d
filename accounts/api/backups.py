"""backup-repository's "Users and Authentication API"."""

from typing import Any

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import roles
from accounts.api.shapes import NO_STORE, Text
from accounts.authentication import BackupsSessionAuthentication, get_principal
from accounts.credentials import jwt_sessions
from accounts.passwords import login
from accounts.permissions import AllowAny, IsAuthenticated
from registry_site import errors
from registry_site.http.dialects import Backups
from registry_site.http.openapi import WITHOUT_ENVELOPE
from registry_site.http.parsers import StrictFormParser, StrictJSONParser, UntypedJSONParser

SESSION_ID = OpenApiParameter("sessionId", description="Another session than that of the token.")
USER_NAME = OpenApiParameter("userName", description="Another user's; only for who administers.")


class LogIn(serializers.Serializer[None]):
    username = Text()
    password = Text()


class Session(serializers.Serializer[Any]):
    expire = serializers.DateTimeField()
    sessionId = serializers.CharField()
    token = serializers.CharField()


class Refreshed(serializers.Serializer[Any]):
    code = serializers.IntegerField()
    expire = serializers.DateTimeField()
    token = serializers.CharField()


class UserShape(serializers.Serializer[Any]):
    email = serializers.CharField()
    permissions = serializers.ListField(child=serializers.CharField())


class GrantedAccess(serializers.Serializer[Any]):
    """The keys as the original spells them: its own in camel case, those of its database in capitals."""

    CreatedAt = serializers.DateTimeField(source="created_at")
    UpdatedAt = serializers.DateTimeField(source="updated_at")
    DeletedAt = serializers.DateTimeField(default=None, allow_null=True)
    id = serializers.CharField(source="digest")
    expiresAt = serializers.DateTimeField(source="expires_at")
    deactivated = serializers.BooleanField(source="is_revoked")
    description = serializers.CharField(source="name")
    requesterIP = serializers.CharField(source="requester")
    user = serializers.CharField(source="user.username")


class WhoAmI(UserShape):
    sessionId = serializers.CharField()
    grantedAccess = GrantedAccess()


class LoggedOut(serializers.Serializer[Any]):
    message = serializers.CharField()
    sessionId = serializers.CharField()


class GrantedAccesses(serializers.Serializer[Any]):
    grantedAccesses = GrantedAccess(many=True)


class BackupsLogin(Backups, ViewSet):
    """Whatever a body lacks, the original answers as if nobody had tried."""

    permission_classes = [AllowAny]
    parser_classes = [StrictJSONParser, StrictFormParser, UntypedJSONParser]
    statuses = {**Backups.statuses, errors.Invalid: status.HTTP_401_UNAUTHORIZED}
    messages = {**Backups.messages} | dict.fromkeys(["malformed", "invalid"], "missing Username or Password")

    def get_authenticate_header(self, request: Request) -> str:
        """There is no authenticator here: a stale token in the request must not keep anybody from a new one."""
        return BackupsSessionAuthentication.challenge

    @extend_schema(request=LogIn, responses=Session)
    def log_in(self, request: Request) -> Response:
        """`POST /api/stable/auth/login`"""
        given = self.validated(LogIn, request.data)
        grant = jwt_sessions.create_backups_session(login.authenticate(given["username"], given["password"]))
        session = {"expire": grant.session.expires_at, "sessionId": grant.session.digest, "token": grant.token}
        return Response(Session(session).data, headers=NO_STORE)


class BackupsView(Backups, ViewSet):
    authentication_classes = [BackupsSessionAuthentication]
    permission_classes = [IsAuthenticated]


class BackupsUsers(BackupsView):
    @extend_schema(responses=UserShape)
    def retrieve(self, request: Request, name: str) -> Response:
        """`GET /api/stable/auth/user/{userName}`"""
        user = jwt_sessions.profile_for(get_principal(request), name)
        return Response({"email": user.email, "permissions": roles.list_roles(user)})

    @extend_schema(responses=WhoAmI)
    def whoami(self, request: Request) -> Response:
        """`GET /api/stable/auth/whoami`"""
        session = GrantedAccess(get_principal(request).credential).data
        user = get_principal(request).user
        answer = {"email": user.email, "permissions": roles.list_roles(user), "sessionId": session["id"]}
        return Response({**answer, "grantedAccess": session})


class BackupsSessions(BackupsView):
    @extend_schema(parameters=[SESSION_ID], request=None, responses=LoggedOut)
    def log_out(self, request: Request) -> Response:
        """`DELETE /api/stable/auth/logout[?sessionId=]`; the document's heading says GET"""
        ended = jwt_sessions.end_backups_session(get_principal(request), request.query_params.get("sessionId"))
        return Response({"message": "JWT was revoked", "sessionId": ended})

    @extend_schema(parameters=[USER_NAME], responses=GrantedAccesses)
    def granted(self, request: Request) -> Response:
        """`GET /api/stable/auth/token[?userName=]`"""
        sessions = jwt_sessions.list_backups_sessions(get_principal(request), request.query_params.get("userName"))
        return Response({"grantedAccesses": GrantedAccess(sessions, many=True).data})

    @extend_schema(responses=Refreshed, extensions=WITHOUT_ENVELOPE)
    def refresh(self, request: Request) -> HttpResponse:
        """`GET /api/stable/auth/refresh_token`, which the original answers without its envelope"""
        grant = jwt_sessions.refresh_backups_session(get_principal(request))
        refreshed = {"code": status.HTTP_200_OK, "expire": grant.session.expires_at, "token": grant.token}
        return JsonResponse(Refreshed(refreshed).data, headers=NO_STORE)
