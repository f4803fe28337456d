"""The installed cargo, unmodified, against a server that was started as a user starts it.

One workspace of five crates is published, used and managed: on an open registry, on one that requires a token for
everything, and over HTTPS with HTTP/2.
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

pytestmark = pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")

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


class Scene:
    """A server with a published workspace; alice published it, bob has an account."""

    def __init__(self, place: Path, server: Server) -> None:
        self.place = place
        self.server = server
        self.token = server.sign_up("alice")
        self.bob_token = server.sign_up("bob")
        self.alice = Cargo(place / "alice", server, self.token)
        self.bob = Cargo(place / "bob", server, self.bob_token)
        self.workspace = write_files(place / "workspace", WORKSPACE)
        self.said = self.alice.run(self.workspace, "publish", "--workspace", "--registry", "priv", "--allow-dirty")

    def get(self, path: str) -> bytes:
        request = Request(self.server.url + path, headers={"Authorization": self.token})
        with urlopen(request, context=self.server.tls()) as answer:
            return bytes(answer.read())

    def index(self, path: str) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self.get(f"/index/{path}"))
        return line

    def consumer(self, name: str) -> Path:
        return write_files(self.place / name, CONSUMER)

    def clean(self, name: str) -> Cargo:
        return Cargo(self.place / f"{name}-home", self.server, self.bob_token)


@pytest.fixture(scope="module", params=["open", "auth-required", "https"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("cargo")
    settings = certificate(place / "tls") if request.param == "https" else {}
    required = "1" if request.param == "auth-required" else "0"
    with running(place / "data", REGISTRY_AUTH_REQUIRED=required, **settings) as server:
        yield Scene(place, server)


def test_workspace_is_published_in_order(scene: Scene) -> None:
    assert [line.split()[1] for line in scene.said.splitlines() if line.strip().startswith("Uploaded")] in (
        ["Mixed-Case", "base", "middle", "top_lib", "tool"],
        ["base", "Mixed-Case", "middle", "top_lib", "tool"],
    )


def test_index_says_what_the_manifest_said(scene: Scene) -> None:
    line = scene.index("mi/dd/middle")
    assert line["features2"] == {"fancy": ["first?/fancy"], "with-first": ["dep:first"]}
    renamed, dev, target = line["deps"]
    assert (renamed["name"], renamed["package"], renamed["optional"]) == ("first", "base", True)
    assert (dev["kind"], dev["req"]) == ("dev", ">=0.1, <0.3")
    assert (target["target"], target["registry"]) == ("cfg(any(unix,windows))", None)


def test_consumer_builds_and_runs_from_a_clean_home(scene: Scene) -> None:
    assert SENTENCE in scene.clean("build").run(scene.consumer("build"), "run", "--quiet")


def test_lock_file_holds_without_network(scene: Scene) -> None:
    cargo, place = scene.clean("offline"), scene.consumer("offline")
    cargo.run(place, "fetch")
    assert SENTENCE in cargo.run(place, "run", "--quiet", "--frozen")


def test_tool_is_installed(scene: Scene) -> None:
    cargo = scene.clean("install")
    cargo.run(scene.place, "install", "--registry", "priv", "tool", "--root", str(scene.place / "installed"))
    said = subprocess.check_output([scene.place / "installed" / "bin" / "tool"], text=True)
    assert said.strip() == SENTENCE


def test_dependencies_are_vendored(scene: Scene) -> None:
    place = scene.consumer("vendor")
    scene.clean("vendor").run(place, "vendor", "--quiet")
    assert {path.name for path in (place / "vendor").iterdir()} == {"base", "Mixed-Case", "middle", "top_lib"}


def test_search_finds_by_description(scene: Scene) -> None:
    assert 'top_lib = "0.3.0"' in scene.bob.run(scene.place, "search", "--registry", "priv", "top-lib")
    assert 'base = "0.1.0"' in scene.bob.run(scene.place, "search", "--registry", "priv", "ground")


def test_info_corrects_the_spelling(scene: Scene) -> None:
    said = scene.clean("info").run(scene.place, "info", "--registry", "priv", "mixed_case")
    assert "translating `mixed_case` to `Mixed-Case`" in said


def test_version_cannot_be_published_twice(scene: Scene) -> None:
    said = scene.alice.run(
        scene.workspace, "publish", "-p", "base", "--registry", "priv", "--no-verify", "--allow-dirty", fails=True
    )
    assert "already exists" in said


def test_yanked_version_is_not_chosen_until_it_is_unyanked(scene: Scene) -> None:
    place = write_files(
        scene.place / "yank", {**CONSUMER, "Cargo.toml": CONSUMER["Cargo.toml"].replace("top_lib", "tool")}
    )
    place.joinpath("Cargo.toml").write_text(place.joinpath("Cargo.toml").read_text().replace('"0.3"', '"1"'))
    scene.alice.run(scene.place, "yank", "--registry", "priv", "tool@1.0.0")
    assert "is yanked" in scene.clean("yanked").run(place, "generate-lockfile", fails=True)
    scene.alice.run(scene.place, "yank", "--registry", "priv", "--undo", "tool@1.0.0")
    scene.clean("unyanked").run(place, "generate-lockfile")


def test_version_with_build_metadata_is_yanked(scene: Scene) -> None:
    scene.alice.run(scene.place, "yank", "--registry", "priv", "Mixed-Case@1.2.3-rc.1+build.7")
    assert scene.index("mi/xe/mixed-case")["yanked"] is True
    scene.alice.run(scene.place, "yank", "--registry", "priv", "--undo", "Mixed-Case@1.2.3-rc.1+build.7")


def test_stranger_cannot_yank(scene: Scene) -> None:
    said = scene.bob.run(scene.place, "yank", "--registry", "priv", "base@0.1.0", fails=True)
    assert "bob does not own the crate base" in said


def test_owner_is_added_listed_and_removed(scene: Scene) -> None:
    owner = ("owner", "--registry", "priv", "middle")
    assert "has been added" in scene.alice.run(scene.place, *owner, "--add", "bob")
    assert "(bob)" in scene.bob.run(scene.place, *owner, "--list")
    scene.bob.run(scene.place, *owner, "--remove", "ktra-secure-auth:alice")
    assert "alice" not in scene.bob.run(scene.place, *owner, "--list")


def test_last_owner_stays(scene: Scene) -> None:
    said = scene.alice.run(scene.place, "owner", "--registry", "priv", "base", "--remove", "alice", fails=True)
    assert "left without an owner" in said


def test_second_update_is_answered_by_304_alone(scene: Scene) -> None:
    cargo, place = scene.clean("update"), scene.consumer("update")
    cargo.run(place, "generate-lockfile")
    said = cargo.run(place, "update", CARGO_HTTP_DEBUG="true", CARGO_LOG="network=debug")
    version = "2" if scene.server.scheme == "https" else "1.1"
    answers = re.findall(rf"< HTTP/{version} (\d+)", said)
    assert sorted(answers) == ["200"] + ["304"] * 4  # config.json, and one index file for each crate


def test_wrong_token_is_told_plainly(scene: Scene) -> None:
    cargo = Cargo(scene.place / "wrong-home", scene.server, "entc_wrong")
    said = cargo.run(scene.place, "yank", "--registry", "priv", "base@0.1.0", fails=True)
    assert "The token is not valid" in said or "token rejected for `priv`" in said


def test_reading_needs_a_token_only_where_it_is_required(scene: Scene) -> None:
    required = scene.server.environment["REGISTRY_AUTH_REQUIRED"] == "1"
    cargo = Cargo(scene.place / "nobody-home", scene.server, None)
    said = cargo.run(scene.consumer("nobody"), "generate-lockfile", fails=required)
    assert not required or "please run `cargo login --registry priv`" in said
