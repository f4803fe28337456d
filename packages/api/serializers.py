"""Serializers of package requests and answers, named and spelled as in yapkg's document."""

from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.utils.html import is_html_input

from accounts.api.serializers import Text
from packages.release_input import ReleaseEdit, ReleaseInput, Upload
from registry_site.http import strict_json
from registry_site.http.shapes import Shape

CONTENT_FIELDS = ("dependencies", "dev_dependencies", "status", "type", "description", "keywords")

# --- Requests --------------------------------------------------------------------------------------------------------


class PageNumber(serializers.Serializer[None]):
    page = serializers.IntegerField(default=1)


class Search(PageNumber):
    query = serializers.CharField(allow_blank=True, trim_whitespace=False)


class DependencyShape(serializers.Serializer[None]):
    name = Text()
    version = Text()


class JSONList(serializers.ListField):
    """A list, or its JSON text in a form, as forms have no lists."""

    def get_value(self, dictionary: Any) -> Any:
        if not is_html_input(dictionary):
            return super().get_value(dictionary)
        value = dictionary.get(self.field_name, empty)
        return strict_json.loads(value.encode()) if isinstance(value, str) else value


class Edit(serializers.Serializer[None]):
    """Content of a release, for creating, publishing and editing alike."""

    package_id = serializers.IntegerField(required=False, min_value=0, max_value=2**63 - 1)
    dependencies = JSONList(child=DependencyShape(), required=False)
    dev_dependencies = JSONList(child=DependencyShape(), required=False)
    status = Text(required=False, max_length=40)
    type = Text(required=False, max_length=40)
    description = Text(required=False, allow_blank=True)
    keywords = JSONList(child=Text(), required=False)


class Publication(Edit):
    version = Text(max_length=255)
    file = serializers.FileField(required=False, allow_empty_file=True)


class NewPackage(Publication):
    package_name = Text(max_length=255)
    field = Text(max_length=255)


def release_edit(data: dict[str, Any]) -> ReleaseEdit:
    """Return the content in the validated data of an `Edit`."""
    return ReleaseEdit(**{name: data[name] for name in CONTENT_FIELDS if name in data})


def release_input(data: dict[str, Any]) -> ReleaseInput:
    """Return the content in the validated data of a `Publication`."""
    file = data.get("file")
    archive = Upload(file, file.size) if file else None
    content = {name: data[name] for name in CONTENT_FIELDS if name in data}
    return ReleaseInput(version=data["version"], archive=archive, **content)


# --- Answers ---------------------------------------------------------------------------------------------------------


class Brief(Shape):
    """A package in a list."""

    package_name = serializers.CharField(source="name")
    package_id = serializers.CharField(source="pk")
    namespace_id = serializers.CharField()
    namespace = serializers.CharField(source="namespace.name")
    version = serializers.CharField(source="newest.version")
    field = serializers.CharField()
    publisher_id = serializers.CharField(source="newest.publisher_id")
    publisher = serializers.CharField(source="newest.publisher.username")
    description = serializers.CharField(source="newest.description")
    last_updated = serializers.DateTimeField(source="updated_at", format="%Y-%m-%d")


class Full(Shape):
    """A package with the content of one of its releases."""

    package_id = serializers.CharField()
    package_name = serializers.CharField(source="package.name")
    namespace_id = serializers.CharField(source="package.namespace_id")
    namespace = serializers.CharField(source="package.namespace.name")
    version = serializers.CharField()
    field = serializers.CharField(source="package.field")
    dependencies = serializers.ListField(child=DependencyShape())
    dev_dependencies = serializers.ListField(child=DependencyShape())
    status = serializers.CharField()
    publisher_id = serializers.CharField()
    publisher = serializers.CharField(source="publisher.username")
    type = serializers.CharField(source="package.type")
    description = serializers.CharField()
    keywords = serializers.ListField(child=serializers.CharField())
    last_updated = serializers.DateTimeField(source="package.updated_at", format="%Y-%m-%d")


class Published(Full):
    """A package after a publish. Here the document calls its name `name`, elsewhere `package_name`: both are sent."""

    name = serializers.CharField(source="package.name")


class FileShape(Shape):
    path = serializers.CharField()
    size = serializers.IntegerField()


class VersionShape(Shape):
    version = serializers.CharField()
    status = serializers.CharField()
    publisher_id = serializers.CharField()
    publisher = serializers.CharField(source="publisher.username")
    published_at = serializers.DateTimeField()
    sha256 = serializers.CharField(help_text="Digest of the archive; empty without one.")
    size = serializers.IntegerField()


class VersionDetail(VersionShape):
    dependencies = serializers.ListField(child=DependencyShape())
    dev_dependencies = serializers.ListField(child=DependencyShape())
    description = serializers.CharField()
    keywords = serializers.ListField(child=serializers.CharField())
    files = FileShape(many=True)


class Collaborator(Shape):
    user_id = serializers.CharField()
    username = serializers.CharField(source="user.username")
    avatar_uri = serializers.CharField(source="user.avatar_uri")
    role = serializers.CharField()
