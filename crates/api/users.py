"""crates.io's read API: users, and owners of crates."""

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from crates import ownership
from crates.api import shapes
from crates.api.cargo import CargoView
from crates.api.crates import ReadView
from registry_site.http.api_docs import extend_schema


class Users(ReadView):
    @extend_schema(responses=shapes.UserAnswer)
    def retrieve(self, request: Request, login: str) -> Response:
        """`GET /api/v1/users/{login}`"""
        return Response(shapes.UserAnswer.write({"user": User.objects.get_named(login)}))

    @extend_schema(responses=shapes.UserStatsAnswer)
    def stats(self, request: Request, user_id: int) -> Response:
        """`GET /api/v1/users/{id}/stats`"""
        return Response(shapes.UserStatsAnswer.write({"total_downloads": ownership.downloads_of(user_id)}))


class OwnerLists(CargoView):
    """Owners by their kind, for whom `GET /api/v1/crates/{crate}/owners` is, too."""

    @extend_schema(responses=shapes.OwnerUsersAnswer)
    def users(self, request: Request, name: str) -> Response:
        """`GET /api/v1/crates/{crate}/owner_user`"""
        return Response(shapes.OwnerUsersAnswer.write({"users": ownership.owners(name)}))

    @extend_schema(responses=shapes.OwnerTeamsAnswer)
    def teams(self, request: Request, name: str) -> Response:
        """`GET /api/v1/crates/{crate}/owner_team`: no team owns a crate here."""
        ownership.get_crate(name)
        return Response(shapes.OwnerTeamsAnswer.write({"teams": []}))
