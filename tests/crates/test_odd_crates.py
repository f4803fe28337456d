"""Odd crates that stock cargo publishes, with the installed cargo: what the manifest says reaches the index."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from crates.names import index_path
from tests.support.cargo import Cargo, write_files
from tests.support.packing import manifest
from tests.support.servers import Server, running

pytestmark = [
    pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed"),
    pytest.mark.database_independent,
]

DESCRIBED = 'description = "d"\nlicense = "MIT"\n'


class Publisher:
    """A registry, and a cargo that publishes there."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory, self.server = directory, server
        self.cargo = Cargo(directory / "home", server, server.sign_up("alice"))

    def publish(self, name: str, toml: str, *options: str, unstable: bool = False) -> str:
        """Publish a crate whose manifest goes on with `toml`, and return what cargo prints."""
        sources = {"Cargo.toml": manifest(name, extra=DESCRIBED + toml), "src/lib.rs": "", "build.rs": "fn main() {}"}
        crate = write_files(self.directory / name, sources)
        command = ("publish", "--registry", "priv", "--allow-dirty", "--no-verify", *options)
        return self.cargo.run(crate, *command, RUSTC_BOOTSTRAP="1" if unstable else "0")

    def index_line(self, name: str) -> dict[str, Any]:
        with urlopen(f"{self.server.url}/index/{index_path(name)}") as response:
            line: dict[str, Any] = json.load(response)
        return line


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    directory = tmp_path_factory.mktemp("odd")
    with running(directory / "data") as server:
        publisher = Publisher(directory, server)
        publisher.publish("base", "")
        yield publisher


def test_odd_targets_reach_the_index(publisher: Publisher) -> None:
    many = "cfg(any(" + ", ".join(f'target_arch = "arch{number}"' for number in range(100)) + "))"
    targets = ["cfg(any(unix,))", "cfg( not (unix) )", many]
    tables = [
        f"[target.'{target}'.dependencies]\nbase = {{ version = '1', registry = 'priv' }}\n" for target in targets
    ]
    publisher.publish("targets", "".join(tables))
    assert {dependency["target"] for dependency in publisher.index_line("targets")["deps"]} == set(targets)


def test_odd_links_reach_the_index(publisher: Publisher) -> None:
    publisher.publish("links", 'links = "foo bar/baz@2"')
    assert publisher.index_line("links")["links"] == "foo bar/baz@2"


def test_poor_description_is_published_with_warnings(publisher: Publisher) -> None:
    output = publisher.publish("poor", 'repository = "ssh://git@host/poor.git"')
    assert "warning: the repository 'ssh://git@host/poor.git' is no http or https URL" in output


def test_other_name_of_the_registry_is_the_registry(publisher: Publisher) -> None:
    """The index under `localhost`, whose configuration says to publish at 127.0.0.1."""
    server, directory = publisher.server, publisher.directory
    cargo = Cargo(directory / "home-of-bob", server, None)
    config = cargo.home / "config.toml"
    config.write_text(config.read_text().replace("127.0.0.1", "localhost"))
    cargo.run(directory, "login", "--registry", "priv", stdin=server.sign_up("bob"))
    toml = manifest("aliased", extra=DESCRIBED) + '[dependencies]\nbase = { version = "1", registry = "priv" }'
    crate = write_files(directory / "aliased", {"Cargo.toml": toml, "src/lib.rs": ""})
    cargo.run(crate, "publish", "--registry", "priv", "--allow-dirty", "--no-verify")
    assert publisher.index_line("aliased")["deps"][0]["registry"] is None


def test_public_dependency_reaches_the_index(publisher: Publisher) -> None:
    toml = '[dependencies]\nbase = { version = "1", registry = "priv", public = true }'
    publisher.publish("public", toml, "-Zpublic-dependency", unstable=True)
    assert publisher.index_line("public")["deps"][0]["public"] is True


def test_artifact_dependency_is_resolved(publisher: Publisher) -> None:
    toml = '[dependencies]\nbase = { version = "1", registry = "priv", artifact = "bin", lib = true }'
    publisher.publish("artifacts", toml, "-Zbindeps", unstable=True)
    line = publisher.index_line("artifacts")
    assert (line["v"], line["deps"][0]["artifact"], line["deps"][0]["lib"]) == (3, ["bin"], True)
    consumer = manifest("consumer") + '[dependencies]\nartifacts = { version = "1", registry = "priv" }'
    directory = write_files(publisher.directory / "consumer", {"Cargo.toml": consumer, "src/lib.rs": ""})
    publisher.cargo.run(directory, "generate-lockfile", "-Zbindeps", RUSTC_BOOTSTRAP="1")
    assert 'name = "base"' in (directory / "Cargo.lock").read_text()
