"""No answer is older than what was acknowledged before its request, nor is a token good, while workers are killed."""

from pathlib import Path

import pytest

from tests.support.servers import Server, running
from tests.support.staleness import SETTINGS, Checker

pytestmark = pytest.mark.long


def test_no_answer_is_stale_on_any_node(tmp_path: Path) -> None:
    """On PostgreSQL there are two nodes. `python -m benchmarks.staleness` does the same for ten minutes."""
    with running(tmp_path / "data", **SETTINGS, REGISTRY_WORKERS="2") as first:
        nodes = [first]
        if database := first.environment.get("REGISTRY_DATABASE_URL"):
            (tmp_path / "second").mkdir()
            environment = {**SETTINGS, "REGISTRY_DATABASE_URL": database, "REGISTRY_WORKERS": "1"}
            nodes.append(Server(tmp_path / "second", environment, is_warm=True))
        try:
            for node in nodes[1:]:
                node.start()
            checker = Checker(nodes, first.sign_up("alice"))
            checker.run(seconds=1.5, seconds_between_kills=0.5)
        finally:
            for node in nodes[1:]:
                node.stop()
    assert checker.violations() == []
    assert len(checker.reads) > 10
    assert checker.kills
