"""Renovate, unmodified, looks for updates of a project that uses a registry and its mirror; both require a token."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.support import packing
from tests.support.cargo import write_files
from tests.support.servers import Server, running

RENOVATE = Path("/opt/renovate/node_modules")

pytestmark = [
    pytest.mark.skipif(not RENOVATE.exists(), reason="run .ci/renovate /opt/renovate"),
    pytest.mark.database_independent,
    pytest.mark.long,
]

MANIFEST = """
[package]
name = "project"
version = "0.1.0"
[dependencies]
Our-Crate = { version = "=1.0.0", registry = "priv" }
Mirrored-Crate = "=1.0.0"
"""
CARGO_CONFIG = """
[registries.priv]
index = "sparse+{url}/index/"
[source.crates-io]
replace-with = "mirror"
[source.mirror]
registry = "sparse+{url}/mirror/index/"
"""
LINKS = """
description = "A crate of the tests"
homepage = "https://{name}.example.org"
repository = "https://git.example.org/{name}"
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A registry with a crate of its own and a mirrored one, which somebody has downloaded, and a token for it."""
    directory = tmp_path_factory.mktemp("renovate")
    with running(directory / "upstream", REGISTRY_MIRROR="off", REGISTRY_WORKERS="1") as upstream:
        publish_releases(upstream, upstream.sign_up("bob"), "Mirrored-Crate")
        settings = {"REGISTRY_AUTH_REQUIRED": "1", "REGISTRY_MIRROR_UPSTREAM": f"sparse+{upstream.url}/index/"}
        with running(directory / "data", **settings) as server:
            token = server.sign_up("alice")
            publish_releases(server, token, "Our-Crate")
            download = f"{server.url}/ktra/api/v1/mirror/Mirrored-Crate/1.0.0/download"
            urlopen(Request(download, headers={"Authorization": token})).close()
            yield server, token


def publish_releases(server: Server, token: str, name: str) -> None:
    for version in ("1.0.0", "1.1.0"):
        toml = packing.manifest(name, version, LINKS.format(name=name))
        body = packing.frame(packing.metadata(name, version), packing.crate(name, version, toml))
        request = Request(f"{server.url}/api/v1/crates/new", body, {"Authorization": token}, method="PUT")
        urlopen(request).close()


@pytest.fixture(scope="module")
def dependencies(registry: tuple[Server, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The dependencies of the project, by their names, as Renovate reports them."""
    server, token = registry
    directory = tmp_path_factory.mktemp("project")
    files = {"Cargo.toml": MANIFEST, ".cargo/config.toml": CARGO_CONFIG.format(url=server.url)}
    report = look_for_updates(write_files(directory / "project", files), directory, server, token)
    (manifest,) = report["repositories"]["local"]["packageFiles"]["cargo"]
    return {dependency["depName"]: dependency for dependency in manifest["deps"]}


def look_for_updates(project: Path, directory: Path, server: Server, token: str) -> Any:
    """Run Renovate in the project, and return its report."""
    report = directory / "report.json"
    config = {
        "platform": "local",
        "enabledManagers": ["cargo"],
        "hostRules": [{"matchHost": server.url, "token": token, "authType": "Token-Only"}],
        "reportType": "file",
        "reportPath": str(report),
        "baseDir": str(directory / "base"),
    }
    process = subprocess.run(
        [RENOVATE / ".bin/node", RENOVATE / "renovate/dist/renovate.js"],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "RENOVATE_CONFIG": json.dumps(config)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stdout
    return json.loads(report.read_text())


@pytest.mark.parametrize("name", ["Our-Crate", "Mirrored-Crate"])
def test_update_has_links_and_times(dependencies: dict[str, dict[str, Any]], name: str) -> None:
    dependency = dependencies[name]
    (update,) = dependency["updates"]
    assert (update["newVersion"], dependency["sourceUrl"], dependency["homepage"]) == (
        "1.1.0",
        f"https://git.example.org/{name}",
        f"https://{name}.example.org",
    )
    assert update["releaseTimestamp"] >= dependency["currentVersionTimestamp"]
