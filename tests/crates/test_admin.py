"""The admin site of crates, read and used as staff would."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from crates.models import Crate, Version
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.cast import CargoClient


@pytest.fixture(autouse=True)
def demo(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())


def act(client: Client, action: str, *versions: Version) -> str:
    data = {"action": action, "_selected_action": [version.pk for version in versions]}
    return client.post("/admin/crates/version/", data, follow=True).content.decode()


@pytest.mark.parametrize("model", ["crate", "version", "ownership"])
def test_lists_open_and_search(as_root: Client, model: str) -> None:
    page = as_root.get(f"/admin/crates/{model}/?q=demo")
    assert "demo" in page.content.decode()


@pytest.mark.parametrize("model", ["crate", "version", "ownership"])
def test_lists_take_the_same_queries_for_one_row_and_for_many(
    as_root: Client, as_alice: CargoClient, model: str, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(50) as few:
        as_root.get(f"/admin/crates/{model}/")
    most = len(few)
    for number in range(10):
        as_alice.publish(packing.body(f"crate{number}"))
    with django_assert_max_num_queries(most):
        as_root.get(f"/admin/crates/{model}/")


@pytest.mark.parametrize("model", ["crate", "version", "ownership"])
def test_nothing_is_deleted(as_root: Client, model: str) -> None:
    row = {"crate": Crate.objects, "version": Version.objects, "ownership": Crate.objects.get().ownerships}[model].get()
    assert as_root.post(f"/admin/crates/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_versions_are_yanked_and_unyanked_in_the_index_too(as_root: Client) -> None:
    version = Version.objects.get()
    assert "1 yanked" in act(as_root, "yank", version)
    assert '"yanked":true' in Crate.objects.get().index_text
    assert "1 unyanked" in act(as_root, "unyank", version)
    assert '"yanked":false' in Crate.objects.get().index_text


def test_yank_by_staff_is_recorded_as_theirs(as_root: Client) -> None:
    act(as_root, "yank", Version.objects.get())
    assert AuditEvent.objects.get(action="crate.yank").actor_name == "root"


def owners_form(*rows: dict[str, Any], initial: int = 1) -> dict[str, Any]:
    form = {"ownerships-TOTAL_FORMS": len(rows), "ownerships-INITIAL_FORMS": initial}
    return form | {f"ownerships-{n}-{key}": value for n, row in enumerate(rows) for key, value in row.items()}


def change(client: Client, *rows: dict[str, Any]) -> str:
    crate = Crate.objects.get()
    page = client.post(f"/admin/crates/crate/{crate.pk}/change/", owners_form(*rows), follow=True)
    return page.content.decode()


def held() -> dict[str, Any]:
    ownership = Crate.objects.get().ownerships.get()
    return {"id": ownership.pk, "crate": ownership.crate_id, "user": ownership.user_id}


def test_owner_is_added(as_root: Client, bob: User) -> None:
    change(as_root, held(), {"crate": Crate.objects.get().pk, "user": bob.pk})
    assert {owner.username for owner in Crate.objects.get().owners.all()} == {"alice", "bob"}


def test_owner_is_replaced(as_root: Client, bob: User) -> None:
    change(as_root, {**held(), "DELETE": "on"}, {"crate": Crate.objects.get().pk, "user": bob.pk})
    assert {owner.username for owner in Crate.objects.get().owners.all()} == {"bob"}


def test_last_owner_stays(as_root: Client) -> None:
    assert "would be left without an owner" in change(as_root, {**held(), "DELETE": "on"})
    assert Crate.objects.get().owners.count() == 1


def test_publishers_words_are_escaped(as_root: Client, as_alice: CargoClient) -> None:
    toml = packing.manifest("script", extra='description = "<script>alert(1)</script>"')
    as_alice.publish(packing.body("script", toml=toml))
    version = Version.objects.get(crate__name="script")
    assert "<script>alert" not in as_root.get(f"/admin/crates/version/{version.pk}/change/").content.decode()
