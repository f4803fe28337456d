"""Queries that are compiled once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q, QuerySet, Value
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import registration
from accounts.models import User
from crates.models import Crate, Ownership
from registry_site.audit import Action
from registry_site.compiled_queries import compiled
from registry_site.models import AuditEvent
from tests.support.crate_rows import Listing, create_crates

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    alice = registration.register("alice", "correct horse")
    create_crates([Listing("one"), Listing("two"), Listing("three")], alice)
    Ownership.objects.create(crate=Crate.objects.get(name="one"), user=alice)
    return alice


@compiled
def crates_named(names: Sequence[str]) -> QuerySet[Crate]:
    return Crate.objects.filter(canonical_name__in=names).order_by("name")


@compiled
def ownerships_of(crate: int, login: str) -> QuerySet[Ownership]:
    rows = Ownership.objects.filter(crate=crate, user__username=login)
    return rows.select_related("crate", "added_by").only("crate__name", "added_by__username", "added_at")


@compiled
def times_of(names: Sequence[str]) -> QuerySet[Crate, tuple[Any, ...]]:
    return Crate.objects.filter(name__in=names).order_by("pk").values_list("created_at", "default_version__keywords")


@compiled
def keys_except(number: int, names: Sequence[str]) -> QuerySet[Crate, int]:
    return Crate.objects.filter(~Q(pk=number), name__in=names).values_list("pk", flat=True)


@compiled
def events_until(target: str, end: datetime) -> QuerySet[AuditEvent]:
    return AuditEvent.objects.filter(target__startswith=Value(target), at__lte=end).order_by("target")


@compiled
def events_at(times: Sequence[datetime]) -> QuerySet[AuditEvent, str]:
    return AuditEvent.objects.filter(at__in=times).order_by("target").values_list("target", flat=True)


def events(*targets: str) -> list[AuditEvent]:
    now = timezone.now()
    return AuditEvent.objects.bulk_create(
        AuditEvent(at=now - timedelta(hours=number), action=Action.CRATE_PUBLISH, target=target, detail={"a": ["ü"]})
        for number, target in enumerate(targets)
    )


def test_each_call_has_values_of_its_own(alice: User) -> None:
    for names in (["one"], ["two"], ["one", "three", "two"], ["none"], [], ["one"]):
        assert crates_named(names) == list(Crate.objects.filter(name__in=names).order_by("name"))


def test_rows_have_their_relations(alice: User) -> None:
    crate = Crate.objects.get(name="one")
    with CaptureQueriesContext(connection) as queries:
        [ownership] = ownerships_of(crate.pk, "alice")
        assert (ownership.crate.name, ownership.added_by) == ("one", None)
    assert len(queries) == 1
    assert "user_id" in ownership.get_deferred_fields()


def test_values_are_converted(alice: User) -> None:
    names = ["one", "two"]
    rows = Crate.objects.filter(name__in=names).order_by("pk").values_list("created_at", "default_version__keywords")
    assert [tuple(row) for row in times_of(names)] == list(rows)


def test_numbers_and_texts_find_their_places(alice: User) -> None:
    one, three = Crate.objects.get(name="one"), Crate.objects.get(name="three")
    assert keys_except(one.pk, ["one", "three"]) == [three.pk]


def test_texts_of_a_prefix_stand_for_themselves() -> None:
    events("50%", "50%a", "50_a")
    for prefix, targets in {"50%": ["50%", "50%a"], "50_": ["50_a"], "x": []}.items():
        rows = events_until(prefix, timezone.now())
        assert [row.target for row in rows] == targets
        assert all(row.detail == {"a": ["ü"]} and not row._state.adding for row in rows)


def test_times_are_those_of_the_call() -> None:
    now, earlier = (row.at for row in events("5a", "5b"))
    assert [row.target for row in events_until("5", earlier)] == ["5b"]
    assert events_at([earlier]) == ["5b"]
    assert events_at([now, earlier]) == ["5a", "5b"]


def test_changed_arguments_are_refused(alice: User) -> None:
    @compiled
    def named(name: str) -> QuerySet[Crate]:
        return Crate.objects.filter(name=name.upper())

    with pytest.raises(TypeError, match="changes an argument"):
        named("one")
