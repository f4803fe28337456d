"""Names that staff reserve: no new crate may have them."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from crates import reserved_names
from crates.models import Crate, ReservedName
from registry_site.errors import Conflict, Invalid
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.admin import run_action
from tests.support.cast import CargoClient

PAGE = "/admin/crates/reservedname/"


def publish(client: CargoClient, name: str, version: str = "1.0.0") -> tuple[int, str]:
    response = client.publish(packing.body(name, version))
    return response.status_code, "" if response.status_code == 200 else response.json()["errors"][0]["detail"]


def test_reserved_name_is_refused_with_the_reason(as_alice: CargoClient) -> None:
    reserved_names.reserve("Acme-Core", "Ask the core team.", actor=None)
    for name in ("acme-core", "ACME_core"):
        assert publish(as_alice, name) == (403, f"The crate name {name} is reserved here: Ask the core team.")
    assert publish(as_alice, "acme-core2")[0] == 200


def test_pattern_reserves_all_that_match(as_alice: CargoClient) -> None:
    reserved_names.reserve("acme-*", "It is ours.", actor=None)
    statuses = {"acme-a": 403, "Acme_b-c": 403, "acme-": 403, "acme": 200, "xacme-a": 200}
    assert {name: publish(as_alice, name)[0] for name in statuses} == statuses


def test_crates_that_exist_go_on(as_alice: CargoClient) -> None:
    publish(as_alice, "acme-a")
    reserved_names.reserve("acme-*", "It is ours.", actor=None)
    assert publish(as_alice, "acme-a", "2.0.0") == (200, "")


def test_bad_patterns_are_refused(db: None) -> None:
    for pattern in ("", "*", "**", "a b", "é", "a?", "[ab]", "x" * 65, "a/b", "a\n"):
        with pytest.raises(Invalid):
            reserved_names.reserve(pattern, "no", actor=None)
    reserved_names.reserve("a-*", "once", actor=None)
    with pytest.raises(Conflict):
        reserved_names.reserve("A_**", "twice", actor=None)


def test_check_takes_one_query(db: None, django_assert_num_queries: Any) -> None:
    for number in range(5):
        reserved_names.reserve(f"name{number}-*", "no", actor=None)
    with django_assert_num_queries(1):
        reserved_names.check("free")


def test_staff_reserve_and_release_a_name(as_root: Client, root: User) -> None:
    assert as_root.post(f"{PAGE}add/", {"pattern": "Acme-*", "reason": "It is ours."}).status_code == 302
    reserved = ReservedName.objects.get()
    assert (reserved.pattern, reserved.reserved_by) == ("acme_*", root)
    for pattern in ("acme_*", "*", "a b"):
        page = as_root.post(f"{PAGE}add/", {"pattern": pattern, "reason": "It is ours."})
        assert page.context["adminform"].form.errors.keys() == {"pattern"}, pattern
    assert "1 released" in run_action(as_root, PAGE, "release", reserved)
    events = AuditEvent.objects.filter(action__contains="_name").order_by("pk").values_list("action", "target")
    assert list(events) == [("crate.reserve_name", "acme_*"), ("crate.release_name", "acme_*")]
    assert not Crate.objects.exists()
