"""Incidents: faults of upstream and damage to stored bytes, recorded for staff. The same again is counted in its row.

Faults and wrong bytes are counted by upstream, since anonymous requests cause them and must not grow the table. Changed
checksums are an incident of their crate: staff accept them for one crate at a time.
"""

import logging
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.models import User
from crates.mirror.models import Incident
from crates.mirror.upstreams import UpstreamFault
from registry_site import audit
from registry_site.errors import Conflict
from registry_site.logs import log_event

MAX_CHANGES = 50  # of checksums, so that a row has a few kilobytes


def record_fault(fault: UpstreamFault, *, upstream: str, crate: str, detail: str) -> None:
    """Record what an upstream did as one incident, of the kind of the fault."""
    if fault.kind == Incident.Kind.CHANGED:
        record(fault.kind, crate, str(fault), fault.changes)
        return
    unsettled = Incident.objects.filter(kind=Incident.Kind.CHANGED, subject=crate, settled_at=None)
    if fault.kind == Incident.Kind.WRONG_BYTES and (changed := unsettled.first()):
        # The index file with the new checksum was refused, so these bytes were compared with the old one. The cache of
        # crates looks at the index again, but another request may be doing so.
        record(changed.kind, crate, changed.detail)
    else:
        record(fault.kind, upstream, detail)


def record(kind: str, subject: str, detail: str, changes: Mapping[str, tuple[str, str]] | None = None) -> None:
    """Add an incident, or count it again if staff have not settled the last one.

    `changes` are those of checksums; staff can accept no more than `MAX_CHANGES` of them by the incident.
    """
    log_event("mirror.incident", logging.WARNING, kind=str(kind), subject=subject, detail=detail[:500])
    unsettled = Incident.objects.filter(kind=kind, subject=subject[:300], settled_at=None)
    columns: dict[str, Any] = {"detail": detail[:500]}
    if changes is not None:
        columns["changes"] = changes if len(changes) <= MAX_CHANGES else {}
    change = {"count": F("count") + 1, "last_at": timezone.now(), **columns}
    if unsettled.update(**change):
        return
    try:
        with transaction.atomic():
            Incident.objects.create(kind=kind, subject=subject[:300], **columns)
    except IntegrityError:  # a concurrent request has added it since: the constraint allows one unsettled row
        unsettled.update(**change)


def settle(incidents: QuerySet[Incident], *, actor: User) -> int:
    """Mark incidents as looked at, so that the same again is a new one; return how many were not yet settled."""
    with transaction.atomic():
        unsettled = list(incidents.filter(settled_at=None).select_for_update())
        audit.record_all([audit.new_event(actor, audit.Action.MIRROR_SETTLE, row) for row in unsettled])
        return Incident.objects.filter(pk__in=[row.pk for row in unsettled]).update(settled_at=timezone.now())


def reopen(incident: Incident, *, actor: User) -> bool:
    """Mark a settled incident as open again; raises `Conflict` if there is another open one of its kind."""
    with transaction.atomic():
        locked = Incident.objects.select_for_update().get(pk=incident.pk)
        if locked.settled_at is None:
            return False
        audit.record(actor, audit.Action.MIRROR_REOPEN, locked)
        try:
            with transaction.atomic():
                Incident.objects.filter(pk=incident.pk).update(settled_at=None)
        except IntegrityError as error:
            raise Conflict("The same has happened again since, and that incident is open.") from error
    return True
