"""What namespaces and packages have in common in yapkg's words."""

from typing import Any

from rest_framework import serializers

from accounts.api.shapes import Text
from namespaces.membership import Invitation
from namespaces.models import Role


class RoleField(serializers.ChoiceField):
    def __init__(self) -> None:
        super().__init__(choices=Role.choices)

    def to_internal_value(self, data: Any) -> Role:
        return Role(super().to_internal_value(data))


class InvitationShape(serializers.Serializer[None]):
    username = Text(max_length=255)
    role = RoleField()


class Invitations(serializers.Serializer[None]):
    """An array, one object, or `{"members": [...]}`: the document shows what is no JSON."""

    members = InvitationShape(many=True, allow_empty=False)

    def to_internal_value(self, data: Any) -> Any:
        if not (isinstance(data, dict) and "members" in data):
            data = {"members": data if isinstance(data, list) else [data]}
        return super().to_internal_value(data)


class RoleChange(serializers.Serializer[None]):
    role = RoleField()


def invitations(given: dict[str, Any]) -> list[Invitation]:
    """What `Invitations` has read."""
    return [Invitation(member["username"], member["role"]) for member in given["members"]]
