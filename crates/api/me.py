"""crates.io's read API: the account of the token, its tokens, and the crates that it follows."""

from typing import Any

from django.http import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import NO_STORE, Text
from accounts.authentication import get_principal
from accounts.credentials import cargo_tokens, own_tokens
from accounts.scopes import CARGO_SCOPES
from crates import follows, ownership
from crates.api import shapes, streaming
from crates.api.cargo import CargoView, Success
from crates.api.paging import PageQuery
from registry_site.http.api_docs import extend_schema
from registry_site.http.shapes import Shape


class EndpointScopes(serializers.ListField):
    """Scopes of a token, in the order in which crates.io shows them; null stands for all."""

    def __init__(self, **options: Any) -> None:
        child = serializers.ChoiceField(choices=[scope.value for scope in CARGO_SCOPES])
        super().__init__(**{"child": child, "allow_null": True, **options})

    def to_representation(self, scopes: Any) -> list[str]:
        return [scope.value for scope in CARGO_SCOPES if scope in scopes]


class CrateScopes(serializers.ListField):
    """Crate patterns of a token; null stands for all crates."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"child": Text(), "allow_null": True, **options})

    def to_representation(self, patterns: Any) -> list[str] | None:  # type: ignore[override]  # null for all crates
        return list(patterns) or None


class NewToken(serializers.Serializer[None]):
    class TokenFields(serializers.Serializer[None]):
        name = Text(max_length=cargo_tokens.MAX_NAME_LENGTH)
        crate_scopes = CrateScopes(default=None)
        endpoint_scopes = EndpointScopes(default=None, allow_empty=False)
        expired_at = serializers.DateTimeField(default=None, allow_null=True)

    api_token = TokenFields()


class TokenShape(Shape):
    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)
    crate_scopes = CrateScopes(source="crate_patterns")
    endpoint_scopes = EndpointScopes(source="scopes")
    expired_at = serializers.DateTimeField(source="expires_at", allow_null=True)


class NewTokenShape(TokenShape):
    token = serializers.CharField()


class TokenListAnswer(Shape):
    api_tokens = TokenShape(many=True)


class NewTokenAnswer(Shape):
    api_token = NewTokenShape()


class Me(CargoView):
    @extend_schema(responses=shapes.AccountAnswer)
    def retrieve(self, request: Request) -> Response:
        """`GET /api/v1/me`"""
        principal = get_principal(request)
        answer = {"user": principal.user, "owned_crates": ownership.list_owned(principal)}
        return Response(shapes.AccountAnswer.write(answer), headers=NO_STORE)

    @extend_schema(parameters=[PageQuery], responses=shapes.UpdatesAnswer)
    def updates(self, request: Request) -> HttpResponseBase:
        """`GET /api/v1/me/updates`"""
        query = self.validated(PageQuery, request.query_params)
        versions, has_more = follows.list_updates(get_principal(request), query["page"], query["per_page"])
        return streaming.respond(shapes.UpdatesAnswer, {"versions": versions, "meta": {"more": has_more}})


class Tokens(CargoView):
    @extend_schema(responses=TokenListAnswer)
    def index(self, request: Request) -> Response:
        """`GET /api/v1/me/tokens`"""
        tokens = own_tokens.list_tokens(get_principal(request))
        return Response(TokenListAnswer.write({"api_tokens": tokens}), headers=NO_STORE)

    @extend_schema(request=NewToken, responses=NewTokenAnswer)
    def create(self, request: Request) -> Response:
        """`PUT /api/v1/me/tokens`"""
        fields = self.validated(NewToken, request.data)["api_token"]
        scopes = CARGO_SCOPES if fields["endpoint_scopes"] is None else fields["endpoint_scopes"]
        token, text = own_tokens.create_token(
            get_principal(request), fields["name"], scopes, fields["expired_at"], fields["crate_scopes"] or ()
        )
        token.token = text  # type: ignore[attr-defined]  # for the shape alone, which shows it once
        return Response(NewTokenAnswer.write({"api_token": token}), headers=NO_STORE)

    @extend_schema(request=None, responses=shapes.EmptyAnswer)
    def revoke(self, request: Request, token_id: int) -> Response:
        """`DELETE /api/v1/me/tokens/{id}`"""
        own_tokens.revoke_token(get_principal(request), token_id)
        return Response({})


class Follows(CargoView):
    @extend_schema(request=None, responses=Success)
    def follow(self, request: Request, name: str) -> Response:
        """`PUT /api/v1/crates/{crate}/follow`"""
        follows.set_following(get_principal(request), name, following=True)
        return Response({"ok": True})

    @extend_schema(request=None, responses=Success)
    def unfollow(self, request: Request, name: str) -> Response:
        """`DELETE /api/v1/crates/{crate}/follow`"""
        follows.set_following(get_principal(request), name, following=False)
        return Response({"ok": True})

    @extend_schema(responses=shapes.FollowingAnswer)
    def retrieve(self, request: Request, name: str) -> Response:
        """`GET /api/v1/crates/{crate}/following`"""
        return Response(shapes.FollowingAnswer.write({"following": follows.is_following(get_principal(request), name)}))
