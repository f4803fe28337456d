"""Stock cargo through the mirror, by source replacement. A second instance of this registry is the upstream."""

import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.support import packing
from tests.support.cargo import CRATES_IO, Cargo, MirrorCargo, write_files
from tests.support.servers import Server, running

pytestmark = [
    pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed"),
    pytest.mark.database_independent,
    pytest.mark.long,
]

FUNCTION = 'pub fn name() -> String { String::from("%s") }'
PROJECT = {
    "Cargo.toml": """
[package]
name = "project"
version = "0.1.0"
edition = "2021"
[dependencies]
top = "1"
""",
    "src/main.rs": 'fn main() { println!("{}", top::name()); }',
}
# Crates in the order in which they are published: the end of the manifest, metadata, and a source.
DEPENDS = packing.dependency("Mixed-Case", "^1", registry=CRATES_IO, explicit_name_in_toml="mixed")
PUBLISHED: dict[tuple[str, str], tuple[str, dict[str, Any], str]] = {
    ("Mixed-Case", "1.0.0+b"): ("", {}, FUNCTION % "mixed"),
    ("top", "1.0.0"): ("", {}, FUNCTION % "old top"),
    ("top", "1.1.0"): (
        '[dependencies.mixed]\nversion = "^1"\npackage = "Mixed-Case"\n',
        {"deps": [DEPENDS]},
        'pub fn name() -> String { format!("top on {}", mixed::name()) }',
    ),
}
SENTENCE = "top on mixed"


