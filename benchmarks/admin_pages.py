"""Measures the admin site over the rows of benchmarks.staff_data, in the configured database:

    export REGISTRY_DATA_DIR=$(mktemp -d)
    .venv/bin/python -m benchmarks.staff_data && .venv/bin/python -m benchmarks.admin_pages

Or beside PostgreSQL: `.ci/postgres sh -c '… && …'`. Opens the front page, each list with all links that order, filter
and turn its pages, searches of each, and each page of the busiest and of a usual row, as the administrator and as the
auditor, who reads all without being a superuser. Other ranks open the pages of rows alone, where their actions are.
Prints one table, and exits with 1 if a page is over a limit. The limit of the time is for the quickest request, and for
the processor's time of this process and of its connection to PostgreSQL: others that use the machine count less then.
`--only /crates/` measures the paths with this text, `--staff root` those of one member of staff.
"""

import argparse
import html
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

import django

from benchmarks.staff_data import ADMINISTRATOR
from benchmarks.table import columns
from tests.support.servers import PASSWORD

if TYPE_CHECKING:
    from django.test import Client

MAX_MILLISECONDS, MAX_QUERIES, MAX_BYTES = 150, 11, 150_000
SLOW_SECONDS = 3  # after which a page is timed no more
SHOWN_LENGTH = 100  # of a path
LINKS_OF_A_KIND = 3  # links of a list with the same parameters, such as the days of a month
HEAD = ("page", "as", "limited ms", "median", "worst", "queries", "kB", "status", "over")
LINK_IN_LIST = re.compile(r'href="(\?[^"]*)"')
BUSY_NAMES = ("busy", "busy-team", "mirrored-busy")
SKIPPED = re.compile(r"/delete/|/act/|/export\.")  # what only a form or an action leads to
READ_ALL = (ADMINISTRATOR, "auditor")  # of whom each opens everything
PAGE_OF_ROW = re.compile(r"/admin/\w+/\w+/[^/]+/$")
NO_PAGE = {403, 405}  # such as the form of a row that nobody changes


@dataclass
class Page:
    """A page with what it took; the first request, which fills caches, is not timed."""

    path: str
    staff: str
    status: int = 0
    queries: int = 0
    size: int = 0
    milliseconds: list[float] = field(default_factory=list)
    limited: float = float("inf")  # milliseconds of the quickest request

    def faults(self) -> list[str]:
        """List what is over its limit."""
        checks = {
            "failed": self.status != 200,
            "time": self.limited > MAX_MILLISECONDS,
            "queries": self.queries > MAX_QUERIES,
            "size": self.size > MAX_BYTES,
        }
        return [fault for fault, is_over in checks.items() if is_over]

    def cells(self) -> tuple[str, ...]:
        times = (f"{time:.0f}" for time in (self.limited, median(self.milliseconds), max(self.milliseconds)))
        figures = str(self.queries), f"{self.size / 1000:.0f}", str(self.status)
        path = self.path if len(self.path) <= SHOWN_LENGTH else f"{self.path[: SHOWN_LENGTH - 1]}…"
        return path, self.staff, *times, *figures, " ".join(self.faults())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="", help="measure the paths with this text")
    options.add_argument("--staff", default="", help="measure as this user alone, such as root or auditor")
    options.add_argument("--rounds", type=int, default=5, help="how often each page is timed: 5")
    arguments = options.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "registry_site.settings")
    os.environ.setdefault("REGISTRY_LOG_LEVEL", "error")  # slow requests stand in the table
    django.setup()
    from registry_site import change_feed

    change_feed.start()  # so that this process remembers what a worker of a server does
    measured = measure_all(arguments.staff, arguments.only, arguments.rounds)
    pages = [page for page in measured if page.status not in NO_PAGE]
    pages.sort(key=lambda page: (not page.faults(), -page.limited))
    offenders = [page for page in pages if page.faults()]
    print(columns([HEAD, *(page.cells() for page in pages)]))
    print(f"\n{len(pages)} pages, {len(offenders)} over a limit")
    sys.exit(bool(offenders))


def sign_in(name: str) -> "Client":
    from django.conf import settings
    from django.test import Client

    client = Client(raise_request_exception=False, SERVER_NAME="localhost", secure=settings.SESSION_COOKIE_SECURE)
    if not client.login(username=name, password=PASSWORD):
        sys.exit("Fill the database first: .venv/bin/python -m benchmarks.staff_data")
    for _ in range(2):  # the first notes the use of the session, which is remembered from then on
        client.get("/admin/")
    return client


