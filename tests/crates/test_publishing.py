"""`PUT /api/v1/crates/new`: publish a version, and the traces of it."""

import json
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from accounts.credentials import cargo_tokens
from accounts.models import User
from accounts.principals import Principal
from crates import ownership, publishing
from crates.models import Crate, Version
from registry_site.errors import Conflict, PermissionDenied, TooManyRequests
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.cast import CargoClient

MAX_STATEMENTS = 30  # with savepoints, and with locks on PostgreSQL


def test_publisher_becomes_the_owner(as_alice: CargoClient, alice: User) -> None:
    response = as_alice.publish(packing.body())
    assert response.status_code == 200
    assert set(response.json()) == {"warnings"}
    assert [owner.username for owner in Crate.objects.get().owners.all()] == ["alice"]


def test_published_version_stands_in_the_index_at_once(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    line = json.loads(as_alice.get("/index/de/mo/demo").content)
    assert line["vers"] == "1.0.0"
    assert line["cksum"] == Version.objects.get().checksum


def test_published_bytes_come_back(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    download = as_alice.get("/dl/demo/1.0.0/download")
    assert download.getvalue() == packing.crate()


def test_publish_is_recorded(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    event = AuditEvent.objects.get(action="crate.publish")
    assert (event.actor_name, event.target) == ("alice", "demo@1.0.0")


def test_same_bytes_again_succeed(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    assert as_alice.publish(packing.body()).status_code == 200
    assert Version.objects.count() == 1


def test_bytes_of_a_version_are_not_read_again(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    data = b"no archive, which a reader would refuse"
    Version.objects.update(checksum=sha256(data).hexdigest())
    assert as_alice.publish(packing.frame(packing.metadata("demo", "1.0.0"), data)).status_code == 200


def test_other_bytes_are_refused(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())
    response = as_alice.publish(packing.body(toml=packing.manifest(extra='description = "other"')))
    assert response.status_code == 409
    assert "already exists" in response.json()["errors"][0]["detail"]


def test_stranger_cannot_publish_a_version(as_alice: CargoClient, as_charlie: CargoClient) -> None:
    as_alice.publish(packing.body())
    assert as_charlie.publish(packing.body(version="2.0.0")).status_code == 403
    assert Version.objects.count() == 1


def test_anonymous_publish_gets_the_login_url(anonymous: CargoClient) -> None:
    response = anonymous.publish(packing.body())
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Cargo login_url="http://testserver/me"'
    assert set(response.json()) == {"errors"}


@override_settings(MAX_CRATE_SIZE=100)
def test_oversize_crate_is_refused(as_alice: CargoClient) -> None:
    assert as_alice.publish(packing.body()).status_code == 413
    assert not Crate.objects.exists()


@override_settings(MIN_FREE_SPACE=10**15)
def test_publish_needs_free_space(as_alice: CargoClient, blob_directory: Path) -> None:
    body = packing.body()
    for length in (len(body), 2 * 1024 * 1024):  # the second is refused unread
        announced: Any = {"CONTENT_LENGTH": str(length)}
        response = as_alice.put("/api/v1/crates/new", body, content_type="application/octet-stream", **announced)
        assert (response.status_code, response["Retry-After"], set(response.json())) == (503, "60", {"errors"})
    assert not Crate.objects.exists()
    assert count_blobs(blob_directory) == 0


@override_settings(PUBLISH_LIMIT_PER_10_SECONDS=2)
def test_publish_rate_is_limited(as_alice: CargoClient) -> None:
    statuses = [as_alice.publish(packing.body(version=f"1.0.{n}")).status_code for n in range(3)]
    assert statuses == [200, 200, 429]


# --- Checks before the upload is read, and again after it -------------------------------------------------------


def count_blobs(directory: Path) -> int:
    return sum(path.is_file() for path in directory.rglob("*"))


@override_settings(PUBLISH_LIMIT_PER_10_SECONDS=1)
def test_early_refusal_stores_no_blob(as_alice: CargoClient, as_charlie: CargoClient, blob_directory: Path) -> None:
    as_alice.publish(packing.body())
    stored = count_blobs(blob_directory)
    assert stored > 0
    assert as_charlie.publish(packing.body(version="2.0.0")).status_code == 403
    assert as_charlie.publish(packing.body("DEMO", "2.0.0")).status_code == 409
    assert as_alice.publish(packing.body(version="2.0.0")).status_code == 429
    assert count_blobs(blob_directory) == stored


def publish_interrupted(user: User, event: Callable[[], None]) -> None:
    """Publish demo@2.0.0; the event happens just before the last byte of the upload."""
    body = packing.body(version="2.0.0")
    publishing.publish(Principal(user), packing.InterruptedUpload(body, event), len(body))


def test_owner_removed_during_the_upload_cannot_publish(as_alice: CargoClient, alice: User, bob: User) -> None:
    as_alice.publish(packing.body())
    as_alice.put_json("/api/v1/crates/demo/owners", {"users": ["bob"]})
    with pytest.raises(PermissionDenied):
        publish_interrupted(bob, lambda: ownership.remove(Principal(alice), "demo", ["bob"]))
    assert Version.objects.count() == 1


def test_crate_created_during_the_upload_is_respected(as_alice: CargoClient, bob: User) -> None:
    with pytest.raises(PermissionDenied):
        publish_interrupted(bob, lambda: as_alice.publish(packing.body()))
    assert [owner.username for owner in Crate.objects.get().owners.all()] == ["alice"]


def test_other_spelling_created_during_the_upload_is_respected(as_alice: CargoClient, alice: User) -> None:
    with pytest.raises(Conflict, match="the same name as Demo"):
        publish_interrupted(alice, lambda: as_alice.publish(packing.body("Demo")))
    assert Version.objects.count() == 1


@override_settings(PUBLISH_LIMIT_PER_10_SECONDS=1)
def test_rate_is_checked_after_the_upload(as_alice: CargoClient, alice: User) -> None:
    with pytest.raises(TooManyRequests):
        publish_interrupted(alice, lambda: as_alice.publish(packing.body()))
    assert Version.objects.count() == 1


def test_publish_rate_is_counted_for_each_user(as_alice: CargoClient, as_bob: CargoClient) -> None:
    with override_settings(PUBLISH_LIMIT_PER_10_SECONDS=1):
        assert [as_alice.publish(packing.body()).status_code, as_bob.publish(packing.body("b")).status_code] == [
            200,
            200,
        ]
        Version.objects.update(published_at=timezone.now() - timedelta(seconds=11))
        assert as_alice.publish(packing.body(version="2.0.0")).status_code == 200
    with override_settings(PUBLISH_LIMIT_PER_10_SECONDS=0):
        assert as_alice.publish(packing.body(version="3.0.0")).status_code == 200


# --- Scopes of tokens -------------------------------------------------------------------------------------------

ACTIONS: dict[str, Callable[[CargoClient], Any]] = {
    "publish": lambda client: client.publish(packing.body(version="2.0.0")),
    "yank": lambda client: client.delete("/api/v1/crates/demo/1.0.0/yank"),
    "unyank": lambda client: client.put("/api/v1/crates/demo/1.0.0/unyank"),
    "add owners": lambda client: client.put_json("/api/v1/crates/demo/owners", {"users": ["bob"]}),
    "remove owners": lambda client: client.delete_json("/api/v1/crates/demo/owners", {"users": ["bob"]}),
}


@pytest.mark.parametrize("scope", ["publish", "yank", "owners"])
def test_token_allows_its_scope_only(as_alice: CargoClient, alice: User, bob: User, scope: str) -> None:
    as_alice.publish(packing.body())
    client = CargoClient(token=cargo_tokens.create(alice, scope, (scope,)))
    statuses = {action: act(client).status_code for action, act in ACTIONS.items()}
    assert statuses == {action: 200 if scope in action else 403 for action in ACTIONS}


def test_publish_takes_few_statements(as_alice: CargoClient, django_assert_max_num_queries: Any) -> None:
    as_alice.publish(packing.body("other"))
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        with django_assert_max_num_queries(MAX_STATEMENTS):
            assert as_alice.publish(packing.body(version=version)).status_code == 200
