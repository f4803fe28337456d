"""Readers beside writers for ten minutes: `.venv/bin/python -m benchmarks.staleness [SECONDS]`.

Looks for index files that are older than what was acknowledged before their request, while workers are killed; on
SQLite, or behind `.ci/postgres` on PostgreSQL with two nodes. Exits with 1 if there are any.
"""

import os
import sys
from contextlib import ExitStack

from benchmarks.workplace import temporary_directory

SECONDS, SECONDS_BETWEEN_KILLS = 600, 5


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
    with temporary_directory() as directory, ExitStack() as stack:
        from tests.support.servers import Server, new_database
        from tests.support.staleness import SETTINGS, Checker

        nodes = []
        (directory / "node0").mkdir()
        database = stack.enter_context(new_database(directory / "node0", empty=True))
        for number in range(2 if database else 1):
            data = directory / f"node{number}"
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
