"""Pages of the mirror in the admin site: incidents with what to do, crates with what is held back, stored files.

All comes from what is stored: no page of staff waits for upstream.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from django.db.models import F, Q
from django.http import HttpRequest
from django.utils.html import escape

from crates import names
from crates.mirror import download_counts, index_lines, policies, summaries
from crates.mirror.index_lines import Line
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident, Override
from crates.mirror.overrides import ActiveOverride
from registry_site.admin.object_pages import (
    MAX_ROWS,
    Cell,
    Description,
    Fact,
    Link,
    Panel,
    link_to,
    list_url,
    may_view,
    object_url,
    panel_of,
)
from registry_site.templatetags.figures import size

Kind = Incident.Kind
ADVICE = {
    Kind.CHANGED: "A published version never changes. Ask its authors or the upstream whether this one was meant to. "
    "If so, accept the new checksums; if not, block the crate. Until then the former index file is served.",
    Kind.WRONG_BYTES: "The bytes were refused, and nobody got them. If that goes on, ask the upstream what is wrong.",
    Kind.REFUSED_ARCHIVE: "Nobody gets this file. Ask the publisher for a version that cargo has packed.",
    Kind.DAMAGED: "The file was deleted, and is fetched again when somebody asks for it. Look at the disk, too.",
    Kind.FAULT: "Clients got what is stored, or an error. Look whether this server reaches the upstream.",
}
# On the mirrored crate.
ACTIONS = {
    Kind.CHANGED: ("accept_changes", "block"),
    Kind.WRONG_BYTES: ("mark_stale", "block"),
    Kind.FAULT: ("mark_stale",),
}


# --- Incidents -----------------------------------------------------------------------------------------------------


def crate_name_of(incident: Incident) -> str:
    """Return the crate that an incident is about, in lower case, or an empty text; of one of an upstream, the last."""
    # The subject is an upstream, `serde` or `serde@1.0.0`; the detail of that of an upstream begins with the crate.
    text = incident.detail.partition(":")[0] if "://" in incident.subject else incident.subject
    name = text.partition("@")[0].strip().lower()
    return name if index_lines.NAME.fullmatch(name) else ""


def index_file_of(incident: Incident) -> CachedIndexFile | None:
    """Return the mirrored crate that an incident is about."""
    name = crate_name_of(incident)
    return CachedIndexFile.objects.defer("body", "checksums").filter(name=name).first() if name else None


def describe_incident(request: HttpRequest, incident: Incident, index_file: CachedIndexFile | None) -> Description:
    is_open = incident.settled_at is None
    facts = [
        Fact("Standing", "Open", "bad" if incident.kind != Kind.FAULT else "warn")
        if is_open
        else Fact("Standing", f"Settled on {incident.settled_at:%Y-%m-%d %H:%M} UTC", "good"),
        Fact("What happened", escape(f"{incident.get_kind_display()}: {incident.detail}")),
        Fact("Subject", incident.subject),
        Fact(
            "Mirrored crate",
            link_to(index_file) if index_file and may_view(request, CachedIndexFile) else crate_name_of(incident),
        ),
        Fact("How often", incident.count),
        Fact("First", incident.first_at),
        Fact("Last", incident.last_at),
    ]
    if is_open:
        facts.insert(1, Fact("What to do", escape(ADVICE[Kind(incident.kind)])))
    others = Incident.objects.filter(subject=incident.subject).exclude(pk=incident.pk)
    newest = others.order_by(F("settled_at").desc(nulls_first=True), "-last_at")[: MAX_ROWS + 1]
    panels = [incident_panel("Other incidents of the subject", newest, incident.subject)]
    if index_file and may_view(request, Override):
        panels.append(override_panel(overrides_of(index_file.name)))
    return Description(facts, panels)


def actions_of_crate(
    incident: Incident, index_file: CachedIndexFile | None, page: Any, request: HttpRequest
) -> list[Link]:
    """Return the actions on the mirrored crate that an open incident leads to."""
    if index_file is None or incident.settled_at is not None:
        return []
    permitted = {action.name: action for action in page.permitted_actions(request)}
    applicable = [name for name in ACTIONS.get(Kind(incident.kind), ()) if name in permitted]
    # An incident that names its checksums has an action of its own, which accepts these and no others.
    chosen = [permitted[name] for name in applicable if name != "accept_changes" or not incident.changes]
    return [Link(f"{action.label}: {index_file.name}", page.act_url(action, str(index_file.pk))) for action in chosen]


def incident_panel(title: str, rows: Iterable[Incident], subject: str) -> Panel:
    columns: Mapping[str, Callable[[Incident], Cell]] = {
        "Last": lambda row: row.last_at,
        "What happened": lambda row: Link(row.get_kind_display(), object_url(Incident, row.pk)),
        "Detail": lambda row: row.detail,
        "How often": lambda row: row.count,
        "State": lambda row: "open" if row.settled_at is None else "settled",
    }
    more = Link("All in the list", list_url(Incident, q=subject))
    return panel_of(title, columns, rows, more=more)


# --- Overrides -----------------------------------------------------------------------------------------------------


def overrides_of(name: str) -> list[Override]:
    """Return the overrides of a crate, those that nobody has ended first."""
    rows = Override.objects.filter(name=names.canonical(name)).select_related("created_by")
    return list(rows.order_by(F("ended_at").desc(nulls_first=True), "-created_at")[: MAX_ROWS + 1])


def override_panel(overrides: Sequence[Override]) -> Panel:
    columns: Mapping[str, Callable[[Override], Cell]] = {
        "Kind": lambda row: Link(str(row.kind), object_url(Override, row.pk)),
        "Versions": lambda row: row.requirement,
        "Reason": lambda row: row.reason,
        "Made": lambda row: row.created_at,
        "By": lambda row: link_to(row.created_by),
        "Until": lambda row: row.until,
        "State": lambda row: "in force" if row.is_active else "ended",
    }
    name = overrides[0].name if overrides else ""
    more = Link("All in the list", list_url(Override, q=name)) if name else Link("All overrides", list_url(Override))
    return panel_of("Overrides by staff", columns, overrides, more=more, empty="None: policies alone decide.")


# --- Mirrored crates -----------------------------------------------------------------------------------------------


class CratePage:
    """What the page shows of a mirrored crate, for those who may view each part of it."""

    def __init__(self, request: HttpRequest, index_file: CachedIndexFile) -> None:
        self.request = request
        self.index_file = index_file
        self.overrides = overrides_of(index_file.name)
        self.active = [ActiveOverride.of(override) for override in self.overrides if override.is_active]
        self.files = list(index_file.cached_crates().order_by("-fetched_at", "-pk"))

    @cached_property
    def lines(self) -> list[Line]:
        """The versions of the crate, the last published ones first."""
        return list(reversed(summaries.lines_of(self.index_file)))

    @cached_property
    def reasons(self) -> policies.Reasons:
        """Why versions are held back; a licence that only a fetch would tell is not known."""
        licenses = {(crate.version, crate.sha256): crate.license for crate in self.files}
        return policies.quarantine_reasons(self.index_file.name, self.lines, self.active, lambda line: None, licenses)

    @cached_property
    def incidents(self) -> list[Incident]:
        of_crate = Q(subject=self.index_file.name) | Q(subject__startswith=f"{self.index_file.name}@")
        return list(Incident.objects.filter(of_crate, settled_at=None)[: MAX_ROWS + 1])

    def describe(self) -> Description:
        return Description(list(self.facts()), list(self.panels()))

    def facts(self) -> Iterator[Fact]:
        index_file: Any = self.index_file
        yield self.standing()
        yield Fact("Upstream", index_file.upstream)
        yield Fact("Path in the index", index_file.path)
        yield Fact("Changed", index_file.changed_at)
        yield Fact("Last answer of upstream", index_file.checked_at)
        yield Fact("Versions", f"{len(self.lines):,}, of which {len(self.reasons):,} are held back")
        yield Fact("Index file", size(index_file.size or 0))
        yield Fact("Stored files", f"{len(self.files):,}, {size(sum(crate.size for crate in self.files))}")
        yield Fact("Downloads", index_file.download_total)

    def standing(self) -> Fact:
        """Return whether clients get the crate, and why not all of it."""
        if self.index_file.status != 200:
            return Fact("Standing", f"Upstream answered {self.index_file.status}: it has no such crate.", "bad")
        if blocking := next((row for row in self.overrides if row.is_active and is_whole(row)), None):
            return Fact("Standing", f"Blocked in all versions: {blocking.reason}", "bad")
        if any(incident.kind == Kind.CHANGED for incident in self.incidents):
            text = "A former index file is served: upstream has changed a checksum since."
            return Fact("Standing", text, "bad")
        if self.reasons:
            return Fact("Standing", "Served, without the versions that are held back.", "warn")
        return Fact("Standing", "Served", "good")

    def panels(self) -> Iterator[Panel]:
        request, name = self.request, self.index_file.name
        yield self.quarantine_panel()
        if may_view(request, Override):
            yield override_panel(self.overrides)
        if may_view(request, Incident):
            yield incident_panel("Open incidents", self.incidents, name)
        if may_view(request, CachedCrate):
            yield self.file_panel()

    def quarantine_panel(self) -> Panel:
        columns: Mapping[str, Callable[[Line], Cell]] = {
            "Version": lambda line: line.version,
            "Published": lambda line: line.published_at,
            "Why": lambda line: self.reasons[line.version],
        }
        rows = [line for line in self.lines if line.version in self.reasons][: MAX_ROWS + 1]
        more = Link("All versions on the page of the crate", f"{self.index_file.page_path}/versions")
        return panel_of("Versions held back", columns, rows, more=more, empty="None.")

    def file_panel(self) -> Panel:
        columns: Mapping[str, Callable[[CachedCrate], Cell]] = {
            "Version": lambda row: Link(row.version, object_url(CachedCrate, row.pk)),
            "Licence": lambda row: row.license,
            "Size": lambda row: size(row.size),
            "Fetched": lambda row: row.fetched_at,
            "Last used": lambda row: row.last_used_at,
            "SHA-256": lambda row: f"{row.sha256[:12]}…",
        }
        more = Link("All in the list", list_url(CachedCrate, q=self.index_file.name))
        return panel_of("Stored files", columns, self.files[: MAX_ROWS + 1], more=more, order="newest")


def is_whole(override: Override) -> bool:
    """Return whether an override blocks all versions."""
    return override.kind == Override.Kind.BLOCKED and override.requirement == "*"


# --- Stored files --------------------------------------------------------------------------------------------------


class StoredFilePage:
    """What the page shows of a stored file: whether clients get it, where it came from, and what went wrong with it."""

    def __init__(self, request: HttpRequest, crate: CachedCrate) -> None:
        self.request = request
        self.crate = crate
        self.index_file = CachedIndexFile.objects.defer("body", "checksums").filter(name=crate.name).first()
        self.page = CratePage(request, self.index_file) if self.index_file else None

    def describe(self) -> Description:
        return Description(list(self.facts()), list(self.panels()))

    def facts(self) -> Iterator[Fact]:
        crate = self.crate
        yield self.standing()
        may_follow = self.index_file and may_view(self.request, CachedIndexFile)
        yield Fact("Mirrored crate", link_to(self.index_file) if may_follow else crate.name)
        yield Fact("Version", Link(crate.version, f"/mirror/crates/{crate.name}/{crate.version}"))
        yield Fact("SHA-256", crate.sha256)
        yield Fact("Size", size(crate.size))
        yield Fact("License", crate.license or "not stated")
        yield Fact("Fetched", crate.fetched_at)
        yield Fact("From", crate.upstream or "an import")
        yield Fact("Last used", f"{crate.last_used_at:%Y-%m-%d}, to the day")
        yield Fact("Downloads of the version", download_counts.total_of_version(crate.name, crate.version))

    def standing(self) -> Fact:
        """Return whether clients get the file, and why not."""
        if self.page is None or self.page.index_file.status != 200:
            return Fact("Not served", "Upstream has no crate of this name any more.", "bad")
        line = next((line for line in self.page.lines if line.version == self.crate.version), None)
        if line is None:
            return Fact("Not served", "Upstream's index has no such version any more.", "bad")
        if line.checksum != self.crate.sha256:
            return Fact("Not served", f"The index names another checksum, {line.checksum}.", "bad")
        active = [override for override in self.page.active if override.blocks(line.version)]
        if active:
            return Fact("Blocked", f"Nobody gets it: {active[0].reason}", "bad")
        if reason := self.page.reasons.get(line.version):
            return Fact("Held back", f"Only builds that have locked it get it. {reason}", "warn")
        return Fact("Standing", "Served", "good")

    def panels(self) -> Iterator[Panel]:
        crate = self.crate
        if may_view(self.request, Incident):
            subjects = Q(subject=crate.name) | Q(subject=str(crate))
            newest = Incident.objects.filter(subjects).order_by(F("settled_at").desc(nulls_first=True), "-last_at")
            yield incident_panel("Incidents", newest[: MAX_ROWS + 1], crate.name)
        if may_view(self.request, Override):
            yield override_panel(overrides_of(crate.name) if self.page is None else self.page.overrides)
        others = CachedCrate.objects.filter(Q(name=crate.name, version=crate.version) | Q(sha256=crate.sha256))
        columns: Mapping[str, Callable[[CachedCrate], Cell]] = {
            "File": lambda row: Link(str(row), object_url(CachedCrate, row.pk)),
            "SHA-256": lambda row: row.sha256,
            "Fetched": lambda row: row.fetched_at,
        }
        same = others.exclude(pk=crate.pk).order_by("-fetched_at")[: MAX_ROWS + 1]
        more = Link("All of the crate", list_url(CachedCrate, q=crate.name))
        yield panel_of("Other files of the version or the checksum", columns, same, more=more, order="newest")
