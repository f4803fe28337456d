"""Versions of packages: by SemVer in the ecosystems that follow it, any text in all others."""

from packages import ecosystems, texts
from registry_site import semantic_versions
from registry_site.errors import Invalid

MAX_LENGTH = 127  # characters


def validate(version: str, ecosystem: str) -> None:
    """Raise `Invalid` unless `version` is allowed in an ecosystem."""
    if ecosystems.follows_semver(ecosystem):
        semantic_versions.parse(version)
    elif not texts.is_visible_line(version) or version in (".", "..") or not {"/", "\\"}.isdisjoint(version):
        raise Invalid(
            f"The version {version[:80]!r} is not allowed: use a text such as 1.0, v1.0.0, 2024.11 or 1:2.3-1, "
            "without / and \\, and without blanks at its ends.",
            code="version_invalid",
        )
    if len(version) > MAX_LENGTH:
        raise Invalid(f"The version is longer than {MAX_LENGTH} characters.", code="version_invalid")


def canonical(version: str, ecosystem: str) -> str:
    """Return the form in which a version is unique in its package: with SemVer without its build metadata."""
    if ecosystems.follows_semver(ecosystem):
        return semantic_versions.without_build(version)
    return texts.normalize(version)
