"""Every list and page of the admin site where two thousand rows refer to one row, by each of its relations."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection, transaction
from django.db.models import Count, Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse
from pytest_django import DjangoDbBlocker

from accounts import registration
from accounts.models import User
from accounts.ranks import Rank, set_rank
from tests.support import staff_rows
from tests.support.admin import sign_in_to_admin
from tests.support.cast import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.long, pytest.mark.database_independent]

RELATED = 2_000
SIZES = staff_rows.Sizes(
    related=RELATED,
    users=2_050,
    crates=2_010,
    versions=4_010,
    versions_of_busy=RELATED + 1,
    namespaces=2_010,
    packages=2_010,
    credentials=2_010,
    clients=5,
    files=50,
    events=300,
    failures=100,
    mirrored=2_010,
)
# The limits of benchmarks.admin_pages, which has real numbers of rows, and one query more: in the transaction of a test
# each request reads its credential, which a worker has in memory.
MAX_QUERIES, MAX_BYTES = 12, 150_000
READ_ALL = ("root", Rank.AUDITOR)  # of whom each opens everything
PAGE_OF_ROW = re.compile(r"/admin/\w+/\w+/[^/]+/$")
# Relations with few rows for one, such as a key for each cipher, and those that no page follows.
FEW = {
    *("accounts.rolegrant", "admin.logentry", "files.clientkey", "files.dailydownloads", "packages.dailydownloads"),
    *("files.fetchedfile", "registry_site.auditevent", "registry_site.staffrun"),
}


@pytest.fixture(scope="module")
def staff(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, Client]]:
    """An administrator, and staff of each rank, in a registry where each relation leads to one busy row."""
    with django_db_blocker.unblock(), transaction.atomic():
        staff_rows.fill(SIZES)
        root = registration.register("root", PASSWORD, admin=True)
        yield {"root": sign_in_to_admin(root)} | {rank: sign_in_to_admin(of_rank(rank)) for rank in Rank}
        transaction.set_rollback(True)


def of_rank(rank: Rank) -> User:
    user = registration.register(f"of-{rank}", PASSWORD)
    set_rank(user, rank, actor=None)
    return user


def busiest(model: type[Model]) -> set[Any]:
    """Return the keys of the first row of a model, and of those to which the most others refer."""
    keys = {row.pk for row in model._default_manager.order_by("pk")[:1]}
    for relation in model._meta.related_objects:
        if relation.one_to_many:
            counts = relation.related_model._base_manager.order_by().values(relation.field.name)
            most = (
                counts.exclude(**{relation.field.name: None}).annotate(number=Count("pk")).order_by("-number").first()
            )
            keys |= {most[relation.field.name]} if most else set()
    return keys


def pages(model: type[Model]) -> Iterator[str]:
    """Iterate over the list, the pages and the forms of a model."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    yield reverse(f"{name}_changelist")
    for key in busiest(model):
        for view in ("page", "change", "history"):
            try:
                yield reverse(f"{name}_{view}", args=[key])
            except NoReverseMatch:
                continue


def test_lists_and_pages_bear_two_thousand_rows(staff: dict[str, Client]) -> None:
    """Each page costs staff one query more than superusers; those with actions have most on the pages of rows."""
    offenders = []
    paths = [path for model in admin.site._registry for path in pages(model)]
    for name, client in staff.items():
        for path in paths:
            if name not in READ_ALL and not PAGE_OF_ROW.search(path):
                continue
            with CaptureQueriesContext(connection) as queries:
                response = client.get(path)
            size = len(response.content)
            if response.status_code not in (200, 403) or len(queries) > MAX_QUERIES or size > MAX_BYTES:
                offenders.append(f"{name} {path}: {response.status_code}, {len(queries)} queries, {size // 1000} kB")
    assert len(paths) > 50
    assert offenders == []


def test_every_relation_has_its_rows(staff: dict[str, Client]) -> None:
    """A new relation needs rows in tests.support.staff_rows, or the test above would not try it."""
    thin = []
    for model in admin.site._registry:
        for relation in model._meta.related_objects:
            table = relation.related_model._meta.label_lower
            if relation.one_to_many and not relation.hidden and table not in FEW:
                counts = relation.related_model._base_manager.order_by().values(relation.field.name)
                most = counts.annotate(number=Count("pk")).order_by("-number").first()
                if most is None or most["number"] < RELATED:
                    thin.append(f"{table}.{relation.field.name}: {most}")
    assert thin == []
