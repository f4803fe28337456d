"""Statements whose SQL is written once."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import CharField, DateTimeField
from django.utils import timezone

from registry_site.audit import Action
from registry_site.models import AuditEvent, StoredBlob
from registry_site.prepared import Parameter, PreparedRows, insert, update

pytestmark = pytest.mark.django_db


def event(target: str) -> AuditEvent:
    return AuditEvent(at=timezone.now(), action=Action.CRATE_PUBLISH, target=target, detail={"size": 1, "a": ["ü"]})


def stored(row: AuditEvent) -> dict[str, Any]:
    return dict(AuditEvent.objects.filter(pk=row.pk).values().get())


def test_rows_are_those_of_the_values() -> None:
    events = PreparedRows(
        AuditEvent,
        lambda: AuditEvent.objects.filter(
            target__startswith=Parameter("target", CharField()), at__lte=Parameter("now", DateTimeField())
        ),
    )
    rows = [event(target) for target in ("50%a", "50_a", "50%")]
    AuditEvent.objects.bulk_create(rows)
    for prefix, targets in {"50%": ["50%", "50%a"], "50_": ["50_a"], "x": []}.items():
        selected = events.all(target=prefix, now=timezone.now())
        assert sorted(row.target for row in selected) == targets
        assert all(row.detail == rows[0].detail and not row._state.adding for row in selected)


def test_inserted_row_is_what_save_stores(django_assert_num_queries: Any) -> None:
    saved, inserted = event("same"), event("same")
    inserted.at = saved.at
    saved.save()
    with django_assert_num_queries(1):
        insert(inserted)
    assert stored(saved) | {"id": 0} == stored(inserted) | {"id": 0}
    inserted.target = "other"
    inserted.save()  # the row is known as stored
    assert stored(inserted)["target"] == "other"


def test_update_tells_whether_there_is_a_row() -> None:
    blob = StoredBlob(sha256="0" * 64, size=1)
    assert not update(blob, ["size"])
    insert(blob)
    blob.size = 2
    assert update(blob, ["size"])
    assert StoredBlob.objects.get().size == 2


def test_second_row_of_a_key_is_refused() -> None:
    insert(StoredBlob(sha256="0" * 64, size=1))
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(StoredBlob(sha256="0" * 64, size=1))
