"""`GET /docs/api` in a browser: every operation is there, and nothing comes from anywhere else."""

import json
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from playwright.sync_api import sync_playwright

from tests.support.chromium import CHROMIUM
from tests.support.servers import running

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
    pytest.mark.database_independent,
]

# Names are resolved to nothing, so that a page which asks for more fails here as it does without a network.
OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


class Visit(NamedTuple):
    shown: list[str]
    documented: list[str]
    complaints: list[str]
    hosts: set[str | None]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """What a visitor of the page sees, and what their browser does."""
    complaints: list[str] = []
    hosts: set[str | None] = set()
    with (
        running(tmp_path_factory.mktemp("docs") / "data") as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as browser,
    ):
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
        page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(f"{server.url}/docs/api")
        page.locator(".opblock").first.wait_for()
        page.wait_for_load_state("networkidle")
        shown = page.locator(".opblock-summary").evaluate_all(
            "all => all.map(one => one.querySelector('.opblock-summary-method').textContent + ' ' +"
            " one.querySelector('.opblock-summary-path').dataset.path)"
        )
        with urlopen(f"{server.url}/openapi.json") as answer:
            paths = json.load(answer)["paths"]
    documented = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    return Visit(shown, documented, complaints, hosts)


def test_every_operation_is_shown(visit: Visit) -> None:
    assert sorted(visit.shown) == sorted(visit.documented)


def test_browser_has_nothing_to_complain_about(visit: Visit) -> None:
    assert visit.complaints == []


def test_nothing_is_asked_of_any_other_host(visit: Visit) -> None:
    assert visit.hosts - {None} == {"127.0.0.1"}
