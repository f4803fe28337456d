"""cargo with a home directory of its own: the installed one, and those of `.ci/debian-cargo` beside it."""

import os
import subprocess
from pathlib import Path
from typing import Protocol

from tests.support.servers import Server


class Registry(Protocol):
    """An address of a registry: a server itself, or a proxy in front of one."""

    @property
    def url(self) -> str: ...

    @property
    def scheme(self) -> str: ...


class Cargo:
    """The installed cargo with a home directory of its own."""

    command: tuple[str, ...] = ("cargo",)

    def __init__(self, home: Path, server: Registry, token: str | None) -> None:
        self.home = home
        home.mkdir(parents=True)
        authority = f'[http]\ncainfo = "{home.parent}/tls/ca.pem"\n' if server.scheme == "https" else ""
        (home / "config.toml").write_text(
            f'[registries.priv]\nindex = "sparse+{server.url}/index/"\n'
            f'[registry]\nglobal-credential-providers = ["cargo:token"]\n{authority}'
        )
        if token:
            self.run(home, "login", "--registry", "priv", stdin=token)

    def run(self, directory: Path, *arguments: str, stdin: str = "", fails: bool = False, **environment: str) -> str:
        """Run cargo in a directory and return its output, standard output and error together."""
        process = subprocess.run(
            [*self.command, *arguments],
            cwd=directory,
            env={
                "PATH": os.environ["PATH"],
                "HOME": os.environ.get("HOME", "/"),
                "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup")),
                "RUSTUP_TOOLCHAIN": os.environ.get("RUSTUP_TOOLCHAIN", "stable"),
                "CARGO_HOME": str(self.home),
                "CARGO_TERM_COLOR": "never",
                "CARGO_INCREMENTAL": "0",
                "CARGO_PROFILE_DEV_DEBUG": "0",  # debug information takes half of the time to build a small crate
                "CARGO_TARGET_DIR": str(directory / "target"),
                **environment,
            },
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert (process.returncode != 0) == fails, process.stdout
        return process.stdout


def write_files(directory: Path, files: dict[str, str]) -> Path:
    """Write files by their relative paths and return the directory."""
    for path, text in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    return directory


CRATES_IO = "https://github.com/rust-lang/crates.io-index"


class MirrorCargo(Cargo):
    """cargo with a home directory of its own, where the mirror replaces crates.io."""

    def __init__(self, home: Path, url: str, token: str | None = None) -> None:
        self.home = home
        home.mkdir(parents=True)
        (home / "config.toml").write_text(
            '[source.crates-io]\nreplace-with = "mirror"\n'
            f'[registries.mirror]\nindex = "sparse+{url}/mirror/index/"\n'
            '[registry]\nglobal-credential-providers = ["cargo:token"]\n'
        )
        if token:
            (home / "credentials.toml").write_text(f'[registries.mirror]\ntoken = "{token}"\n')


DEBIAN_CARGOS = Path("/opt/debian-cargo")


class DebianCargo(Cargo):
    """A cargo of Debian for a registry and its mirror, with the installed compiler; a token is in its environment."""

    def __init__(self, home: Path, version: str, server: Server, token: str = "") -> None:
        self.home, self.token = home, token
        # Before 1.68 sparse registries were unstable; no other command or key differs.
        self.is_stable = tuple(map(int, version.split("."))) >= (1, 68)
        self.command = (f"{DEBIAN_CARGOS}/{version}/cargo", *(() if self.is_stable else ("-Zsparse-registry",)))
        home.mkdir(parents=True)
        (home / "config.toml").write_text(
            f'[registries.priv]\nindex = "sparse+{server.url}/index/"\n'
            f'[source.crates-io]\nreplace-with = "mirror"\n'
            f'[source.mirror]\nregistry = "sparse+{server.url}/mirror/index/"\n'
        )

    def run(self, directory: Path, *arguments: str, stdin: str = "", fails: bool = False, **environment: str) -> str:
        own = {"CARGO_REGISTRIES_PRIV_TOKEN": self.token} if self.token else {}
        own["RUSTC_BOOTSTRAP"] = "0" if self.is_stable else "1"
        return super().run(directory, *arguments, stdin=stdin, fails=fails, **own, **environment)