def measure_all(only_staff: str, only: str, rounds: int) -> Iterator[Page]:
    """Measure the pages whose path has the text `only`, each once as each member of staff, or as `only_staff`."""
    from accounts.ranks import Rank

    for name in [only_staff] if only_staff else [ADMINISTRATOR, *Rank.values]:
        client, measured = sign_in(name), set[str]()
        for path in paths(client, only):
            if path not in measured and (name in READ_ALL or PAGE_OF_ROW.search(path)):
                measured.add(path)
                yield measure(client, name, path, rounds)


def measure(client: "Client", staff: str, path: str, rounds: int) -> Page:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from registry_site import announcements

    page = Page(path, staff)
    announcements.current.refresh()  # a worker reads them every five seconds, on any page
    with CaptureQueriesContext(connection) as captured:
        response = client.get(path, follow=True)
    page.status, page.size, page.queries = response.status_code, len(response.getvalue()), len(captured)
    clock = processor_clock()
    while len(page.milliseconds) < rounds and sum(page.milliseconds) < 1000 * SLOW_SECONDS:
        began, used = time.perf_counter(), clock()
        client.get(path, follow=True).getvalue()
        page.limited = min(page.limited, 1000 * (clock() - used))
        page.milliseconds.append(1000 * (time.perf_counter() - began))
    return page


def processor_clock() -> Callable[[], float]:
    """Return a clock of the processor's time, in seconds, of this process and of its connection to PostgreSQL."""
    from django.db import connection

    if connection.vendor == "sqlite":
        return time.process_time
    backend = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")  # on this machine, see `.ci/postgres`
    return lambda: time.process_time() + int(backend.read_text().split()[0]) / 1e9


# --- The pages -------------------------------------------------------------------------------------------------------


def paths(client: "Client", only: str) -> Iterator[str]:
    """Iterate over the paths of all pages with the text `only`: no list of pages has to be kept."""
    from django.contrib import admin

    candidates = ["/admin/", *site_paths()]
    for model, model_admin in admin.site._registry.items():
        candidates += page_paths(model, model_admin)
    for path in candidates:
        if only in path:
            yield path
            if is_list(path):
                yield from (path + link for link in links_of(client.get(path).getvalue().decode()))


def links_of(page: str) -> Iterator[str]:
    """Iterate over the links of a list to itself, a few of each kind."""
    kinds: Counter[tuple[str, ...]] = Counter()
    for link in map(html.unescape, LINK_IN_LIST.findall(page)):
        kind = tuple(sorted(parse_qs(link[1:], keep_blank_values=True)))
        kinds[kind] += 1
        if kinds[kind] <= LINKS_OF_A_KIND:
            yield link


def site_paths() -> Iterator[str]:
    """Iterate over the site's own pages without arguments, and over those of its applications."""
    from django.contrib import admin
    from django.urls import NoReverseMatch, reverse

    for pattern in admin.site.get_urls():
        name = getattr(pattern, "name", None)
        if name and name not in {"logout", "autocomplete", "jsi18n", "login"}:
            try:
                yield reverse(f"admin:{name}")
            except NoReverseMatch:
                continue
    yield from {f"/admin/{model._meta.app_label}/" for model in admin.site._registry}


def page_paths(model: Any, model_admin: Any) -> Iterator[str]:
    """Iterate over the pages of a model: its lists, forms and object pages, and searches."""
    from django.urls import NoReverseMatch, reverse

    keys = list(keys_of(model))
    for pattern in model_admin.get_urls():
        for arguments in ([], *([key] for key in keys)):
            try:
                path = reverse(f"admin:{pattern.name}", args=arguments) if pattern.name else None
            except NoReverseMatch:
                continue
            if path and not SKIPPED.search(path):
                yield path
    if model_admin.search_fields:
        path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        texts = {str(model._default_manager.order_by("pk").first()), "absent", "10.1.1.1", "an"}
        yield from (f"{path}?q={quote(text)}" for text in sorted(texts))


def keys_of(model: Any) -> set[Any]:
    """Return the keys of the first and the last row, and of those to which many others refer."""
    rows = model._default_manager.order_by()
    ends = [rows.order_by("pk").first(), rows.order_by("-pk").first()]
    keys = {row.pk for row in ends if row is not None}
    for name in {"name", "username"} & {column.name for column in model._meta.concrete_fields}:
        keys.update(rows.filter(**{f"{name}__in": BUSY_NAMES}).values_list("pk", flat=True)[:3])
    return keys


def is_list(path: str) -> bool:
    """Return whether a path is that of a list: `/admin/APP/MODEL/`."""
    return path.count("/") == 4 and "?" not in path


if __name__ == "__main__":
    main()
