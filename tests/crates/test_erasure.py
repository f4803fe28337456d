"""A destroyed version leaves no trace: in the database, its files, the blob store, or any answer."""

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.db import connection

from tests.support import packing
from tests.support.mirror_store import query
from tests.support.servers import Server

pytestmark = pytest.mark.long

# The end of a word counts: an index of words stores the beginnings that its neighbours share only once.
SECRET, END = "tokenqzk7wvx", "qzk7wvx"
TOML = f"""
description = "It has {SECRET}."
homepage = "https://example.com/{SECRET}"
keywords = ["{SECRET}"]
categories = ["{SECRET}"]
license-file = "LICENSE"
readme = "README.md"
links = "{SECRET}"
[features]
{SECRET} = []
[dependencies.{SECRET}]
version = "1"
[package.metadata.docs.rs]
features = ["{SECRET}"]
"""
DESTROY = """
from django.db import connection
if connection.vendor == "sqlite":  # some builds of SQLite overwrite what they delete, others do not
    connection.cursor().execute("PRAGMA secure_delete = OFF")
from accounts.models import User
from crates import removal
from crates.models import Version
root = User.objects.filter(is_superuser=True).first()
version = Version.objects.select_related("crate").get(crate__name="demo", number="1.0.0")
removal.remove_version(version, "It has a token.", actor=root)
version.refresh_from_db()
assert removal.destroy_version(version, "It has a token.", actor=root)
"""
TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
}
PATHS = [
    *("/index/de/mo/demo", "/crates/demo", "/dl/demo/1.0.0/download", "/dl/demo/1.0.0/readme"),
    *(f"/api/v1/crates?q={word}" for word in ("demo", SECRET)),
    *(f"/api/v1/crates/demo{path}" for path in ("", "/versions", "/1.0.0", "/1.0.0/dependencies", "/1.0.0/readme")),
]


def get(server: Server, path: str) -> tuple[int, bytes]:
    try:
        with urlopen(f"{server.url}{path}") as response:
            return response.status, response.read()
    except HTTPError as error:
        return error.code, error.read()


def publish(server: Server, token: str, body: bytes) -> None:
    request = Request(f"{server.url}/api/v1/crates/new", body, {"Authorization": token}, method="PUT")
    with urlopen(request) as response:
        assert response.status == 200


def files_with(secret: str, directory: Path) -> list[str]:
    return [str(path) for path in directory.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def places(server: Server) -> dict[str, bool]:
    """Return where the secret can be seen."""
    answers = {path: get(server, path)[1].replace(f"q={SECRET}".encode(), b"") for path in PATHS}
    seen = {path: END.encode() in answer for path, answer in answers.items()}
    tables = query(server, TABLES[connection.vendor])
    return {**seen, "rows": any(END in str(query(server, f'SELECT * FROM "{table}"')) for (table,) in tables)}


def test_destroyed_version_leaves_no_trace(server: Server) -> None:
    token = server.sign_up("alice")
    for number in ("0.1.0", "0.2.0"):
        publish(server, token, packing.body("demo", number))
    files = {"README.md": f"Hello {SECRET}", "LICENSE": SECRET, f"src/{SECRET}.rs": ""}
    crate = packing.crate(toml=packing.manifest(extra=TOML), files=files)
    publish(server, token, packing.frame(packing.metadata(), crate))
    publish(server, token, packing.body("demo", "0.3.0"))
    line = json.loads(get(server, "/index/de/mo/demo")[1].splitlines()[2])
    blob = server.data / "blobs" / line["cksum"][:2] / line["cksum"][2:4] / line["cksum"]
    before = places(server)
    assert blob.exists()
    assert before["rows"], before
    assert sum(before.values()) >= 5, before

    server.manage("shell", "-c", DESTROY)
    destroyed = places(server)
    destroyed.pop("rows")  # tables of an index have deleted words until the purge
    assert not any(destroyed.values()), destroyed
    assert "1 destroyed versions erased." in server.manage("purge")
    purged = places(server)
    assert not any(purged.values()), purged
    assert not blob.exists()
    assert files_with(END, server.data) == []
    assert END not in server.log.read_text()
    assert get(server, "/dl/demo/1.0.0/download")[0] == 410
    assert get(server, "/dl/demo/0.3.0/download")[0] == 200
