"""Stock cargo and a mirror with policies: versions that are quarantined, blocked and exempt."""

import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support import bad_upstream, packing
from tests.support.cargo import CRATES_IO, MirrorCargo, write_files
from tests.support.servers import Server, running

pytestmark = [
    pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed"),
    pytest.mark.database_independent,
    pytest.mark.long,
]

OLD, NEW = "1.0.0", "1.1.0"
DENIED = ["denied", "exempted"]
DECIDE = """
from crates.mirror import overrides
from crates.mirror.models import Override
add, kinds = overrides.create_override, Override.Kind
add(kinds.BLOCKED, "blocked", "=1.1.0", actor=None, reason="It steals keys: use 1.0.0.")
add(kinds.EXEMPT, "exempted", "=1.1.0", actor=None, reason="We looked at it.")
"""


def crate(name: str, version: str) -> bytes:
    manifest = packing.manifest(name, version, 'license = "MIT"')
    source = f'pub fn name() -> &\'static str {{ "{name} {version}" }}'
    return packing.crate(name, version, manifest, {"src/lib.rs": source})


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with bad_upstream.upstream() as upstream:
        for name in (*DENIED, "blocked"):
            files = {version: crate(name, version) for version in (OLD, NEW)}
            index_file = b"".join(bad_upstream.line(name, version, file) + b"\n" for version, file in files.items())
            upstream.script_index(name, bad_upstream.file(index_file))
            for version, file in files.items():
                upstream.script_crate(name, version, bad_upstream.file(file))
        with running(
            tmp_path_factory.mktemp("mirror") / "data",
            REGISTRY_MIRROR_UPSTREAM=upstream.url,
            REGISTRY_MIRROR_DENYLIST=" ".join(f"{name}@={NEW}" for name in DENIED),
            REGISTRY_MIRROR_LICENSES="MIT",
        ) as server:
            server.manage("shell", "-c", DECIDE)
            yield server


@pytest.fixture
def cargo(tmp_path: Path, mirror: Server) -> MirrorCargo:
    return MirrorCargo(tmp_path / "home", mirror.url)


def write_project(folder: Path, dependency: str, locked: str = "") -> Path:
    """Write a project with one dependency, which its `Cargo.lock` may lock in a version."""
    files = {
        "Cargo.toml": '[package]\nname = "project"\nversion = "0.1.0"\nedition = "2021"\n'
        f'[dependencies]\n{dependency} = "1"\n',
        "src/main.rs": f'fn main() {{ println!("{{}}", {dependency}::name()); }}',
    }
    if locked:
        files["Cargo.lock"] = (
            f'version = 3\n[[package]]\nname = "{dependency}"\nversion = "{locked}"\nsource = "registry+{CRATES_IO}"\n'
            f'checksum = "{sha256(crate(dependency, locked)).hexdigest()}"\n'
            f'[[package]]\nname = "project"\nversion = "0.1.0"\ndependencies = ["{dependency}"]\n'
        )
    return write_files(folder / "project", files)


@pytest.mark.parametrize(("dependency", "chosen"), [("denied", OLD), ("blocked", OLD), ("exempted", NEW)])
def test_quarantined_version_is_not_chosen(cargo: MirrorCargo, tmp_path: Path, dependency: str, chosen: str) -> None:
    project = write_project(tmp_path, dependency)
    cargo.run(project, "generate-lockfile")
    assert f'name = "{dependency}"\nversion = "{chosen}"' in (project / "Cargo.lock").read_text()


def test_locked_quarantined_version_still_builds(cargo: MirrorCargo, tmp_path: Path) -> None:
    assert f"denied {NEW}" in cargo.run(write_project(tmp_path, "denied", NEW), "run", "--quiet", "--locked")


def test_locked_blocked_version_fails_with_its_reason(cargo: MirrorCargo, tmp_path: Path) -> None:
    output = cargo.run(write_project(tmp_path, "blocked", NEW), "fetch", "--locked", fails=True)
    assert "blocked 1.1.0 is blocked here: It steals keys: use 1.0.0." in output
    assert "403" in output


def test_blocked_version_can_be_replaced(cargo: MirrorCargo, tmp_path: Path) -> None:
    project = write_project(tmp_path, "blocked", NEW)
    cargo.run(project, "update", "blocked", "--precise", OLD)
    assert f"blocked {OLD}" in cargo.run(project, "run", "--quiet", "--locked")
