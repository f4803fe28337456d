"""Versions of cargo that Debian has beside the installed one, at a registry and its mirror.

The oldest is from before sparse registries were stable: it needs an unstable flag.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.support import packing
from tests.support.cargo import DEBIAN_CARGOS, DebianCargo, write_files
from tests.support.servers import Server, running

VERSIONS = sorted(path.name for path in DEBIAN_CARGOS.glob("*"))

pytestmark = [
    pytest.mark.skipif(not VERSIONS, reason="run .ci/debian-cargo /opt/debian-cargo"),
    pytest.mark.database_independent,
    pytest.mark.long,
]

MANIFEST = """
[package]
name = "%s"
version = "1.0.0"
edition = "2021"
description = "A crate of the tests"
license = "MIT"
"""
# What generations of cargo write differently into the packed manifest, or into the JSON beside it.
ODDITIES = """
rust-version = "1.60"
readme = "src/../README.md"
links = "foo bar/baz@2"
[features]
extra = ["twin/std"]
weak = ["other?/std", "dep:other"]
[dependencies.twin]
package = "from-mirror"
version = "1"
features = ["std"]
[target.'cfg(any(unix,))'.dependencies]
other = { package = "from-mirror", version = "^1.0", optional = true, default-features = false }
"""
EXPECTED: dict[str, Any] = {
    "rust_version": "1.60",
    "links": "foo bar/baz@2",
    "features": {"extra": ["twin/std"]},
    "features2": {"weak": ["other?/std", "dep:other"]},
}
DEPENDENCIES: list[dict[str, Any]] = [
    {"name": "twin", "package": "from-mirror", "req": "^1", "target": None, "optional": False},
    {"name": "other", "package": "from-mirror", "req": "^1.0", "target": "cfg(any(unix,))", "optional": True},
]
SENTENCE = "made by cargo, on one from the mirror"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry that mirrors another one, which has the crate `from-mirror`."""
    directory = tmp_path_factory.mktemp("other-cargos")
    with running(directory / "upstream", REGISTRY_MIRROR="off") as upstream:
        source = {"src/lib.rs": 'pub fn name() -> &\'static str { "one from the mirror" }'}
        toml = packing.manifest("from-mirror", extra="[features]\nstd = []")
        crate = packing.crate("from-mirror", toml=toml, files=source)
        body, headers = packing.frame(packing.metadata("from-mirror"), crate), {"Authorization": upstream.sign_up("up")}
        urlopen(Request(f"{upstream.url}/api/v1/crates/new", body, headers, method="PUT")).close()
        with running(directory / "data", REGISTRY_MIRROR_UPSTREAM=f"sparse+{upstream.url}/index/") as server:
            server.sign_up("bob")
            server.sign_up("carol")
            yield server


class Publisher:
    """A cargo of one version, and the crate that it has published."""

    def __init__(self, directory: Path, version: str, server: Server) -> None:
        number = version.replace(".", "-")
        self.directory, self.version, self.server = directory, version, server
        self.crate = f"made-by-{number}"
        self.cargo = DebianCargo(directory / "home", version, server, server.sign_up(f"alice-{number}"))
        source = 'pub fn name() -> String { format!("made by cargo, on {}", twin::name()) }'
        files = {"Cargo.toml": MANIFEST % self.crate + ODDITIES, "src/lib.rs": source, "build.rs": "fn main() {}"}
        files["README.md"] = "Read me"
        self.output = self.at_registry("publish", "--allow-dirty", at=write_files(directory / "crate", files))

    def at_registry(self, command: str, *arguments: str, at: Path | None = None) -> str:
        return self.cargo.run(at or self.directory, command, "--registry", "priv", *arguments)

    def index_line(self) -> dict[str, Any]:
        with urlopen(f"{self.server.url}/index/ma/de/{self.crate}") as response:
            line: dict[str, Any] = json.load(response)
        return line


@pytest.fixture(scope="module", params=VERSIONS)
def publisher(request: pytest.FixtureRequest, registry: Server, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    return Publisher(tmp_path_factory.mktemp("publisher"), request.param, registry)


def test_published_crate_is_found(publisher: Publisher) -> None:
    assert f'{publisher.crate} = "1.0.0"    # A crate of the tests' in publisher.at_registry("search", publisher.crate)


def test_yank_is_undone(publisher: Publisher) -> None:
    publisher.at_registry("yank", publisher.crate, "--version", "1.0.0")
    assert publisher.index_line()["yanked"]
    publisher.at_registry("yank", publisher.crate, "--version", "1.0.0", "--undo")
    assert not publisher.index_line()["yanked"]


def test_owner_is_added(publisher: Publisher) -> None:
    publisher.at_registry("owner", "--add", "bob", publisher.crate)
    assert "bob" in publisher.at_registry("owner", "--list", publisher.crate)


def test_consumer_builds_with_both_registries(publisher: Publisher) -> None:
    dependency = f'[dependencies]\nmade = {{ package = "{publisher.crate}", version = "1", registry = "priv" }}\n'
    files = {
        "Cargo.toml": MANIFEST % "consumer" + dependency,
        "src/main.rs": 'fn main() { println!("{}", made::name()); }',
    }
    consumer = write_files(publisher.directory / "consumer", files)
    assert SENTENCE in publisher.cargo.run(consumer, "run", "--quiet")


def test_login_keeps_the_token(publisher: Publisher) -> None:
    cargo = DebianCargo(publisher.directory / "logged-in", publisher.version, publisher.server)
    cargo.run(publisher.directory, "login", "--registry", "priv", stdin=publisher.cargo.token)
    cargo.run(publisher.directory, "owner", "--registry", "priv", "--add", "carol", publisher.crate)
    assert "carol" in publisher.at_registry("owner", "--list", publisher.crate)


def test_index_line_is_the_same_for_all_versions(publisher: Publisher) -> None:
    line = publisher.index_line()
    assert {key: line[key] for key in EXPECTED} == EXPECTED
    assert [{key: one[key] for key in DEPENDENCIES[0]} for one in line["deps"]] == DEPENDENCIES
