"""A mirror whose upstream fails three times of ten, in all ways, while its own workers are killed."""

from pathlib import Path

from tests.support import bad_upstream
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.load_generator import SETTINGS, Crowd
from tests.support.mirror_store import damage, unfinished
from tests.support.servers import running

REQUESTS = 300
CLIENTS = 16


def test_no_byte_is_wrong_and_no_file_is_partial(tmp_path: Path) -> None:
    with (
        bad_upstream.serving(lambda port: FaultyUpstream(port, seed=1, count=40, versions=2)) as upstream,
        running(tmp_path / "data", REGISTRY_MIRROR_UPSTREAM=upstream.url, **SETTINGS) as server,
    ):
        crowd = Crowd(server, upstream, seed=1)
        outcomes = crowd.ask(REQUESTS, clients=CLIENTS, kills=1)
        assert [outcome for outcome in outcomes if outcome.wrong] == []
        assert {"200", "206", "304", "404", "502"} <= {outcome.result for outcome in outcomes}
        assert sum(upstream.faults.values()) > 20
        assert crowd.ask_for_all(clients=CLIENTS) == []
        assert (damage(server), crowd.strange()) == ([], [])
        assert len(unfinished(server)) <= CLIENTS
    assert "Traceback" not in server.log.read_text()
