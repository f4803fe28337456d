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
LONGEST = 120  # seconds


class Consumer:
    """A project below `place` whose cargo knows the registry of one index, also in the place of crates.io.

    Its crates are of `registry`, either of the two.
    """

    def __init__(self, place: Path, names: Sequence[str], index: str, link: Link, registry: str = MEASURED) -> None:
        self.home, self.project = place / "home", place / "project"
        self.link, self.crates = link, len(names)
        self.fetches = 0
        (self.project / "src").mkdir(parents=True)
        (self.project / "src" / "lib.rs").touch()
        wanted = "".join(f'{name} = {{ version = "{VERSION}", registry = "{registry}" }}\n' for name in names)
        (self.project / "Cargo.toml").write_text(MANIFEST + wanted)
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
        """Seconds of `cargo fetch` for somebody who has nothing yet."""
        shutil.rmtree(self.home, ignore_errors=True)
        (self.project / "Cargo.lock").unlink(missing_ok=True)
        self.fetches += 1
        return self._timed("fetch")

    def look_for_news(self) -> float:
        """Seconds of `cargo update` for somebody who has everything: the index is asked, and has not changed."""
        return self._timed("update")

    def check_update(self) -> None:
        """Raises `RuntimeError` unless all but `config.json` is 304 to `cargo update`, by the link's protocol."""
        said = self._run("update", CARGO_HTTP_DEBUG="true", CARGO_LOG="network=debug")
        answers = Counter(re.findall(r"< (HTTP/\S+ \d+)", said))
        if answers != {f"{self.link.protocol} 200": 1, f"{self.link.protocol} 304": self.crates}:
            raise RuntimeError(f"cargo update over {self.link} was answered by {dict(answers)}.")

    def _timed(self, verb: str) -> float:
        began = time.perf_counter()
        self._run(verb)
        return time.perf_counter() - began

    def _run(self, verb: str, **environment: str) -> str:
        """What cargo says; raises `RuntimeError` with it when cargo fails."""
        done = subprocess.run(
            [path_of("cargo"), verb],
            cwd=self.project,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST,
        )
        if done.returncode:
            raise RuntimeError(f"cargo {verb} failed over {self.link}:\n{done.stdout[-2000:]}")
        return done.stdout
