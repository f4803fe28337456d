"""Queries that are compiled once."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q, QuerySet
from django.test.utils import CaptureQueriesContext

from accounts import registration
from accounts.models import User
from crates.models import Crate, Ownership
from registry_site.compiled_queries import compiled
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


def test_changed_arguments_are_refused(alice: User) -> None:
    @compiled
    def named(name: str) -> QuerySet[Crate]:
        return Crate.objects.filter(name=name.upper())

    with pytest.raises(TypeError, match="changes an argument"):
        named("one")
