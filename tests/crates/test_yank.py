"""Yank and unyank: idempotent, and for owners only."""

import json

import pytest

from accounts.models import User
from accounts.principals import Principal
from crates import yanking
from crates.models import Version
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.cast import CargoClient

YANK = "/api/v1/crates/demo/1.0.0/yank"
UNYANK = "/api/v1/crates/demo/1.0.0/unyank"


@pytest.fixture(autouse=True)
def demo(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())


def test_yank_stands_in_the_index(as_alice: CargoClient) -> None:
    assert as_alice.delete(YANK).json() == {"ok": True}
    assert json.loads(as_alice.get("/index/de/mo/demo").content)["yanked"] is True


def test_yank_changes_the_etag(as_alice: CargoClient) -> None:
    before = as_alice.get("/index/de/mo/demo")["ETag"]
    as_alice.delete(YANK)
    assert as_alice.get("/index/de/mo/demo")["ETag"] != before


def test_yank_can_be_repeated(as_alice: CargoClient) -> None:
    assert [as_alice.delete(YANK).status_code for _ in range(2)] == [200, 200]


def test_unyank_undoes_yank(as_alice: CargoClient) -> None:
    before = as_alice.get("/index/de/mo/demo").content
    as_alice.delete(YANK)
    assert as_alice.put(UNYANK).json() == {"ok": True}
    assert as_alice.get("/index/de/mo/demo").content == before


def test_yank_and_unyank_are_recorded(as_alice: CargoClient) -> None:
    as_alice.delete(YANK)
    as_alice.put(UNYANK)
    events = AuditEvent.objects.filter(action__endswith="yank").order_by("pk")
    assert [(event.action, event.actor_name, event.target) for event in events] == [
        ("crate.yank", "alice", "demo@1.0.0"),
        ("crate.unyank", "alice", "demo@1.0.0"),
    ]


def test_unyank_can_be_repeated(as_alice: CargoClient) -> None:
    assert as_alice.put(UNYANK).json() == {"ok": True}


def test_unknown_version_is_missing(as_alice: CargoClient) -> None:
    for path in ("demo/2.0.0", "nothing/1.0.0", "demo/1.0.0+build", "demo/latest"):
        response = as_alice.delete(f"/api/v1/crates/{path}/yank")
        assert (response.status_code, set(response.json())) == (404, {"errors"})


def test_stranger_cannot_yank(as_charlie: CargoClient) -> None:
    response = as_charlie.delete(YANK)
    assert response.status_code == 403
    assert response.json() == {
        "errors": [{"detail": "charlie does not own the crate demo; ask one of its owners (`cargo owner --list`)."}]
    }
    assert not Version.objects.get().yanked


def test_yanked_version_can_still_be_downloaded(as_alice: CargoClient) -> None:
    as_alice.delete(YANK)
    assert as_alice.get("/dl/demo/1.0.0/download").getvalue() == packing.crate()


def test_yanked_version_stays_taken(as_alice: CargoClient) -> None:
    as_alice.delete(YANK)
    body = packing.body(toml=packing.manifest(extra='description = "other"'))
    assert as_alice.publish(body).status_code == 409


def test_build_metadata_is_part_of_the_number(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body(version="2.0.0+a.b"))
    assert as_alice.delete("/api/v1/crates/demo/2.0.0+a.b/yank").json() == {"ok": True}


def test_staff_can_yank_crates_of_others(root: User) -> None:
    assert yanking.set_yanked_as_staff(Version.objects.get(), yanked=True, actor=root)
    assert not yanking.set_yanked_as_staff(Version.objects.get(), yanked=True, actor=root)


def test_case_of_the_name_does_not_count(alice: User) -> None:
    yanking.set_yanked(Principal(alice), "DEMO", "1.0.0", yanked=True)
    assert Version.objects.get().yanked


# --- With a message -----------------------------------------------------------------------------------------------


def change(client: CargoClient, **fields: object) -> tuple[int, bool, str]:
    """Send a PATCH of the version; return the status, and what the version has then."""
    response = client.patch("/api/v1/crates/demo/1.0.0", {"version": fields}, content_type="application/json")
    version = Version.objects.get()
    return response.status_code, version.yanked, version.yank_message


def test_yank_takes_a_message(as_alice: CargoClient) -> None:
    assert change(as_alice, yanked=True, yank_message="broken") == (200, True, "broken")
    assert json.loads(as_alice.get("/index/de/mo/demo").content)["yanked"] is True
    assert AuditEvent.objects.get(action="crate.yank").detail == {"message": "broken"}


def test_message_changes_without_the_index(as_alice: CargoClient) -> None:
    change(as_alice, yanked=True, yank_message="broken")
    before = (Version.objects.get().yanked_at, as_alice.get("/index/de/mo/demo")["ETag"])
    assert change(as_alice, yank_message="very broken") == (200, True, "very broken")
    assert change(as_alice, yank_message=None) == (200, True, "")
    assert (Version.objects.get().yanked_at, as_alice.get("/index/de/mo/demo")["ETag"]) == before


def test_message_goes_with_the_yank(as_alice: CargoClient) -> None:
    change(as_alice, yanked=True, yank_message="broken")
    assert change(as_alice, yanked=True) == (200, True, "broken")
    assert change(as_alice, yanked=False, yank_message=None) == (200, False, "")
    change(as_alice, yanked=True, yank_message="broken")
    as_alice.put(UNYANK)
    as_alice.delete(YANK)
    assert Version.objects.get().yank_message == ""


def test_bad_changes_of_a_version_change_nothing(as_alice: CargoClient) -> None:
    bad = ({"yank_message": "x"}, {"yanked": False, "yank_message": "x"}, {"yanked": "maybe"}, {"yanked": None})
    long = ({"yanked": True, "yank_message": "x" * 1001}, {"yanked": True, "yank_message": "\0"})
    assert [change(as_alice, **fields) for fields in (*bad, *long)] == [(400, False, "")] * 6


def test_stranger_cannot_change_a_version(as_charlie: CargoClient) -> None:
    assert change(as_charlie, yanked=True, yank_message="x") == (403, False, "")
