"""What staff should look at; the same again is counted, and not written down again and again."""

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from crates.mirror.models import Incident


def record(kind: Incident.Kind, subject: str, detail: str) -> None:
    open_one = Incident.objects.filter(kind=kind, subject=subject[:300], settled_at=None)
    change = {"count": F("count") + 1, "last_at": timezone.now(), "detail": detail[:500]}
    if open_one.update(**change):
        return
    try:
        with transaction.atomic():
            Incident.objects.create(kind=kind, subject=subject[:300], detail=detail[:500])
    except IntegrityError:  # somebody else was first
        open_one.update(**change)


def settle(incidents: QuerySet[Incident]) -> int:
    """Somebody has looked at them: the same again is a new one."""
    return incidents.filter(settled_at=None).update(settled_at=timezone.now())
