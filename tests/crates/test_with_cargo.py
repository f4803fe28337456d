"""The installed cargo, unmodified, with a server that was started as a user starts it.

One workspace of five crates is published, used and managed: on an open registry, and over HTTPS with HTTP/2 on one that
requires a token for all reading.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.support.cargo import Cargo, write_files
from tests.support.servers import Server, certificate, running

pytestmark = [
    pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed"),
    pytest.mark.long,
]

COMMON = """
edition = "2021"
description = "A crate of the tests"
license = "MIT"
"""

WORKSPACE = {
    "Cargo.toml": """
[workspace]
resolver = "2"
members = ["base", "Mixed-Case", "middle", "top", "tool"]
""",
    "base/Cargo.toml": f"""
[package]
name = "base"
version = "0.1.0"
rust-version = "1.70"
keywords = ["ground"]
{COMMON}
[features]
default = ["std"]
std = []
fancy = []
""",
    "base/src/lib.rs": """
pub fn name() -> &'static str { if cfg!(feature = "fancy") { "fancy base" } else { "base" } }
""",
    "Mixed-Case/Cargo.toml": f"""
[package]
name = "Mixed-Case"
version = "1.2.3-rc.1+build.7"
links = "mixedcase"
{COMMON}
""",
    "Mixed-Case/build.rs": "fn main() {}",
    "Mixed-Case/src/lib.rs": 'pub fn name() -> &\'static str { "mixed" }',
    "middle/Cargo.toml": f"""
[package]
name = "middle"
version = "0.2.0"
{COMMON}
[dependencies.first]
package = "base"
path = "../base"
version = "0.1"
registry = "priv"
default-features = false
optional = true
[target.'cfg(any(unix,windows))'.dependencies]
Mixed-Case = {{ path = "../Mixed-Case", version = "1.2.3-rc.1", registry = "priv" }}
[dev-dependencies]
base = {{ path = "../base", version = ">=0.1, <0.3", registry = "priv" }}
[features]
with-first = ["dep:first"]
fancy = ["first?/fancy"]
""",
    "middle/src/lib.rs": """
#[cfg(feature = "with-first")]
pub fn name() -> String { format!("middle on {} and {}", first::name(), Mixed_Case::name()) }
""",
    "top/Cargo.toml": f"""
[package]
name = "top_lib"
version = "0.3.0"
{COMMON}
[dependencies]
middle = {{ path = "../middle", version = "0.2", registry = "priv", features = ["with-first", "fancy"] }}
[build-dependencies]
base = {{ path = "../base", version = "~0.1.0", registry = "priv" }}
""",
    "top/build.rs": 'fn main() { println!("cargo:rustc-env=BUILT_BY={}", base::name()); }',
    "top/src/lib.rs": """
pub fn name() -> String { format!("top, built by {}, on {}", env!("BUILT_BY"), middle::name()) }
""",
    "tool/Cargo.toml": f"""
[package]
name = "tool"
version = "1.0.0"
{COMMON}
[dependencies]
top_lib = {{ path = "../top", version = "0.3", registry = "priv" }}
""",
    "tool/src/main.rs": 'fn main() { println!("{}", top_lib::name()); }',
}

CONSUMER = {
    "Cargo.toml": """
[package]
name = "consumer"
version = "0.0.0"
edition = "2021"
[dependencies]
top_lib = { version = "0.3", registry = "priv" }
""",
    "src/main.rs": 'fn main() { println!("{}", top_lib::name()); }',
}

SENTENCE = "top, built by base, on middle on fancy base and mixed"


class PublishedWorkspace:
    """A registry with a workspace that alice has published; bob has an account only."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory = directory
        self.server = server
        self.token = server.sign_up("alice")
        self.bob_token = server.sign_up("bob")
        self.alice = Cargo(directory / "alice", server, self.token)
        self.bob = Cargo(directory / "bob", server, self.bob_token)
        self.sources = write_files(directory / "workspace", WORKSPACE)
        self.output = self.alice.run(self.sources, "publish", "--workspace", "--registry", "priv", "--allow-dirty")

    def get(self, path: str) -> bytes:
        request = Request(self.server.url + path, headers={"Authorization": self.token})
        with urlopen(request, context=self.server.tls()) as response:
            return bytes(response.read())

    def index_line(self, path: str) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self.get(f"/index/{path}"))
        return line

    def consumer(self, name: str) -> Path:
        """Write a new project that depends on the workspace."""
        return write_files(self.directory / name, CONSUMER)

    def clean(self, name: str) -> Cargo:
        """Return bob's cargo with an empty home directory."""
        return Cargo(self.directory / f"{name}-home", self.server, self.bob_token)


