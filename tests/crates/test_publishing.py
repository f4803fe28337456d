"""`PUT /api/v1/crates/new`: publish a version, and the traces of it."""

import json

from django.test import override_settings

from accounts.models import User
from crates.models import Crate, Version
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.cast import CargoClient


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


@override_settings(PUBLISH_LIMIT_PER_10_SECONDS=2)
def test_publish_rate_is_limited(as_alice: CargoClient) -> None:
    statuses = [as_alice.publish(packing.body(version=f"1.0.{n}")).status_code for n in range(3)]
    assert statuses == [200, 200, 429]
