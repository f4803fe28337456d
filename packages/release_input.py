"""What somebody wants to publish, as it was given, and what it may be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TypedDict

from packages import ranges
from packages.models import Status, Type
from registry_site import versions
from registry_site.errors import Invalid

LONGEST_FIELD = 63
LONGEST_VERSION = 127
LONGEST_DESCRIPTION = 1000
LONGEST_DEPENDENCY = 127
MOST_DEPENDENCIES = 1000
MOST_KEYWORDS = 20
LONGEST_KEYWORD = 50


class Dependency(TypedDict):
    """Another package, and a range of its versions."""

    name: str
    version: str


@dataclass(frozen=True)
class Upload:
    """An archive that came with a request: seekable, of `size` bytes."""

    file: IO[bytes]
    size: int


@dataclass(frozen=True)
class ReleaseInput:
    """What is to be published; None leaves it as the newest release has it, or at its default."""

    version: str | None = None
    status: str | None = None
    type: str | None = None
    dependencies: Sequence[Dependency] | None = None
    dev_dependencies: Sequence[Dependency] | None = None
    description: str | None = None
    keywords: Sequence[str] | None = None
    archive: Upload | None = None


def validate_ecosystem(text: str) -> None:
    if not text.strip() or len(text) > LONGEST_FIELD or not text.isprintable():
        raise Invalid(f"The field has to be 1 to {LONGEST_FIELD} characters, such as java.", code="field_invalid")


def validate(draft: ReleaseInput, *, may_be: Sequence[Status]) -> str:
    """The version, "" where none is given; raises `Invalid` for the first thing that is wrong."""
    if draft.version is not None:
        versions.parse(draft.version)
        if len(draft.version) > LONGEST_VERSION:
            raise Invalid(f"The version is longer than {LONGEST_VERSION} characters.", code="version_invalid")
    if draft.status is not None and draft.status not in may_be:
        allowed = ", ".join(status.value for status in may_be)
        raise Invalid(f"The status {draft.status[:40]!r} is not possible here: {allowed}.", code="status_invalid")
    if draft.type is not None and draft.type not in Type.values:
        raise Invalid(f"There is no type {draft.type[:40]!r}: {', '.join(Type.values)}.", code="type_invalid")
    for dependencies in (draft.dependencies, draft.dev_dependencies):
        _validate_dependencies(dependencies or [])
    if len(draft.description or "") > LONGEST_DESCRIPTION:
        raise Invalid(f"The description is longer than {LONGEST_DESCRIPTION} characters.", code="description_invalid")
    _validate_keywords(draft.keywords or [])
    return draft.version or ""


def _validate_dependencies(dependencies: Sequence[Dependency]) -> None:
    if len(dependencies) > MOST_DEPENDENCIES:
        raise Invalid(f"There are more than {MOST_DEPENDENCIES} dependencies.", code="dependencies_invalid")
    for dependency in dependencies:
        name = dependency["name"]
        if not name.strip() or len(name) > LONGEST_DEPENDENCY or not name.isprintable():
            raise Invalid(f"The dependency {name[:80]!r} has no possible name.", code="dependencies_invalid")
        ranges.validate(dependency["version"])
    if len({dependency["name"] for dependency in dependencies}) < len(dependencies):
        raise Invalid("A dependency is named twice.", code="dependencies_invalid")


def _validate_keywords(keywords: Sequence[str]) -> None:
    if len(keywords) > MOST_KEYWORDS or any(
        not 0 < len(word) <= LONGEST_KEYWORD or not word.isprintable() for word in keywords
    ):
        raise Invalid(
            f"At most {MOST_KEYWORDS} keywords of 1 to {LONGEST_KEYWORD} characters each.", code="keywords_invalid"
        )
