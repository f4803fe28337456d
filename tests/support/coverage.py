"""Coverage of the product, measured in each worker of the tests: `-p tests.support.coverage --coverage=DIRECTORY`.

coverage.py would follow each line of Django, too, and double the time. slipcover puts probes into the product alone.
"""

import json
import os
from pathlib import Path

import pytest
from slipcover import FileMatcher, ImportManager, Slipcover
from slipcover.config import read_config

# Hits of one line until the probes of all lines that were reached are removed. That looks at every function, and so
# takes longer than many hits.
HITS = 5_000

settings = read_config()
coverage = Slipcover(
    branch=settings["branch"],
    source=settings["source"],
    omit=settings["omit"],
    exclude_also=settings["exclude-also"],
    d_miss_threshold=HITS,
)
if "PYTEST_XDIST_WORKER" in os.environ:
    # Now, for the product is imported before the first hook.
    ImportManager(coverage, FileMatcher(settings["source"], settings["omit"])).__enter__()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--coverage", type=Path, required=True, help="directory for a file of each worker")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        directory = session.config.getoption("--coverage")
        directory.mkdir(exist_ok=True)
        (directory / f"{worker}.json").write_text(json.dumps(coverage.get_coverage()))
