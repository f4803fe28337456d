"""Serializers that the endpoints of namespaces and packages share."""

from typing import Any

from rest_framework import serializers

from accounts.api.serializers import Text
from namespaces.models import Role
from namespaces.role_assignments import NewRole


class RoleField(serializers.ChoiceField):
    def __init__(self) -> None:
        super().__init__(choices=Role.choices)

    def to_internal_value(self, data: Any) -> Role:
        return Role(super().to_internal_value(data))


class InvitationShape(serializers.Serializer[None]):
    username = Text(max_length=255)
    role = RoleField()

    def to_internal_value(self, data: Any) -> NewRole:
        return NewRole(**super().to_internal_value(data))


class Invitations(serializers.Serializer[None]):
    """Accounts and their roles: an array, one object, or `{"members": [...]}`."""

    members = InvitationShape(many=True, allow_empty=False)

    def to_internal_value(self, data: Any) -> Any:
        # The example in yapkg's document is not valid JSON, so its clients may send any of the three.
        if not (isinstance(data, dict) and "members" in data):
            data = {"members": data if isinstance(data, list) else [data]}
        return super().to_internal_value(data)


class RoleChange(serializers.Serializer[None]):
    role = RoleField()
