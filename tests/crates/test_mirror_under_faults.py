"""Mirror under load, with an upstream that fails three times of ten, in all ways, and workers that are killed."""

from pathlib import Path

import pytest

from tests.support import bad_upstream
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.load_generator import SETTINGS, LoadGenerator
from tests.support.mirror_store import find_damage, temporary_files
from tests.support.servers import running

pytestmark = pytest.mark.long

REQUESTS = 300
CLIENTS = 16


def test_no_byte_is_wrong_under_faults(tmp_path: Path) -> None:
    with (
        bad_upstream.serving(lambda port: FaultyUpstream(port, seed=1, count=40, versions=2)) as upstream,
        running(tmp_path / "data", REGISTRY_MIRROR_UPSTREAM=upstream.url, **SETTINGS) as server,
    ):
        load = LoadGenerator(server, upstream, seed=1)
        outcomes = load.request_at_random(REQUESTS, clients=CLIENTS, kills=1)
        assert [outcome for outcome in outcomes if outcome.wrong] == []
        assert {"200", "206", "304", "404", "502"} <= {outcome.result for outcome in outcomes}
        assert sum(upstream.faults.values()) > 20
        assert load.request_everything(clients=CLIENTS) == []
        assert (find_damage(server), load.find_unknown_rows()) == ([], [])
        assert len(temporary_files(server)) <= CLIENTS
    assert "Traceback" not in server.log.read_text()
