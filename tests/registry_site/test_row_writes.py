"""Writes of single rows."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from registry_site.audit import Action
from registry_site.models import AuditEvent, StoredBlob
from registry_site.row_writes import insert, update

pytestmark = pytest.mark.django_db


def event(target: str) -> AuditEvent:
    return AuditEvent(at=timezone.now(), action=Action.CRATE_PUBLISH, target=target, detail={"size": 1, "a": ["ü"]})


def stored(row: AuditEvent) -> dict[str, Any]:
    return dict(AuditEvent.objects.filter(pk=row.pk).values().get())


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
