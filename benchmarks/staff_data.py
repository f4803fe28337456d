"""Fills the configured, empty database for the admin site: `.venv/bin/python -m benchmarks.staff_data`.

20,000 users and crates, 60,000 versions (1,000 of one crate), 100,000 files, 200,000 audit events, and all that goes
with them; of each relation, 2,000 rows lead to one object. Takes about a minute. `root` administers, and there is one
member of staff of each rank, named as the rank.
"""

import argparse
import os
import sys
import time

import django
from django.core.management import call_command

from benchmarks.http_timing import print_progress
from tests.support.servers import PASSWORD

ADMINISTRATOR = "root"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "registry_site.settings")
    django.setup()
    fill()


def fill() -> None:
    """Create the tables and all rows, with an administrator and staff of each rank."""
    from accounts import registration
    from accounts.models import User
    from accounts.ranks import Rank, set_rank
    from tests.support import staff_rows

    call_command("migrate", verbosity=0)
    if User.objects.exists():
        sys.exit("There are users in this database; give an empty one.")
    began = time.monotonic()
    registration.register(ADMINISTRATOR, PASSWORD, admin=True)
    for rank in Rank:
        set_rank(registration.register(rank.value, PASSWORD), rank, actor=None)
    staff_rows.fill(staff_rows.LARGE)
    print_progress(f"filled in {time.monotonic() - began:.0f} s; the password of all is {PASSWORD!r}")


if __name__ == "__main__":
    main()
