"""backup-repository's "Users and Authentication API", and its sentences about accounts."""

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import roles
from accounts.api.serializers import NO_STORE, ONE_TIME_CODE, Text
from accounts.authentication import BackupsSessionAuthentication, get_principal
from accounts.credentials import jwt_sessions
from accounts.passwords import login
from accounts.permissions import AllowAny, IsAuthenticated
from registry_site import errors
from registry_site.http.api_docs import WITHOUT_ENVELOPE, extend_schema
from registry_site.http.dialects import Backups
from registry_site.http.parsers import StrictFormParser, StrictJSONParser, UntypedJSONParser
from registry_site.http.shapes import Shape

SESSION_ID = OpenApiParameter("sessionId", description="The session to end; by default that of the token.")
USER_NAME = OpenApiParameter("userName", description="The user, if it is another one; for administrators only.")
# By the code of the failure.
MESSAGES = {
    "wrong_password": "incorrect Username or Password",
    "revoked": "you don't have permission to access this resource",
}


class LogIn(serializers.Serializer[None]):
    username = Text()
    password = Text()


class Session(Shape):
    expire = serializers.DateTimeField()
    sessionId = serializers.CharField()
    token = serializers.CharField()


class Refreshed(Shape):
    code = serializers.IntegerField()
    expire = serializers.DateTimeField()
    token = serializers.CharField()


class UserShape(Shape):
    email = serializers.CharField()
    permissions = serializers.ListField(child=serializers.CharField())


class GrantedAccess(Shape):
    """A session. The original spells its own keys in camel case, and those of its database with a capital."""

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


class LoggedOut(Shape):
    message = serializers.CharField()
    sessionId = serializers.CharField()


class GrantedAccesses(Shape):
    grantedAccesses = GrantedAccess(many=True)


class BackupsLogin(Backups, ViewSet):
    """The log-in. The original answers an incomplete body with 401, too."""

    permission_classes = [AllowAny]
    parser_classes = [StrictJSONParser, StrictFormParser, UntypedJSONParser]
    statuses = {**Backups.statuses, errors.Invalid: status.HTTP_401_UNAUTHORIZED}
    messages = MESSAGES | dict.fromkeys(["malformed", "invalid"], "missing Username or Password")

    def get_authenticate_header(self, request: Request) -> str:
        """Return the challenge of the other views. An authenticator here would refuse a log-in with a stale token."""
        return BackupsSessionAuthentication.challenge

    @extend_schema(parameters=[ONE_TIME_CODE], request=LogIn, responses=Session)
    def log_in(self, request: Request) -> Response:
        """`POST /api/stable/auth/login`"""
        data = self.validated(LogIn, request.data)
        token, session = jwt_sessions.create_backups_session(login.authenticate(data["username"], data["password"]))
        answer = {"expire": session.expires_at, "sessionId": session.digest, "token": token}
        return Response(Session.write(answer), headers=NO_STORE)


class BackupsView(Backups, ViewSet):
    messages = MESSAGES
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
        principal = get_principal(request)
        profile = {"email": principal.user.email, "permissions": roles.list_roles(principal.user)}
        session = GrantedAccess.write(principal.credential)
        return Response({**profile, "sessionId": session["id"], "grantedAccess": session})


class BackupsSessions(BackupsView):
    @extend_schema(parameters=[SESSION_ID], request=None, responses=LoggedOut)
    def log_out(self, request: Request) -> Response:
        """`DELETE /api/stable/auth/logout[?sessionId=]`; the document's heading says GET"""
        session_id = jwt_sessions.end_backups_session(get_principal(request), request.query_params.get("sessionId"))
        return Response({"message": "JWT was revoked", "sessionId": session_id})

    @extend_schema(parameters=[USER_NAME], responses=GrantedAccesses)
    def granted(self, request: Request) -> Response:
        """`GET /api/stable/auth/token[?userName=]`"""
        sessions = jwt_sessions.list_backups_sessions(get_principal(request), request.query_params.get("userName"))
        return Response({"grantedAccesses": GrantedAccess.write_all(sessions)})

    @extend_schema(responses=Refreshed, extensions=WITHOUT_ENVELOPE)
    def refresh(self, request: Request) -> HttpResponse:
        """`GET /api/stable/auth/refresh_token`, which the original answers without its envelope"""
        token, session = jwt_sessions.refresh_backups_session(get_principal(request))
        answer = {"code": status.HTTP_200_OK, "expire": session.expires_at, "token": token}
        return JsonResponse(Refreshed.write(answer), headers=NO_STORE)
