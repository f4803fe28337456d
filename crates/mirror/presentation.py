"""Mirrored crates as their pages show them: from what is stored, and with the reasons of policies and staff."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Self

from accounts.models import User
from crates import names, source
from crates.mirror import (
    catalogue,
    crate_facts,
    download_counts,
    overrides,
    policies,
    serving,
    stored_crates,
    summaries,
)
from crates.mirror.index_lines import Line
from crates.mirror.models import CachedIndexFile, CrateDownloads, CrateFacts, DailyDownloads
from crates.mirror.overrides import ActiveOverride
from crates.mirror.stored_crates import StoredCrate
from crates.package.archive import Member
from crates.package.dependencies import CRATES_IO
from crates.presentation import (
    VERSIONS_PER_PAGE,
    PresentedCrate,
    VersionPage,
    reachable_by_keyboard,
)
from crates.records import DependencyRecord, VersionRecord
from registry_site import download_counts as all_counts
from registry_site import markdown
from registry_site.errors import NotFound
from registry_site.storage.blobs import Blob

render_readme = lru_cache(maxsize=64)(markdown.render_readme)  # which takes up to half a second


class MirroredCrate(PresentedCrate):
    """A crate of an upstream, as far as the mirror has stored it."""

    is_mirrored = True
    base = "/mirror/crates"
    registry = ""
    index_url = CRATES_IO

    def __init__(self, crate: StoredCrate, states: "VersionStates", number: str) -> None:
        default = crate.summary.default_version
        self.crate = crate
        self.states = states
        self.is_pinned = bool(number)
        self.shown = crate.get_version(number or default)
        self.name = crate.name
        self.file = crate.files_of([self.shown]).get(self.shown.line.version)
        # Of the newest version there is often no file yet. Then that of another one describes the crate.
        self.described = self.file if self.file or number else crate.described_file()
        self.facts = catalogue.facts_of(self.described)
        self.described_by = self.described.version if self.described and not self.file else ""
        self.is_unread = self.described is not None and not crate_facts.is_examined(self.described)
        self.keywords, self.categories = self.facts.keywords, self.facts.categories
        self.default_number = default
        self.version_count = len(crate.versions)

    @classmethod
    def get(cls, name: str, number: str = "") -> Self:
        """Return a crate with the version of this number, or else with the one that describes it.

        Of a crate that is not stored yet, the index file is fetched, and what policies on licences need. Raises as
        `serving.get_index_file`, and `NotFound`.
        """
        index_file = find_index_file(name)
        active = overrides.active_overrides_for(index_file.name)
        lines = summaries.distinct(serving.available_lines(index_file))
        if not lines:
            raise NotFound(f"None of the versions of {index_file.name} can be read.")
        reasons = serving.quarantine_reasons(index_file, lines, active)
        crate = stored_crates.describe_lines(index_file, lines, reasons)
        return cls(crate, VersionStates(lines, reasons, active), number)

    @property
    def index_file(self) -> CachedIndexFile:
        return self.crate.index_file

    @cached_property
    def download_totals(self) -> Mapping[str, int]:
        return download_counts.totals_of_versions(self.index_file.name)

    @cached_property
    def version(self) -> VersionRecord:
        downloads = self.download_totals.get(self.shown.line.version, 0)
        record = catalogue.version_record(self.crate, self.shown, self.file, downloads)
        texts = {name: getattr(self.facts, name) for name in ("description", "homepage", "documentation", "repository")}
        return self.states.explain(replace(record, **texts))

    @property
    def owners(self) -> Sequence[User]:
        return []  # whom only upstream knows

    @cached_property
    def readme(self) -> tuple[str, str, str]:
        """The README as text, its path in the repository, and the URL of that."""
        rows = CrateFacts.objects.filter(pk=self.described.pk if self.described else None)
        return rows.values_list("readme_text", "readme_path", "repository").first() or ("", "", "")

    @property
    def readme_html(self) -> str:
        return reachable_by_keyboard(render_readme(*self.readme)) if self.readme[0] else ""

    @property
    def readme_text(self) -> str:
        return self.readme[0]

    @property
    def license_text(self) -> str:
        return ""

    @property
    def license_files(self) -> Sequence[str]:
        return [self.facts.license_file] if self.facts.license_file and not self.described_by else []

    def at(self, number: str) -> Self:
        return type(self)(self.crate, self.states, number)

    @cached_property
    def version_numbers(self) -> Sequence[str]:
        versions = sorted(self.crate.versions, key=attrgetter("rank"), reverse=True)
        return [version.line.version for version in versions]

    @property
    def stored_blob(self) -> Blob | None:
        return self.file.blob() if self.file else None

    @property
    def members(self) -> Sequence[Member]:
        return source.read_members(self.blob)

    @cached_property
    def dependencies(self) -> Sequence[DependencyRecord]:
        records = catalogue.dependency_records(self.index_file.name, self.shown)
        return [replace(record, registry=record.registry or CRATES_IO) for record in records]

    @cached_property
    def counts(self) -> CrateDownloads:
        return CrateDownloads.objects.filter(pk=self.index_file.name).first() or CrateDownloads()

    @property
    def downloads(self) -> int:
        return self.counts.total

    @property
    def recent_downloads(self) -> int:
        return self.counts.recent

    def count_by_day(self) -> list[tuple[date, int]]:
        return all_counts.by_day(DailyDownloads.objects.filter(name=self.index_file.name))

    def list_versions(self, page: int, per_page: int = VERSIONS_PER_PAGE, *, by_date: bool = False) -> VersionPage:
        start, end = (page - 1) * per_page, page * per_page
        key = attrgetter("published_at") if by_date else attrgetter("rank")
        some = sorted(self.crate.versions, key=key, reverse=True)[start:end]
        downloads = self.download_totals
        files = self.crate.files_of(some)
        records = [
            catalogue.version_record(self.crate, version, files.get(number), downloads.get(number, 0))
            for version in some
            for number in [version.line.version]
        ]
        shown = [self.states.explain(record) for record in records]
        return VersionPage(shown, page, has_next=end < self.version_count)


class VersionStates:
    """What cargo sees of each version, and why."""

    def __init__(self, lines: Sequence[Line], reasons: policies.Reasons, active: Sequence[ActiveOverride]) -> None:
        self.lines = {line.version: line for line in lines}
        self.reasons = reasons
        self.active = active

    def explain(self, record: VersionRecord) -> VersionRecord:
        """Return a version as yanked only if upstream says so, and beside that the decision of this mirror."""
        line, reason = self.lines[record.num], self.reasons.get(record.num, "")
        exemptions = [] if reason else [each.reason for each in self.active if each.exempts(record.num)]
        return replace(
            record,
            yanked=line.yanked,
            yank_message="",
            held_back=reason,
            exempt=exemptions[0] if exemptions else "",
            old_enough_at=policies.old_enough_at(line) if reason else None,
        )


def find_index_file(name: str) -> CachedIndexFile:
    """Return the stored index file of a crate, whatever its age, or that of upstream if none is stored."""
    try:
        return stored_crates.get_index_file(name)
    except NotFound:  # or it was missing at upstream when somebody looked for it last
        return serving.get_index_file(names.index_path(name.lower()))
