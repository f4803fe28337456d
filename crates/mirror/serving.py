"""Index files as cargo sees them: upstream's bytes, without unavailable versions, and with quarantined ones yanked."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.core.cache import cache

from crates.mirror import crate_cache, index_cache, index_lines, metrics, overrides, policies, upstreams
from crates.mirror.index_lines import Line
from crates.mirror.metrics import OutcomeRecorder, ignore_outcome
from crates.mirror.models import CachedIndexFile
from crates.mirror.overrides import ActiveOverride
from crates.mirror.upstreams import UpstreamFault
from registry_site.errors import NotFound, RegistryError

MAX_LICENSE_FETCHES = 3  # crates; the client waits for all of them


@dataclass(frozen=True)
class RenderedIndexFile:
    """An index file as cargo sees it; `modified` is when upstream changed it, unless the mirror changes it, too."""

    body: bytes
    etag: str
    modified: datetime | None
    ends_at: datetime | None  # when time alone can change it
    depends_on_database: bool  # as it is now, and on time alone, but not on files or upstream


def render_index_file(path: str) -> RenderedIndexFile:
    """Return an index file as cargo sees it; raises as `get_index_file`."""
    outcomes: list[str] = []

    def record_outcome(outcome: str) -> None:
        metrics.record_index_outcome(outcome)
        outcomes.append(outcome)

    index_file = get_index_file(path, record_outcome)
    active = overrides.active_overrides_for(index_file.name)
    # A change of policy or override has no date, so such a body gets no Last-Modified: the ETag alone decides.
    is_changed_here = bool(active or policies.describe() or settings.MIRROR_OFFLINE)
    body, ends = bytes(index_file.body), [override.until for override in active]
    if not settings.MIRROR_OFFLINE:
        ends.append(index_file.stale_at())
    if is_changed_here:
        lines = available_lines(index_file)
        if settings.MIRROR_MIN_AGE_DAYS:  # before the policies look at the clock, or an end in between would be lost
            ends += map(policies.old_enough_at, lines)
        body = index_lines.join(visible_lines(index_file, lines, active))
    return RenderedIndexFile(
        body,
        f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        None if is_changed_here else index_file.changed_at,
        min((end for end in ends if end is not None), default=None),
        # A file that was fetched can have been stored for another request, long before this one read anything.
        depends_on_database=outcomes == ["hit"] and not (settings.MIRROR_LICENSES or settings.MIRROR_ADVISORIES),
    )


def get_index_file(path: str, record_outcome: OutcomeRecorder = ignore_outcome) -> CachedIndexFile:
    """Return the index file of a crate that upstream has.

    Raises `NotFound`, `Gone` or `UnavailableForLegalReasons`, as upstream says, and `UpstreamError`.
    """
    index_file = index_cache.get_or_refresh(path, record_outcome)
    if index_file.status != 200:
        raise upstreams.absence_error(index_file.status)
    return index_file


def visible_lines(index_file: CachedIndexFile, lines: list[Line], active: list[ActiveOverride]) -> list[Line]:
    """Return these lines, the quarantined ones marked as yanked."""
    reasons = quarantine_reasons(index_file, lines, active)
    return [index_lines.mark_yanked(line) if line.version in reasons else line for line in lines]


def available_lines(index_file: CachedIndexFile) -> list[Line]:
    """Return all lines, or only those with a cached crate when the mirror is offline."""
    lines = index_lines.parse(bytes(index_file.body))
    if not settings.MIRROR_OFFLINE:
        return lines
    cached = set(index_file.cached_crates().values_list("version", "sha256"))
    return [line for line in lines if (line.version, line.checksum) in cached]


def quarantine_reasons(
    index_file: CachedIndexFile, lines: list[Line], active: list[ActiveOverride]
) -> policies.Reasons:
    """Return why versions are quarantined, and fetch a few crates if only that tells their licenses."""
    fetcher = LicenseFetcher(index_file)
    return policies.quarantine_reasons(index_file.name, lines, active, fetcher.license_of)


class LicenseFetcher:
    """Licenses of crates that are fetched for one answer: a few at most, and none after a fault of upstream."""

    def __init__(self, index_file: CachedIndexFile) -> None:
        self.index_file = index_file
        self.remaining = MAX_LICENSE_FETCHES

    def license_of(self, line: Line) -> str | None:
        """Return the license of a version, or None if its crate cannot be fetched now."""
        if self.remaining == 0:
            return None
        # A failure is remembered for a while, or each request for this index file would wait for upstream in vain.
        key = f"mirror-license-{line.checksum}"
        failure: str | None = cache.get(key)
        if failure is None:
            try:
                crate, _ = crate_cache.get_or_fetch(self.index_file, line)
            except NotFound:
                failure = "absent"
            except RegistryError as error:
                if not isinstance(error.__cause__, UpstreamFault):  # too many requests wait for upstream just now
                    self.remaining = 0
                    return None
                failure = "fault"
            else:
                self.remaining -= 1
                return crate.license
            cache.set(key, failure, index_cache.RETRY_AFTER_FAULT.total_seconds())
        self.remaining = 0 if failure == "fault" else self.remaining - 1
        return None
