"""Input of a publisher: the content of a new release or of an edit, and the limits that it must keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TypedDict

from packages import ranges, texts, versions
from packages.models import Status, Type
from registry_site.errors import Invalid

# Texts are counted in characters. The columns of `packages.models` have the same lengths.
MAX_ECOSYSTEM = 63
MAX_DESCRIPTION = 1000
MAX_DEPENDENCIES = 1000  # of each kind
MAX_DEPENDENCY_NAME = 127
MAX_KEYWORDS = 20
MAX_KEYWORD = 50


class Dependency(TypedDict):
    """Another package, and a range of its versions."""

    name: str
    version: str


@dataclass(frozen=True)
class Upload:
    """An uploaded archive: a seekable file of `size` bytes."""

    file: IO[bytes]
    size: int


@dataclass(frozen=True, kw_only=True)
class ReleaseEdit:
    """Content of a release. None keeps what the newest release has, or the default."""

    status: str | None = None
    type: str | None = None
    dependencies: Sequence[Dependency] | None = None
    dev_dependencies: Sequence[Dependency] | None = None
    description: str | None = None
    keywords: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class ReleaseInput(ReleaseEdit):
    """Content of a release to publish, with its version and its archive."""

    version: str
    archive: Upload | None = None


def validate_ecosystem(text: str) -> None:
    """Raise `Invalid` unless `text` can be a package's `field`."""
    if not text.strip() or len(text) > MAX_ECOSYSTEM or not text.isprintable():
        raise Invalid(f"The field has to be 1 to {MAX_ECOSYSTEM} characters, such as java.", code="field_invalid")


def validate_release(release_input: ReleaseInput, ecosystem: str) -> None:
    """Raise `Invalid` for the first thing that is wrong in a release to publish."""
    versions.validate(texts.normalize(release_input.version), ecosystem)
    validate_edit(release_input, ecosystem, statuses=(Status.RELEASE, Status.SNAPSHOT))


def validate_edit(edit: ReleaseEdit, ecosystem: str, *, statuses: Sequence[Status]) -> None:
    """Raise `Invalid` for the first thing that is wrong, such as a status that is none of `statuses`."""
    if edit.status is not None and edit.status not in statuses:
        allowed = ", ".join(status.value for status in statuses)
        raise Invalid(f"The status {edit.status[:40]!r} is not possible here: {allowed}.", code="status_invalid")
    if edit.type is not None and edit.type not in Type.values:
        raise Invalid(f"There is no type {edit.type[:40]!r}: {', '.join(Type.values)}.", code="type_invalid")
    for dependencies in (edit.dependencies, edit.dev_dependencies):
        validate_dependencies(dependencies or [], ecosystem)
    if len(edit.description or "") > MAX_DESCRIPTION:
        raise Invalid(f"The description is longer than {MAX_DESCRIPTION} characters.", code="description_invalid")
    keywords = edit.keywords or []
    if len(keywords) > MAX_KEYWORDS or any(
        not 0 < len(word) <= MAX_KEYWORD or not word.isprintable() for word in keywords
    ):
        raise Invalid(
            f"At most {MAX_KEYWORDS} keywords of 1 to {MAX_KEYWORD} characters each.", code="keywords_invalid"
        )


def validate_dependencies(dependencies: Sequence[Dependency], ecosystem: str) -> None:
    """Raise `Invalid` for too many dependencies, a repeated one, or one with a bad name or range."""
    if len(dependencies) > MAX_DEPENDENCIES:
        raise Invalid(f"There are more than {MAX_DEPENDENCIES} dependencies.", code="dependencies_invalid")
    for dependency in dependencies:
        name = dependency["name"]
        # Any printable name is allowed: a dependency may live in a registry with other rules for names.
        if not name.strip() or len(name) > MAX_DEPENDENCY_NAME or not name.isprintable():
            raise Invalid(f"The dependency {name[:80]!r} has no possible name.", code="dependencies_invalid")
        ranges.validate(dependency["version"], ecosystem)
    if len({dependency["name"] for dependency in dependencies}) < len(dependencies):
        raise Invalid("A dependency is named twice.", code="dependencies_invalid")