@pytest.fixture(scope="module", params=["open", "closed"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublishedWorkspace]:
    directory = tmp_path_factory.mktemp("cargo")
    settings = {"REGISTRY_AUTH_REQUIRED": "1", **certificate(directory / "tls")} if request.param == "closed" else {}
    with running(directory / "data", **settings) as server:
        yield PublishedWorkspace(directory, server)


# The other mode repeats only tests in which a token or HTTPS could make a difference.
on_open_registry = pytest.mark.parametrize("published", ["open"], indirect=True, scope="module")


def test_workspace_is_published_in_order(published: PublishedWorkspace) -> None:
    assert [line.split()[1] for line in published.output.splitlines() if line.strip().startswith("Uploaded")] in (
        ["Mixed-Case", "base", "middle", "top_lib", "tool"],
        ["base", "Mixed-Case", "middle", "top_lib", "tool"],
    )


@on_open_registry
def test_index_repeats_the_manifest(published: PublishedWorkspace) -> None:
    line = published.index_line("mi/dd/middle")
    assert line["features2"] == {"fancy": ["first?/fancy"], "with-first": ["dep:first"]}
    renamed, dev, target = line["deps"]
    assert (renamed["name"], renamed["package"], renamed["optional"]) == ("first", "base", True)
    assert (dev["kind"], dev["req"]) == ("dev", ">=0.1, <0.3")
    assert (target["target"], target["registry"]) == ("cfg(any(unix,windows))", None)


def test_consumer_builds_and_runs_from_a_clean_home(published: PublishedWorkspace) -> None:
    assert SENTENCE in published.clean("build").run(published.consumer("build"), "run", "--quiet")


@on_open_registry
def test_locked_project_builds_without_network(published: PublishedWorkspace) -> None:
    cargo, directory = published.clean("offline"), published.consumer("offline")
    cargo.run(directory, "fetch")
    assert SENTENCE in cargo.run(directory, "run", "--quiet", "--frozen")


@on_open_registry
def test_tool_is_installed(published: PublishedWorkspace) -> None:
    cargo = published.clean("install")
    cargo.run(
        published.directory, "install", "--registry", "priv", "tool", "--root", str(published.directory / "installed")
    )
    output = subprocess.check_output([published.directory / "installed" / "bin" / "tool"], text=True)
    assert output.strip() == SENTENCE


@on_open_registry
def test_dependencies_are_vendored(published: PublishedWorkspace) -> None:
    directory = published.consumer("vendor")
    published.clean("vendor").run(directory, "vendor", "--quiet")
    assert {path.name for path in (directory / "vendor").iterdir()} == {"base", "Mixed-Case", "middle", "top_lib"}


def test_search_finds_by_description(published: PublishedWorkspace) -> None:
    assert 'top_lib = "0.3.0"' in published.bob.run(published.directory, "search", "--registry", "priv", "top-lib")
    assert 'base = "0.1.0"' in published.bob.run(published.directory, "search", "--registry", "priv", "ground")


@on_open_registry
def test_info_corrects_the_spelling(published: PublishedWorkspace) -> None:
    output = published.clean("info").run(published.directory, "info", "--registry", "priv", "mixed_case")
    assert "translating `mixed_case` to `Mixed-Case`" in output


@on_open_registry
def test_version_cannot_be_published_twice(published: PublishedWorkspace) -> None:
    output = published.alice.run(
        published.sources, "publish", "-p", "base", "--registry", "priv", "--no-verify", "--allow-dirty", fails=True
    )
    assert "already exists" in output


def test_yanked_version_is_not_chosen(published: PublishedWorkspace) -> None:
    directory = write_files(
        published.directory / "yank", {**CONSUMER, "Cargo.toml": CONSUMER["Cargo.toml"].replace("top_lib", "tool")}
    )
    directory.joinpath("Cargo.toml").write_text(directory.joinpath("Cargo.toml").read_text().replace('"0.3"', '"1"'))
    published.alice.run(published.directory, "yank", "--registry", "priv", "tool@1.0.0")
    assert "is yanked" in published.clean("yanked").run(directory, "generate-lockfile", fails=True)
    published.alice.run(published.directory, "yank", "--registry", "priv", "--undo", "tool@1.0.0")
    published.clean("unyanked").run(directory, "generate-lockfile")


@on_open_registry
def test_version_with_build_metadata_is_yanked(published: PublishedWorkspace) -> None:
    published.alice.run(published.directory, "yank", "--registry", "priv", "Mixed-Case@1.2.3-rc.1+build.7")
    assert published.index_line("mi/xe/mixed-case")["yanked"] is True
    published.alice.run(published.directory, "yank", "--registry", "priv", "--undo", "Mixed-Case@1.2.3-rc.1+build.7")


@on_open_registry
def test_stranger_cannot_yank(published: PublishedWorkspace) -> None:
    output = published.bob.run(published.directory, "yank", "--registry", "priv", "base@0.1.0", fails=True)
    assert "bob does not own the crate base" in output


@on_open_registry
def test_owner_is_added_listed_and_removed(published: PublishedWorkspace) -> None:
    owner = ("owner", "--registry", "priv", "middle")
    assert "has been added" in published.alice.run(published.directory, *owner, "--add", "bob")
    assert "(bob)" in published.bob.run(published.directory, *owner, "--list")
    published.bob.run(published.directory, *owner, "--remove", "ktra-secure-auth:alice")
    assert "alice" not in published.bob.run(published.directory, *owner, "--list")


@on_open_registry
def test_odd_user_names_publish_and_own(published: PublishedWorkspace) -> None:
    published.server.sign_up("-x")
    john = Cargo(published.directory / "john", published.server, published.server.sign_up("_john.doe"))
    manifest = f'[package]\nname = "odd"\nversion = "1.0.0"\n{COMMON}'
    project = write_files(published.directory / "odd", {"Cargo.toml": manifest, "src/lib.rs": ""})
    john.run(project, "publish", "--registry", "priv", "--allow-dirty", "--no-verify")
    owner = ("owner", "--registry", "priv", "odd")
    assert "user ktra-secure-auth:-x has been added" in john.run(project, *owner, "--add=-x")
    listing = john.run(project, *owner, "--list")
    assert ("(_john.doe)" in listing, "(-x)" in listing) == (True, True)
    john.run(project, *owner, "--remove=-x")
    assert "(-x)" not in john.run(project, *owner, "--list")
    assert published.get("/namespaces/_john.doe/packages") == published.get("/namespaces/-X/packages") == b"[]"


@on_open_registry
def test_last_owner_stays(published: PublishedWorkspace) -> None:
    output = published.alice.run(
        published.directory, "owner", "--registry", "priv", "base", "--remove", "alice", fails=True
    )
    assert "left without an owner" in output


def test_second_update_gets_304_only(published: PublishedWorkspace) -> None:
    cargo, directory = published.clean("update"), published.consumer("update")
    cargo.run(directory, "generate-lockfile")
    output = cargo.run(directory, "update", CARGO_HTTP_DEBUG="true", CARGO_LOG="network=debug")
    version = "2" if published.server.scheme == "https" else "1.1"
    statuses = re.findall(rf"< HTTP/{version} (\d+)", output)
    assert sorted(statuses) == ["200"] + ["304"] * 4  # config.json, and one index file for each crate


@on_open_registry
def test_wrong_token_is_reported(published: PublishedWorkspace) -> None:
    cargo = Cargo(published.directory / "wrong-home", published.server, "entc_wrong")
    output = cargo.run(published.directory, "yank", "--registry", "priv", "base@0.1.0", fails=True)
    assert "The token is not valid" in output or "token rejected for `priv`" in output


def test_reading_needs_a_token_where_required(published: PublishedWorkspace) -> None:
    required = "REGISTRY_AUTH_REQUIRED" in published.server.environment
    cargo = Cargo(published.directory / "nobody-home", published.server, None)
    output = cargo.run(published.consumer("nobody"), "generate-lockfile", fails=required)
    assert not required or "please run `cargo login --registry priv`" in output
