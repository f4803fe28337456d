"""Every page in Chromium: axe finds nothing, no other host is asked, no policy is violated, JavaScript is no need.

The accessible outline of each page stands in `tests/registry_site/outlines/`; `WRITE_OUTLINES=1` writes them anew.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import axe_playwright_python
import pytest
from django.contrib import admin
from playwright.sync_api import Browser, BrowserContext, StorageState, ViewportSize, expect, sync_playwright
from playwright.sync_api import Page as Tab

from registry_site.admin.object_pages import ObjectPage
from tests.support.chromium import CHROMIUM
from tests.support.pages import PAGES, Page
from tests.support.sample_registry import PASSWORD, RECOVERY_CODE
from tests.support.servers import ROOT, Server, running

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
OUTLINES = Path(__file__).parent / "outlines"
# Names are resolved to nothing, so that a page which asks for more fails here as it does without a network.
OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
DESKTOP, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=400, height=800)
Look = tuple[Literal["light", "dark"], Literal["light", "dark"]]
LOOKS: tuple[Look, ...] = (("light", "dark"), ("dark", "light"))  # on a desktop and on a phone; pages take turns
# What is another one on each run.
CHANGING = {
    re.compile(r"127\.0\.0\.1:\d+"): "HOST",
    re.compile(r"\b[0-9a-f]{12,64}(?:…|\b)"): "DIGEST",
    re.compile(r"\b(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}\b"): "KEY",
    re.compile(r"\b[\d.]+ kB\b"): "SIZE",
    re.compile(r"\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d+\b"): "DAY",
    re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?(?: UTC)?"): "DATE",
    re.compile(r":\n +- time: DATE"): "",
    re.compile(r"not yet known"): "DATE",  # the last use, which a worker stores within seconds
}

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
    pytest.mark.database_independent,
    pytest.mark.long,
]


@dataclass
class Visit:
    """What a browser found on a page."""

    violations: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    too_wide: bool = False
    outline: str = ""
    outline_without_scripts: str = ""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("pages") / "data") as server:
        environment = server.environment | {"DJANGO_SETTINGS_MODULE": "registry_site.settings"}
        subprocess.run([sys.executable, "-m", "tests.support.sample_registry"], cwd=ROOT, env=environment, check=True)
        yield server


@pytest.fixture(scope="module")
def visits(site: Server) -> dict[str, Visit]:
    """A visit to each page, with scripts and without."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as browser,
    ):
        visits = {page.name: Visit() for page in PAGES}
        for visitor in sorted({page.visitor for page in PAGES}):
            pages = [page for page in PAGES if page.visitor == visitor]
            session = sign_in(browser, site, visitor)
            walk_with_scripts(browser, site, session, pages, visits)
            walk_without_scripts(browser, site, session, pages, visits)
    return visits


def sign_in(browser: Browser, site: Server, visitor: str) -> StorageState | None:
    """Sign in, if there is a name, and return the session."""
    if not visitor:
        return None
    tab = browser.new_page(base_url=site.url)
    tab.goto("/sign-in")
    form = tab.get_by_role("main")
    form.get_by_label("User name").fill(visitor)
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button", name="Sign in").click()
    tab.wait_for_url(lambda url: not url.endswith("/sign-in"))
    if "/sign-in/code" in tab.url:
        form.get_by_label("Or a recovery code").fill(RECOVERY_CODE)
        form.get_by_role("button", name="Sign in", exact=True).click()
        tab.wait_for_url(lambda url: "/sign-in" not in url)
    session = tab.context.storage_state()
    tab.close()
    return session


def new_context(browser: Browser, site: Server, session: StorageState | None, *, scripts: bool) -> BrowserContext:
    return browser.new_context(
        base_url=site.url,
        viewport=DESKTOP,
        java_script_enabled=scripts,
        reduced_motion="reduce",
        storage_state=session,
    )


def walk_with_scripts(
    browser: Browser, site: Server, session: StorageState | None, pages: list[Page], visits: dict[str, Visit]
) -> None:
    context = new_context(browser, site, session, scripts=True)
    tab = context.new_page()
    tab.set_default_timeout(20_000)
    for page, look in zip(pages, cycle(LOOKS), strict=False):
        look_at(tab, page, look, visits[page.name])
    context.close()


def look_at(tab: Tab, page: Page, look: Look, visit: Visit) -> None:
    """Open a page once, and look at it twice: wide and narrow, light and dark."""

    def note(text: str) -> None:
        if str(page.status) not in text:  # Chromium notes the status of an error page, too
            visit.complaints.append(text)

    console = lambda message: note(message.text) if message.type in ("error", "warning") else None  # noqa: E731
    request = lambda sent: visit.hosts.add(urlsplit(sent.url).hostname or "")  # noqa: E731
    tab.on("console", console)
    tab.on("request", request)
    tab.set_viewport_size(DESKTOP)
    tab.goto(page.path)
    if not tab.url.endswith(page.path):
        visit.complaints.append(f"The browser was led to {tab.url}.")
    visit.outline = tab.locator("body").aria_snapshot()
    # The tool of the test, which the page's own policy would not load.
    tab.evaluate(AXE.read_text())
    for size, scheme in zip((DESKTOP, PHONE), look, strict=True):
        tab.set_viewport_size(size)
        tab.emulate_media(color_scheme=scheme)
        visit.violations += [f"{scheme}, {size['width']} wide: {violation}" for violation in offenders(tab)]
    visit.too_wide = tab.evaluate("document.documentElement.scrollWidth > innerWidth")
    tab.remove_listener("console", console)
    tab.remove_listener("request", request)


