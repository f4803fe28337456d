"""Crates, versions and dependencies as crates.io's read API shows them: of this registry, or of a mirror."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accounts.models import User

API_ROOT = "/api/v1"
NO_VERSION = "0.0.0"  # crates.io's word for the highest version of a crate that has none


@dataclass(frozen=True)
class AuditAction:
    """A change of a version: `publish`, `yank` or `unyank`."""

    action: str
    user: User
    time: datetime


@dataclass(frozen=True)
class VersionState:
    """What one has to know before using a version, for pages, Markdown and feeds; `tone` is that of a notice."""

    tone: str
    title: str
    reason: str

    def __str__(self) -> str:
        return f"{self.title} {self.reason}".strip()


@dataclass(frozen=True)
class VersionRecord:
    """A version. Empty texts are shown as null; `api_root` begins the paths of its links."""

    id: int
    crate: str
    num: str
    created_at: datetime
    updated_at: datetime
    checksum: str
    crate_size: int | None
    yanked: bool
    features: Mapping[str, Sequence[str]]
    downloads: int = 0
    yank_message: str = ""
    lib_links: str = ""
    license: str = ""
    published_by: User | None = None
    audit_actions: Sequence[AuditAction] = ()
    rust_version: str = ""
    has_lib: bool | None = None
    bin_names: Sequence[str] | None = None
    edition: str = ""
    description: str = ""
    homepage: str = ""
    documentation: str = ""
    repository: str = ""
    trustpub_data: None = None
    line_counts: Mapping[str, Mapping[str, int]] | None = None  # by language
    api_root: str = API_ROOT
    # For pages alone; crates.io's API has none of these.
    published_with: str = ""
    yanked_at: datetime | None = None
    unpacked_size: int | None = None
    file_count: int | None = None
    has_build_script: bool | None = None
    is_proc_macro: bool | None = None
    license_file: str = ""
    vcs_commit: str = ""
    held_back: str = ""  # the reason why the mirror shows the version to cargo as yanked
    exempt: str = ""  # the reason why staff offer it nevertheless
    old_enough_at: datetime | None = None

    @property
    def publisher(self) -> str:
        """The name of the user who published it; empty if nobody knows."""
        return self.published_by.username if self.published_by else ""

    @property
    def states(self) -> list[VersionState]:
        """What holds beside that the version exists: that it is held back, offered nevertheless, or yanked."""
        states = []
        if self.held_back:
            old_enough = f" Old enough on {self.old_enough_at:%Y-%m-%d}." if self.old_enough_at else ""
            states.append(VersionState("warn", "Held back.", self.held_back + old_enough))
        if self.exempt:
            states.append(VersionState("", "Offered: exempt from the policies.", self.exempt))
        if self.yanked:
            by_owners = f" on {self.yanked_at:%Y-%m-%d}" if self.yanked_at else ""
            circumstance = by_owners if self.api_root == API_ROOT else " upstream"
            states.append(VersionState("bad", f"Yanked{circumstance}.", self.yank_message))
        return states

    @property
    def linecounts(self) -> dict[str, Any] | None:
        """The lines by language, and their sums."""
        if self.line_counts is None:
            return None
        counts = self.line_counts.values()
        return {
            "languages": self.line_counts,
            "total_code_lines": sum(count["code_lines"] for count in counts),
            "total_comment_lines": sum(count["comment_lines"] for count in counts),
        }


@dataclass(frozen=True)
class CrateRecord:
    """A crate. `versions`, `keywords`, `categories` and `recent_downloads` are None unless they were requested."""

    name: str
    created_at: datetime
    updated_at: datetime
    default_version: str | None
    max_version: str
    newest_version: str
    max_stable_version: str | None
    num_versions: int
    yanked: bool
    downloads: int = 0
    recent_downloads: int | None = None
    versions: Sequence[int] | None = None
    keywords: Sequence[str] | None = None
    categories: Sequence[str] | None = None
    badges: Sequence[str] = ()
    description: str = ""
    homepage: str = ""
    documentation: str = ""
    repository: str = ""
    exact_match: bool = False
    trustpub_only: bool = False
    api_root: str = API_ROOT


@dataclass(frozen=True)
class DependencyRecord:
    """A dependency of a version. `crate_id` is the name of the crate that is needed."""

    id: int
    version_id: int
    crate_id: str
    req: str
    optional: bool
    default_features: bool
    features: Sequence[str]
    target: str
    kind: str
    downloads: int = 0
    registry: str = ""  # its index; empty for this registry
    explicit_name: str = ""  # in the manifest, if it is another one
