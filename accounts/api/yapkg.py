"""yapkg-backend's user endpoints: 用户认证系统."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts import profiles, registration
from accounts.api.serializers import DONE, NO_STORE, ONE_TIME_CODE, Status, Text
from accounts.authentication import AppKeyAuthentication, BrowserSessionAuthentication, get_principal
from accounts.credentials import app_keys, browser_sessions
from accounts.models import User
from accounts.permissions import AllowAny, AllowAnySameOrigin, AuthenticatedOrReadOnly, IsAuthenticated
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Yapkg
from registry_site.http.shapes import Shape


class Registration(serializers.Serializer[None]):
    username = Text()
    password = Text()
    email = Text()


class LogIn(serializers.Serializer[None]):
    username = Text()
    password = Text()


class Profile(serializers.Serializer[None]):
    user_id = serializers.IntegerField(required=False, max_value=2**63 - 1)  # a number, or its text as answers have it
    username = Text(required=False)
    password = Text(required=False)
    email = Text(required=False)
    avatar_uri = Text(required=False, allow_blank=True, max_length=500)


class UserShape(Shape):
    """A user. The documents spell the key of the id in two ways."""

    user_id = serializers.CharField(source="pk")
    userid = serializers.CharField(source="pk")
    username = serializers.CharField()
    email = serializers.CharField(allow_null=True)
    avatar_uri = serializers.CharField()


class KeyType(serializers.Serializer[None]):
    type = Text(max_length=40)


class KeyPair(Shape):
    appid = serializers.CharField()
    appsecret = serializers.CharField()
    type = serializers.ChoiceField(choices=app_keys.Type.choices)


class YapkgRegistration(Yapkg, ViewSet):
    permission_classes = [AllowAny]

    @extend_schema(request=Registration, responses=UserShape)
    def register(self, request: Request) -> Response:
        """`POST /register`"""
        data = self.validated(Registration, request.data)
        return Response(UserShape.write(registration.sign_up(**data)))


class YapkgLogin(Yapkg, ViewSet):
    """Log-in and log-out. Pages of other sites must not sign a visitor in or out."""

    permission_classes = [AllowAnySameOrigin]

    @extend_schema(parameters=[ONE_TIME_CODE], request=LogIn, responses=UserShape)
    def log_in(self, request: Request) -> Response:
        """`POST /login`"""
        data = self.validated(LogIn, request.data)
        user = browser_sessions.log_in(request._request, **data)
        return Response(UserShape.write(user), headers=NO_STORE)

    @extend_schema(request=None, responses=Status)
    def log_out(self, request: Request) -> Response:
        """`GET /logout`, which succeeds without a session, too"""
        browser_sessions.log_out(request._request)
        return Response(DONE)


class YapkgUsers(Yapkg, ViewSet):
    authentication_classes = [AppKeyAuthentication, BrowserSessionAuthentication]
    permission_classes = [AuthenticatedOrReadOnly]

    @extend_schema(responses=UserShape)
    def retrieve(self, request: Request, name: str) -> Response:
        """`GET /users/{username}`, with the e-mail address for those who may see it"""
        user = User.objects.get_named(name)
        viewer = get_principal(request).user if request.auth else None
        return Response({**UserShape.write(user), "email": profiles.visible_emails(viewer, [user])[user.pk]})


class YapkgSettings(Yapkg, ViewSet):
    authentication_classes = [AppKeyAuthentication, BrowserSessionAuthentication]
    permission_classes = [IsAuthenticated]

    @extend_schema(request=Profile, responses=UserShape)
    def change_profile(self, request: Request) -> Response:
        """`PATCH /settings/profile`"""
        data = self.validated(Profile, request.data)
        user_id = data.pop("user_id", None)
        user = profiles.update_profile(get_principal(request), user_id, profiles.ProfileChanges(**data))
        browser_sessions.keep_after_password_change(request._request, user)
        return Response(UserShape.write(user))

    @extend_schema(request=KeyType, responses=KeyPair)
    def create_key(self, request: Request) -> Response:
        """`POST /settings/appids`"""
        data = self.validated(KeyType, request.data)
        pair = app_keys.issue(get_principal(request), data["type"])
        return Response(KeyPair.write(pair), headers=NO_STORE)

    @extend_schema(responses=KeyPair(many=True))
    def list_keys(self, request: Request) -> Response:
        """`GET /settings/appids`"""
        return Response(KeyPair.write_all(app_keys.list_owned(get_principal(request))), headers=NO_STORE)

    @extend_schema(request=None, responses=Status)
    def delete_key(self, request: Request, appid: str) -> Response:
        """`DELETE /settings/appids/{appid}`"""
        app_keys.delete(get_principal(request), appid)
        return Response(DONE)