def offenders(tab: Tab) -> list[str]:
    # Without a preload, which fetches style sheets again and puts them into the page, against its policy.
    results = tab.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
    return [
        f"{violation['id']} at {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for violation in results["violations"]
        for node in violation["nodes"]
    ]


def walk_without_scripts(
    browser: Browser, site: Server, session: StorageState | None, pages: list[Page], visits: dict[str, Visit]
) -> None:
    context = new_context(browser, site, session, scripts=False)
    tab = context.new_page()
    for page in pages:
        tab.goto(page.path)
        visits[page.name].outline_without_scripts = tab.locator("body").aria_snapshot()
    context.close()


def normalized(outline: str) -> str:
    for pattern, word in CHANGING.items():
        outline = pattern.sub(word, outline)
    return outline.strip() + "\n"


def test_axe_finds_nothing_on_any_page(visits: dict[str, Visit]) -> None:
    assert {name: visit.violations for name, visit in visits.items() if visit.violations} == {}


def test_browser_has_no_complaints(visits: dict[str, Visit]) -> None:
    assert {name: visit.complaints for name, visit in visits.items() if visit.complaints} == {}


def test_no_other_host_is_asked(visits: dict[str, Visit]) -> None:
    assert {name: visit.hosts for name, visit in visits.items() if visit.hosts - {"127.0.0.1", ""}} == {}


def test_pages_fit_a_phone(visits: dict[str, Visit]) -> None:
    assert [name for name, visit in visits.items() if visit.too_wide] == []


def test_pages_are_whole_without_scripts(visits: dict[str, Visit]) -> None:
    """All but the buttons that copy, which need one."""
    copying = re.compile(r'^ *- button "Copy.*\n?', re.MULTILINE)
    differing = [
        name
        for name, visit in visits.items()
        if copying.sub("", normalized(visit.outline)) != normalized(visit.outline_without_scripts)
    ]
    assert differing == []


def test_outlines_are_those_of_before(visits: dict[str, Visit]) -> None:
    if os.environ.get("WRITE_OUTLINES"):
        OUTLINES.mkdir(exist_ok=True)
        for name, visit in visits.items():
            (OUTLINES / f"{name}.yaml").write_text(normalized(visit.outline))
    stored = {path.stem: path.read_text() for path in OUTLINES.glob("*.yaml")}
    assert stored.keys() == visits.keys()
    assert {name: normalized(visit.outline) for name, visit in visits.items()} == stored


def pages_of_staff(tab: Tab) -> list[Page]:
    """Return pages beside lists, a list, the object page of a row of each model, and an action with each form."""
    paths = ("", "search/?q=harbour", "address/?of=127.0.0.1", "settings/", "whose-token/", "registry_site/auditevent/")
    pages = [Page(path or "front", f"/admin/{path}", "root") for path in paths]
    forms = set()
    for model, model_admin in admin.site._registry.items():
        if isinstance(model_admin, ObjectPage):
            label = model._meta.label_lower
            tab.goto(f"/admin/{label.replace('.', '/')}/")
            links = tab.locator("#result_list tbody th a")
            if not links.count():
                continue
            path = links.first.get_attribute("href") or ""
            key = path.strip("/").rpartition("/")[2]
            pages.append(Page(label, path, "root"))
            for action in model_admin.staff_actions:
                if action.form not in forms:
                    forms.add(action.form)
                    pages.append(Page(f"{label} {action.name}", model_admin.act_url(action, key), "root"))
    return pages


def test_pages_of_staff_suit_everybody(site: Server) -> None:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as browser,
    ):
        session = sign_in(browser, site, "root")
        pages = pages_of_staff(new_context(browser, site, session, scripts=False).new_page())
        visits = {page.name: Visit() for page in pages}
        walk_with_scripts(browser, site, session, pages, visits)
    assert {"accounts.user", "crates.crate", "namespaces.namespace", "packages.package"} <= visits.keys()
    faults = {name: [*visit.violations, *visit.complaints] for name, visit in visits.items()}
    assert {name: listed for name, listed in faults.items() if listed} == {}
    assert [name for name, visit in visits.items() if visit.too_wide] == []


def test_results_show_while_typing(site: Server) -> None:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as browser,
    ):
        tab = browser.new_page(base_url=site.url)
        tab.goto("/")
        tab.keyboard.press("/")  # leads to the box
        tab.keyboard.type("harb")
        results = tab.locator("#results")
        expect(results.get_by_role("status")).to_contain_text("for “harb”")
        expect(results.get_by_role("link", name="harbour-core", exact=True)).to_be_visible()
        tab.keyboard.type("our-auth nothing")
        expect(results.get_by_text("Nothing matches all of these words.")).to_be_visible()
        assert urlsplit(tab.url).path == "/"
