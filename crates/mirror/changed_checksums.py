"""Changed checksums: staff accept those of an incident, exactly as it names them, and take that back."""

from collections.abc import Iterable, Mapping

from django.db import transaction

from accounts.models import User
from crates import names
from crates.mirror import incidents, index_cache, summaries
from crates.mirror.models import CachedIndexFile, Incident
from registry_site import audit
from registry_site.errors import Conflict, Invalid, NotFound

MAX_RECORDED = 20  # versions that an event names
NAMED_BY_INCIDENT = "An open incident names the checksums that changed: accept these on the incident's page."


def refusal_of(incident: Incident) -> str:
    """Return why nothing can be accepted in an incident, or an empty text."""
    if incident.kind != Incident.Kind.CHANGED:
        return "No checksum changed in it."
    if incident.settled_at is not None:
        return "It is settled."
    if not incident.changes:
        return (
            f"It does not say which checksums changed: they are more than {incidents.MAX_CHANGES}, or an older release "
            "recorded it. Take the checksums that upstream has now, on the page of the crate."
        )
    return ""


def refusals_of_crates(actor: User, index_files: Iterable[CachedIndexFile]) -> dict[int, str]:
    """Return why whatever upstream has cannot be accepted for crates, by their keys: an incident names what changed."""
    keys = {index_file.name: index_file.pk for index_file in index_files}
    unsettled = Incident.objects.filter(kind=Incident.Kind.CHANGED, subject__in=keys, settled_at=None)
    subjects = unsettled.exclude(changes={}).values_list("subject", flat=True)
    return {keys[subject]: NAMED_BY_INCIDENT for subject in subjects}


def accept_any(index_file: CachedIndexFile, *, reason: str, actor: User) -> bool:
    """Accept whatever checksums upstream has at the next request; raises `Conflict` if an incident names them.

    Raises `NotFound`, too.
    """
    with transaction.atomic():
        locked = lock_index_file(index_file.name)
        if refusal := refusals_of_crates(actor, [locked]).get(locked.pk):
            raise Conflict(refusal)
        expect(locked, {})
        audit.record(actor, audit.Action.MIRROR_ACCEPT, locked, reason=reason)
    return True


def may_be_taken_back(incident: Incident) -> bool:
    """Return whether changes of an incident may have been accepted; `take_back` knows whether they were."""
    return incident.settled_at is not None and bool(incident.changes)


def describe(incident: Incident) -> list[str]:
    """Return a sentence for each version whose checksum changed, with both."""
    since = f"{incident.first_at:%Y-%m-%d %H:%M} UTC"
    return [f"{version} was {old}, and is {new} since {since}." for version, (old, new) in incident.changes.items()]


def accept(incident: Incident, *, reason: str, actor: User) -> bool:
    """Accept the new checksums that an incident names, and settle it; raises `Invalid`, `Conflict` and `NotFound`.

    Upstream is asked again at the next request. A checksum that has changed once more by then is a new incident.
    """
    if incident.settled_at is not None:
        return False
    if refusal := refusal_of(incident):
        raise Invalid(refusal)
    with transaction.atomic():
        index_file = lock_index_file(incident.subject)
        changes = lock_changes(incident)
        for version, (old, new) in changes.items():
            if index_file.checksums.get(version, old) not in (old, new):
                raise Conflict(f"The checksum of {version} is no longer what it was in this incident.")
        expect(index_file, index_file.checksums | {version: new for version, (_, new) in changes.items()})
        record(actor, audit.Action.MIRROR_ACCEPT, index_file, changes, reason=reason)
        return incidents.settle(Incident.objects.filter(pk=incident.pk), actor=actor) > 0


def take_back(incident: Incident, *, actor: User) -> bool:
    """Expect the former checksums again, and open the incident again; raises `Conflict` and `NotFound`.

    Only until upstream's new index file is stored: the former one is gone then.
    """
    with transaction.atomic():
        index_file = lock_index_file(incident.subject)
        changes = lock_changes(incident)
        if not changes or any(index_file.checksums.get(version) != new for version, (_, new) in changes.items()):
            raise Conflict("The new checksums of this incident are not what is expected now.")
        if any(changes.get(line.version, ("", ""))[1] == line.checksum for line in summaries.lines_of(index_file)):
            raise Conflict(
                "The new checksums are served by now, and the former index file is gone. Block the versions."
            )
        incidents.reopen(incident, actor=actor)
        expect(index_file, index_file.checksums | {version: old for version, (old, _) in changes.items()})
        record(actor, audit.Action.MIRROR_TAKE_BACK, index_file, changes)
        return True


def lock_index_file(name: str) -> CachedIndexFile:
    """Lock and return the index file of a crate; raises `NotFound`."""
    rows = CachedIndexFile.objects.select_for_update().defer("body")
    index_file = rows.filter(path=names.index_path(name)).first()
    if index_file is None:
        raise NotFound(f"The mirror has no crate {name} any more.")
    return index_file


def lock_changes(incident: Incident) -> dict[str, list[str]]:
    """Lock an incident, and return its changes; raises `Conflict` if they are not what `incident` says."""
    locked = Incident.objects.select_for_update().get(pk=incident.pk)
    if (locked.changes, locked.settled_at) != (incident.changes, incident.settled_at):
        raise Conflict("Upstream has changed again, or somebody was quicker. Look at the incident again.")
    changes: dict[str, list[str]] = locked.changes
    return changes


def expect(index_file: CachedIndexFile, checksums: Mapping[str, str]) -> None:
    """Expect these checksums alone from now on, and ask upstream for the whole file at the next request."""
    index_file.checksums = checksums
    # Without validators upstream sends the whole file, and not 304.
    index_file.checked_at, index_file.etag, index_file.last_modified = index_cache.EPOCH, "", ""
    index_file.save(update_fields=["checksums", "checked_at", "etag", "last_modified"])


def record(
    actor: User, action: audit.Action, index_file: CachedIndexFile, changes: Mapping[str, list[str]], **detail: str
) -> None:
    shown = [f"{version} was {old} and is {new}" for version, (old, new) in list(changes.items())[:MAX_RECORDED]]
    audit.record(actor, action, index_file, versions=shown, count=len(changes), **detail)
