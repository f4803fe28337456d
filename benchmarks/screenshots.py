"""Screenshots for the README and the docs: `.venv/bin/python -m benchmarks.screenshots`.

Fills a registry with the sample of the tests, opens its pages in Chromium, and writes the pictures of docs/pictures/
anew: wide in light and dark, and as a phone shows them. Takes about a minute; leaves nothing else.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from benchmarks.http_timing import print_progress
from tests.support.chromium import CHROMIUM
from tests.support.sample_registry import PASSWORD
from tests.support.servers import ROOT, Server

HOST = "crates.example.com"
PICTURES = ROOT / "docs" / "pictures"
WIDE, PHONE = ViewportSize(width=1200, height=780), ViewportSize(width=390, height=780)
PAGES = {
    "home": "/",
    "search": "/search?q=harbour",
    "crate": "/crates/harbour-core",
}
PAGES_OF_ALICE = {"tokens": "/account/tokens"}
LOOKS = ("light", "dark", "phone")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="entrepot-screenshots-") as directory:
        data = Path(directory) / "data"
        data.mkdir()
        server = Server(data, {"REGISTRY_PUBLIC_URL": f"http://{HOST}"})
        fill(server)
        server.start()
        try:
            take_pictures(server)
        finally:
            server.stop()


def fill(server: Server) -> None:
    server.manage("migrate", "-v0")
    environment = server.environment | {"DJANGO_SETTINGS_MODULE": "registry_site.settings"}
    subprocess.run([sys.executable, "-m", "tests.support.sample_registry"], cwd=ROOT, env=environment, check=True)
    print_progress("the registry is filled")


def take_pictures(server: Server) -> None:
    PICTURES.mkdir(exist_ok=True)
    # The pictures show the address of the registry.
    arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {HOST}:80 127.0.0.1:{server.port}"]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as browser,
    ):
        for look in LOOKS:
            take(browser, look, PAGES, visitor="")
            take(browser, look, PAGES_OF_ALICE, visitor="alice")


def take(browser: Browser, look: str, pages: dict[str, str], visitor: str) -> None:
    context = browser.new_context(
        base_url=f"http://{HOST}",
        viewport=PHONE if look == "phone" else WIDE,
        color_scheme="dark" if look == "dark" else "light",
        reduced_motion="reduce",
    )
    tab = context.new_page()
    if visitor:
        tab.goto("/sign-in")
        form = tab.get_by_role("main")
        form.get_by_label("User name").fill(visitor)
        form.get_by_label("Password").fill(PASSWORD)
        form.get_by_role("button", name="Sign in").click()
        tab.wait_for_url(lambda url: "/sign-in" not in url)
    for name, path in pages.items():
        tab.goto(path)
        tab.screenshot(path=PICTURES / f"{name}-{look}.png")
        print_progress(f"{name}, {look}")
    context.close()


if __name__ == "__main__":
    main()
