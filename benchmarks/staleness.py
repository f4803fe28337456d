"""Readers beside writers for ten minutes: `.venv/bin/python -m benchmarks.staleness [SECONDS]`.

Looks for index files that are older than what was acknowledged before their request, while workers are killed; on
SQLite, or behind `.ci/postgres` on PostgreSQL with two nodes. Exits with 1 if there are any.
"""

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import django

SECONDS, SECONDS_BETWEEN_KILLS = 600, 5


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a signal ends the servers, too
    os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as directory, ExitStack() as stack:
        os.environ["REGISTRY_DATA_DIR"] = f"{directory}/settings"
        django.setup()
        from tests.support.servers import Server, new_database
        from tests.support.staleness import SETTINGS, Checker

        nodes = []
        (Path(directory) / "node0").mkdir()
        database = stack.enter_context(new_database(Path(directory) / "node0", empty=True))
        for number in range(2 if database else 1):
            data = Path(directory) / f"node{number}"
            data.mkdir(exist_ok=True)
            nodes.append(Server(data, {**SETTINGS, **database}))
            nodes[-1].start()
            stack.callback(nodes[-1].stop)
        checker = Checker(nodes, nodes[0].sign_up("alice"), writers=4, readers=6)
        checker.run(float(sys.argv[1]) if sys.argv[1:] else SECONDS, SECONDS_BETWEEN_KILLS)
        violations = checker.violations()
        print("\n".join([checker.summary(), *violations[:20]]))
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
