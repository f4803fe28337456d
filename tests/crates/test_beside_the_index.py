"""Paths such as `/index.git/`: cargo before 1.96 sends them the token of `/index/` (CVE-2026-5222)."""

from itertools import product

import pytest

from accounts.models import User
from accounts.principals import Principal
from files import clients
from namespaces import membership
from packages.models import Package
from registry_site.http import url_map
from tests.support import packing
from tests.support.bad_upstream import BadUpstream
from tests.support.cast import CargoClient
from tests.support.file_clients import KEY, FileClient, upload_file
from tests.support.mirror_client import MirrorClient

INDEXES = ("index", "mirror/index")
PLANTED = b"planted"  # is in everything that users make below
BESIDE = """
    .git .git/ .git/config.json .git/config .git/HEAD .git/info/refs .git/pl/an/planted .git/1 .git//config.json
    .git/pl/an/planted-too .git/../index/pl/an/planted .GIT/config.json .Git/config.json %2egit/config.json
    .git%2fconfig.json %2Egit%2F1
    /.git/config.json /index.git/config.json /pl/an/planted.git /pl/an/planted.git/config.json /pl/an/planted/.git
    /config.json.git /pl/an.git/planted
"""


def leads_beside(route: str, index: str) -> bool:
    """Return whether a route can match a path under `index` with `.git` behind it; a parameter matches anything."""
    beside = f"{index}.git".split("/")
    served = route.split("/")[: len(beside)]
    return all(own == part or "<" in own or "(" in own for own, part in zip(served, beside, strict=False))


def test_no_route_is_beside_an_index() -> None:
    """Without regard to settings: the admin's last route matches only beneath `admin/`, a file's a number."""
    served = [route for route, _ in url_map.routes() if not route.startswith(("index.git/", "<int:"))]
    roots = {route.removesuffix("/config.json") for route in served if route.endswith("/config.json")}
    assert roots == set(INDEXES)
    assert [route for route, root in product(served, roots) if route and leads_beside(route, root)] == []


@pytest.fixture
def planted(as_alice: CargoClient, alice: User, mirror: MirrorClient, upstream: BadUpstream) -> None:
    """Content of users: a crate, a mirrored one, a package whose name ends in `.git`, and a file for `index.git`."""
    upstream.publish("planted-too", PLANTED)
    assert mirror.index_file("planted-too").status_code == 200
    assert as_alice.publish(packing.body("planted", description="planted")).status_code == 200
    namespace = membership.create_namespace(Principal(alice), "planted.git")
    Package.objects.create(namespace=namespace, name="planted.git", canonical_name="planted.git", field="npm")
    box = FileClient(clients.add_client("box", KEY, actor="test").name, KEY)
    box.log_in()
    for path in ("index.git/config.json", "planted.git/config"):
        assert upload_file(box, "POST", "/", PLANTED, serve_path=path).json()["success"], path


def test_content_of_users_is_not_beside_an_index(planted: None, as_alice: CargoClient, upstream: BadUpstream) -> None:
    before = len(upstream.requests)
    offenders = []
    for slashes, index, rest, accept in product(("/", "//"), INDEXES, BESIDE.split(), ("*/*", "text/html")):
        response = as_alice.get("/", PATH_INFO=f"{slashes}{index}{rest}", headers={"Accept": accept})
        if response.status_code != 404 or PLANTED in response.content:
            offenders.append((slashes, index, rest, accept, response.status_code))
    assert offenders == []
    assert len(upstream.requests) == before


def test_dependency_on_an_index_beside_is_refused(as_alice: CargoClient) -> None:
    for host in ("http://testserver", "http://testserver/mirror"):
        table = f'[dependencies.x]\nversion = "1"\nregistry-index = "sparse+{host}/index.git/"'
        response = as_alice.publish(packing.body(toml=packing.manifest(extra=table)))
        assert (response.status_code, "which is neither this one" in response.json()["errors"][0]["detail"]) == (
            400,
            True,
        )
