"""Storing the facts that were read from a `.crate` file."""

import posixpath
from typing import Any

from django.dispatch import receiver

from crates.models import Version, VersionContents
from crates.package import facts, licenses
from crates.package.facts import Facts
from registry_site import markdown
from registry_site.signals import server_loading

COLUMNS = (
    "edition",
    "library_name",
    "has_library",
    "has_build_script",
    "is_proc_macro",
    "binary_names",
    "unpacked_size",
    "file_count",
    "line_counts",
    "license_expression",
    "license_file",
    "vcs_commit",
    "examined",
)
READ_COLUMNS = ("readme_path", "readme_text", "license_text", "docs_rs", "files")
CONTENTS_COLUMNS = (*READ_COLUMNS, "readme_html")


@receiver(server_loading)
def load_libraries(**kwargs: Any) -> None:
    """Load what the first publish and the first README would load: the names of licenses, and the renderer."""
    markdown.render_readme("```rust\nfn main() {}\n```", "README.md", "")
    licenses.normalize("MIT")


def assign(version: Version, read: Facts) -> None:
    """Set the columns of a version, which the caller saves."""
    targets = read.build_targets
    version.library_name, version.has_library = targets.library_name, targets.has_library
    version.has_build_script, version.is_proc_macro = targets.has_build_script, targets.is_proc_macro
    version.binary_names = targets.binary_names
    for column in ("edition", "unpacked_size", "file_count", "line_counts", "license_expression", "license_file"):
        setattr(version, column, getattr(read, column))
    version.vcs_commit = read.vcs_commit
    version.examined = facts.REVISION


def new_contents(read: Facts) -> VersionContents:
    """Return the long texts of a version, without the version and the README's HTML, not stored yet."""
    return VersionContents(**{column: getattr(read, column) for column in READ_COLUMNS})


def readme_path(read: Facts) -> str:
    """Return the path of the README in the repository."""
    return posixpath.normpath(posixpath.join(read.vcs_path, read.readme_path))
