"""crates.io's API for mirrored crates: answers from what is stored, and refusals of changes."""

import pytest

from accounts.models import User
from tests.support import packing
from tests.support.bad_upstream import BadUpstream
from tests.support.cast import CargoClient
from tests.support.mirror_client import MirrorClient

REFUSAL = {
    "errors": [
        {
            "detail": "This is a mirror, which takes no crates and no changes. Use the registry itself, "
            "sparse+http://testserver/index/: `cargo publish --registry entrepot`."
        }
    ]
}


@pytest.mark.django_db
def test_config_names_the_api_of_the_mirror(anonymous: CargoClient) -> None:
    assert anonymous.get("/mirror/index/config.json").json() == {
        "dl": "http://testserver/ktra/api/v1/mirror",
        "api": "http://testserver/mirror",
    }


def test_publish_to_the_mirror_names_the_registry(mirror: MirrorClient, upstream: BadUpstream, alice: User) -> None:
    response = CargoClient(alice).put("/mirror/api/v1/crates/new", packing.body(), "application/octet-stream")
    assert (response.status_code, response.json()) == (403, REFUSAL)
    assert upstream.requests == []
