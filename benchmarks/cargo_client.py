"""Stock cargo as a client: a project that depends on many crates."""

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.links import Link
from benchmarks.programs import path_of
from benchmarks.publish_client import VERSION

CRATES_IO, MEASURED = "crates-io", "measured"
REPLACED = f'[source.{CRATES_IO}]\nreplace-with = "{MEASURED}"\n'
MANIFEST = '[package]\nname = "consumer"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n'
TIMEOUT = 120  # seconds


class Consumer:
    """A project in `directory` whose cargo knows the registry of one index, also as a replacement of crates.io.

    Its dependencies come from `registry`, one of the two.
    """

    def __init__(self, directory: Path, names: Sequence[str], index: str, link: Link, registry: str = MEASURED) -> None:
        self.home, self.project = directory / "home", directory / "project"
        self.link, self.crates = link, len(names)
        self.fetches = 0
        (self.project / "src").mkdir(parents=True)
        (self.project / "src" / "lib.rs").touch()
        dependencies = "".join(f'{name} = {{ version = "{VERSION}", registry = "{registry}" }}\n' for name in names)
        (self.project / "Cargo.toml").write_text(MANIFEST + dependencies)
        (self.project / ".cargo").mkdir()
        (self.project / ".cargo" / "config.toml").write_text(REPLACED)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("CARGO_")}
        self.environment = inherited | {
            "CARGO_HOME": str(self.home),
            "CARGO_REGISTRIES_MEASURED_INDEX": f"sparse+{index}",
        }
        if not link.multiplexing:
            self.environment["CARGO_HTTP_MULTIPLEXING"] = "false"
        if link.certificate:
            self.environment["CARGO_HTTP_CAINFO"] = str(link.certificate.authority)

    def fetch_all(self) -> float:
        """Run `cargo fetch` with an empty home directory, and return its seconds."""
        shutil.rmtree(self.home, ignore_errors=True)
        (self.project / "Cargo.lock").unlink(missing_ok=True)
        self.fetches += 1
        return self._timed("fetch")

    def update(self) -> float:
        """Run `cargo update` with everything fetched and an unchanged index, and return its seconds."""
        return self._timed("update")

    def check_update(self) -> None:
        """Raise `RuntimeError` unless `cargo update` gets 304 for all but `config.json` over this link."""
        output = self._run("update", CARGO_HTTP_DEBUG="true", CARGO_LOG="network=debug")
        answers = Counter(re.findall(r"< (HTTP/\S+ \d+)", output))
        if answers != {f"{self.link.protocol} 200": 1, f"{self.link.protocol} 304": self.crates}:
            raise RuntimeError(f"cargo update over {self.link} got {dict(answers)}.")

    def _timed(self, verb: str) -> float:
        began = time.perf_counter()
        self._run(verb)
        return time.perf_counter() - began

    def _run(self, verb: str, **environment: str) -> str:
        """Run cargo and return its output; raises `RuntimeError` with the output if cargo fails."""
        done = subprocess.run(
            [path_of("cargo"), verb],
            cwd=self.project,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        if done.returncode:
            raise RuntimeError(f"cargo {verb} failed over {self.link}:\n{done.stdout[-2000:]}")
        return done.stdout