class Upstream:
    """A registry with the published crates."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.index = f"sparse+{server.url}/index/"
        self.bytes: dict[str, bytes] = {}
        headers = {"Authorization": server.sign_up("alice")}
        for (name, version), (manifest, metadata, source) in PUBLISHED.items():
            crate = packing.crate(name, version, packing.manifest(name, version) + manifest, {"src/lib.rs": source})
            self.bytes[f"{name} {version}"] = crate
            body = packing.frame(packing.metadata(name, version, **metadata), crate)
            urlopen(Request(f"{server.url}/api/v1/crates/new", body, headers, method="PUT")).close()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with running(tmp_path_factory.mktemp("upstream") / "data", REGISTRY_MIRROR="off", REGISTRY_WORKERS="1") as server:
        yield Upstream(server)


@pytest.fixture(scope="module", params=["open", "auth-required"])
def mirror(
    request: pytest.FixtureRequest, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str | None]]:
    required = request.param == "auth-required"
    with running(
        tmp_path_factory.mktemp("mirror") / "data",
        REGISTRY_MIRROR_UPSTREAM=upstream.index,
        REGISTRY_AUTH_REQUIRED="1" if required else "0",
    ) as server:
        yield server, server.sign_up("bob") if required else None


@pytest.fixture
def cargo(tmp_path: Path, mirror: tuple[Server, str | None]) -> Cargo:
    return MirrorCargo(tmp_path / "home", mirror[0].url, mirror[1])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_files(tmp_path / "project", PROJECT)


def locked_packages(project: Path) -> dict[str, dict[str, Any]]:
    packages = tomllib.loads((project / "Cargo.lock").read_text())["package"]
    return {f"{package['name']} {package['version']}": package for package in packages if "source" in package}


def test_project_builds_through_the_mirror(cargo: Cargo, project: Path) -> None:
    assert SENTENCE in cargo.run(project, "run", "--quiet")


def test_lock_file_names_crates_io(cargo: Cargo, project: Path, upstream: Upstream) -> None:
    cargo.run(project, "generate-lockfile")
    assert {name: (package["source"], package["checksum"]) for name, package in locked_packages(project).items()} == {
        name: (f"registry+{CRATES_IO}", sha256(upstream.bytes[name]).hexdigest())
        for name in ("Mixed-Case 1.0.0+b", "top 1.1.0")
    }


def test_dependencies_are_vendored(cargo: Cargo, project: Path) -> None:
    cargo.run(project, "vendor", "--quiet", "--respect-source-config")
    assert {path.name for path in (project / "vendor").iterdir()} == {"Mixed-Case", "top"}


def test_fetched_project_builds_offline(cargo: Cargo, project: Path) -> None:
    cargo.run(project, "generate-lockfile")
    before = (project / "Cargo.lock").read_bytes()
    cargo.run(project, "fetch", "--locked")
    assert SENTENCE in cargo.run(project, "run", "--quiet", "--frozen")
    assert (project / "Cargo.lock").read_bytes() == before


def test_token_is_taken_from_the_environment(tmp_path: Path, project: Path, mirror: tuple[Server, str | None]) -> None:
    cargo = MirrorCargo(tmp_path / "home", mirror[0].url)
    assert SENTENCE in cargo.run(project, "run", "--quiet", CARGO_REGISTRIES_MIRROR_TOKEN=mirror[1] or "unused")


def test_private_mirror_needs_a_token(tmp_path: Path, project: Path, mirror: tuple[Server, str | None]) -> None:
    cargo = MirrorCargo(tmp_path / "home", mirror[0].url)
    output = cargo.run(project, "fetch", fails=mirror[1] is not None)
    assert mirror[1] is None or "no token found" in output


def test_unknown_crate_is_named(cargo: Cargo, project: Path) -> None:
    write_files(project, {"Cargo.toml": PROJECT["Cargo.toml"].replace("top", "nowhere")})
    assert "no matching package named `nowhere` found" in cargo.run(project, "fetch", fails=True)


REFUSAL = "This is a mirror, which takes no crates and no changes. Use the registry itself, sparse+{url}/index/"


def test_mirror_refuses_changes_by_cargo(tmp_path: Path, mirror: tuple[Server, str | None]) -> None:
    server = mirror[0]
    cargo = MirrorCargo(tmp_path / "home", server.url, mirror[1] or server.sign_up("carol"))
    manifest = '[package]\nname = "mine"\nversion = "1.0.0"\nedition = "2021"\n'
    crate = write_files(tmp_path / "mine", {"Cargo.toml": manifest, "src/lib.rs": ""})
    for command in (
        ("publish", "--allow-dirty", "--no-verify"),
        ("yank", "top", "--version", "1.0.0"),
        ("owner", "--add", "bob", "top"),
    ):
        output = cargo.run(crate, *command, "--registry", "mirror", fails=True)
        assert f"{REFUSAL.format(url=server.url)}: `cargo publish --registry entrepot`." in output, command


def test_cargo_searches_what_is_stored(cargo: Cargo, project: Path) -> None:
    cargo.run(project, "generate-lockfile")
    assert 'top = "1.1.0"' in cargo.run(project, "search", "top", "--registry", "mirror")


def test_mirror_refuses_publish_before_its_body(mirror: tuple[Server, str | None]) -> None:
    server, token = mirror
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("PUT", "/mirror/api/v1/crates/new")
    for name, value in {"Authorization": token, "Content-Length": str(9 * 1024 * 1024)}.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, REFUSAL.format(url=server.url) in response.read().decode()) == (403, True)
    connection.close()


def test_second_build_needs_no_upstream(tmp_path: Path, upstream: Upstream) -> None:
    with running(tmp_path / "mirror", REGISTRY_MIRROR_UPSTREAM=upstream.index) as server:
        write_files(tmp_path / "first", PROJECT)
        MirrorCargo(tmp_path / "first-home", server.url).run(tmp_path / "first", "fetch")
        upstream.server.stop()
        try:
            project = write_files(tmp_path / "second", PROJECT)
            output = MirrorCargo(tmp_path / "second-home", server.url).run(project, "run", "--quiet")
            with pytest.raises(HTTPError) as error:
                urlopen(f"{server.url}/ktra/api/v1/mirror/top/1.0.0/download")
            error.value.close()
        finally:
            upstream.server.start()
    assert (SENTENCE in output, error.value.code) == (True, 502)


def test_exported_mirror_builds_without_upstream(tmp_path: Path, upstream: Upstream) -> None:
    folder = str(tmp_path / "folder")
    with running(tmp_path / "mirror", REGISTRY_MIRROR_UPSTREAM=upstream.index) as server:
        project = write_files(tmp_path / "project", PROJECT)
        MirrorCargo(tmp_path / "home", server.url).run(project, "generate-lockfile")
        assert "2 fetched" in server.manage("mirror", "prefetch", str(project / "Cargo.lock"))
        assert server.manage("mirror", "export", folder) == f"2 files are in {folder}."
    unreachable = "http://127.0.0.1:9/index/"
    with running(tmp_path / "island", REGISTRY_MIRROR_OFFLINE="1", REGISTRY_MIRROR_UPSTREAM=unreachable) as server:
        assert server.manage("mirror", "import", folder) == "2 files are here now."
        (project / "Cargo.lock").unlink()
        output = MirrorCargo(tmp_path / "island-home", server.url).run(project, "run", "--quiet")
        with pytest.raises(subprocess.CalledProcessError) as error:
            server.manage("mirror", "prefetch", "nowhere")
    assert (SENTENCE in output, error.value.returncode) == (True, 1)


ALLOW_TOP = """
from accounts.models import User
from crates.mirror import shared_names
shared_names.allow("top", User.objects.named("alice").get(), actor=None)
"""


def test_private_fork_lives_beside_its_original(tmp_path: Path, upstream: Upstream) -> None:
    with running(tmp_path / "mirror", REGISTRY_MIRROR_UPSTREAM=upstream.index) as server:
        cargo = MirrorCargo(tmp_path / "home", server.url)
        with (cargo.home / "config.toml").open("a") as config:
            config.write(f'[registries.priv]\nindex = "sparse+{server.url}/index/"\n')
        cargo.run(tmp_path, "login", "--registry", "priv", stdin=server.sign_up("alice"))
        manifest = '[package]\nname = "top"\nversion = "9.0.0"\nedition = "2021"\n'
        fork = write_files(tmp_path / "fork", {"Cargo.toml": manifest, "src/lib.rs": FUNCTION % "fork"})
        publish = ("publish", "--registry", "priv", "--allow-dirty", "--no-verify")
        output = cargo.run(fork, *publish, fails=True)
        server.manage("shell", "-c", ALLOW_TOP)
        cargo.run(fork, *publish)
        both = PROJECT["Cargo.toml"] + 'fork = { package = "top", version = "9", registry = "priv" }\n'
        source = 'fn main() { println!("{}, {}", top::name(), fork::name()); }'
        project = write_files(tmp_path / "project", {"Cargo.toml": both, "src/main.rs": source})
        assert f"{SENTENCE}, fork" in cargo.run(project, "run", "--quiet")
    assert "the crate, top, exists upstream, and this registry mirrors it" in output
