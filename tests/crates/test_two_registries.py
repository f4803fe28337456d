"""Dependencies between crates of two registries, with the installed cargo."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.cargo import Cargo, write_files
from tests.support.servers import Server, running

pytestmark = [
    pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed"),
    pytest.mark.database_independent,
]


def package(name: str, dependencies: str = "") -> dict[str, str]:
    head = f'[package]\nname = "{name}"\nversion = "1.0.0"\nedition = "2021"\n'
    return {"Cargo.toml": f"{head}[dependencies]\n{dependencies}", "src/lib.rs": ""}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("other") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, other: Server) -> Iterator[Server]:
    allowed = f"sparse+{other.url}/index/"
    with running(tmp_path_factory.mktemp("home") / "data", REGISTRY_ALLOWED_REGISTRIES=allowed) as server:
        yield server


@pytest.fixture(scope="module")
def cargo(tmp_path_factory: pytest.TempPathFactory, home: Server, other: Server) -> Cargo:
    directory = tmp_path_factory.mktemp("cargo")
    cargo = Cargo(directory / "home", home, home.sign_up("alice"))
    with (cargo.home / "config.toml").open("a") as config:
        config.write(f'[registries.other]\nindex = "sparse+{other.url}/index/"\n')
    cargo.run(directory, "login", "--registry", "other", stdin=other.sign_up("alice"))
    return cargo


def test_dependency_comes_from_the_other_registry(tmp_path: Path, cargo: Cargo, home: Server, other: Server) -> None:
    publish = ("publish", "--allow-dirty", "--no-verify", "--registry")
    cargo.run(write_files(tmp_path / "theirs", package("theirs")), *publish, "other")
    cargo.run(
        write_files(tmp_path / "ours", package("ours", 'theirs = { version = "1", registry = "other" }')),
        *publish,
        "priv",
    )
    with urlopen(f"{home.url}/index/ou/rs/ours") as response:
        (dependency,) = json.load(response)["deps"]
    assert dependency["registry"] == f"sparse+{other.url}/index/"
    consumer = write_files(tmp_path / "consumer", package("consumer", 'ours = { version = "1", registry = "priv" }'))
    cargo.run(consumer, "build", "--quiet")


def test_other_registries_have_to_be_allowed(tmp_path: Path, cargo: Cargo) -> None:
    wrong = package("wrong", 'mine = { version = "1", registry = "priv" }')
    publish = ("publish", "--allow-dirty", "--no-verify", "--registry", "other")
    cargo.run(write_files(tmp_path / "mine", package("mine")), *publish[:-1], "priv")
    output = cargo.run(write_files(tmp_path / "wrong", wrong), *publish, fails=True)
    assert "nor one that its operator allows (REGISTRY_ALLOWED_REGISTRIES)" in output
