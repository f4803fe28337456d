"""Real READMEs on pages of a running server, in Chromium: `.venv/bin/python -m benchmarks.readme_pages FOLDER SHEETS`.

FOLDER has a folder for each crate, with its README and its Cargo.toml, as `cargo vendor` makes it. Each is published
and opened. Prints what the browser's policy has stopped, elements and attributes that no README may have, and pages
that are wider than a phone; writes contact sheets with twenty READMEs each to the folder SHEETS. Images of other hosts
are drawn as grey badges, for nothing is fetched.
"""

import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ViewportSize, sync_playwright

from benchmarks.http_timing import print_progress
from tests.support.chromium import CHROMIUM
from tests.support.readme_pages import PHONE, Readme, look_at, publish, watched_tab
from tests.support.servers import Server

OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--allow-file-access-from-files"]
SUFFIXES = (".md", ".mkd", ".markdown", ".rst", "")
BADGE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20">'
    '<rect width="90" height="20" rx="3" fill="#999"/></svg>'
)
LOAD_IMAGES = """
() => Promise.all([...document.images].map((image) => {
  image.loading = "eager";
  return image.decode().catch(() => {});
}))
"""
PER_SHEET = 20
COLUMNS = {"wide": 5, "phone": 10}
WINDOWS = {"phone": PHONE, "wide": ViewportSize(width=1280, height=900)}
SHOWN_HEIGHT = {"wide": 1200, "phone": 1400}  # pixels of each README on a sheet
SHEET = ViewportSize(width=2000, height=1000)
SETTINGS = {"REGISTRY_PUBLISH_LIMIT_PER_10_SECONDS": "0"}


def main() -> None:
    folder, sheets = Path(sys.argv[1]), Path(sys.argv[2])
    sheets.mkdir(parents=True, exist_ok=True)
    readmes = list(find_readmes(folder))
    with tempfile.TemporaryDirectory(prefix="entrepot-readmes-") as directory:
        data = Path(directory) / "data"
        data.mkdir()
        server = Server(data, SETTINGS)
        server.start()
        try:
            token = server.sign_up("alice")
            for readme in readmes:
                publish(server, token, readme)
            print_progress(f"{len(readmes)} READMEs are published")
            with (
                sync_playwright() as playwright,
                playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as browser,
            ):
                offenders = walk(browser, server, readmes, Path(directory))
                draw_sheets(browser, readmes, Path(directory), sheets)
        finally:
            server.stop()
    print("\n".join(offenders))
    if offenders:
        sys.exit(f"{len(offenders)} findings.")


def find_readmes(folder: Path) -> Iterator[Readme]:
    for manifest in sorted(folder.glob("*/Cargo.toml")):
        package = tomllib.loads(manifest.read_text())["package"]
        files = [path for path in manifest.parent.iterdir() if is_readme(path)]
        if files:
            [readme, *_] = sorted(files, key=lambda path: SUFFIXES.index(path.suffix.lower()))
            text = readme.read_text(errors="replace")
            # The folder's name: it can have two versions of a crate.
            name = manifest.parent.name.replace(".", "-").replace("+", "-")
            yield Readme(name, text, readme.name, package.get("repository", ""))


def is_readme(path: Path) -> bool:
    return path.stem.lower() == "readme" and path.suffix.lower() in SUFFIXES


def walk(browser: Browser, server: Server, readmes: Sequence[Readme], pictures: Path) -> list[str]:
    """Open all READMEs, and return what is wrong with them; their pictures lie in a folder then."""
    offenders = []
    context = browser.new_context(base_url=server.url, reduced_motion="reduce")
    draw_badges(context)
    with watched_tab(context) as tab:
        for readme in readmes:
            tab.set_viewport_size(PHONE)
            offenders += [f"{readme.name}: {wrong}" for wrong in look_at(tab, f"/crates/{readme.name}").wrong]
            tab.evaluate(LOAD_IMAGES)
            for look, window in WINDOWS.items():
                tab.set_viewport_size(window)
                box = tab.locator(".readme").bounding_box()
                assert box is not None
                box["height"] = min(box["height"], SHOWN_HEIGHT[look])
                tab.screenshot(path=pictures / f"{readme.name}-{look}.png", full_page=True, clip=box)
    context.close()
    print_progress("all pages are opened")
    return offenders


def draw_badges(context: BrowserContext) -> None:
    context.route(re.compile("^https:"), lambda route: route.fulfill(content_type="image/svg+xml", body=BADGE))


def draw_sheets(browser: Browser, readmes: Sequence[Readme], pictures: Path, sheets: Path) -> None:
    tab = browser.new_page(viewport=SHEET)
    for look in WINDOWS:
        for start in range(0, len(readmes), PER_SHEET):
            some = readmes[start : start + PER_SHEET]
            page = pictures / "sheet.html"
            page.write_text(sheet_of([(readme.name, f"{readme.name}-{look}.png") for readme in some], look))
            tab.goto(page.as_uri())
            tab.screenshot(path=sheets / f"{look}-{start // PER_SHEET + 1:02}.png", full_page=True)
    print_progress("the sheets are drawn")


def sheet_of(pictures: Sequence[tuple[str, str]], look: str) -> str:
    width = 100 / COLUMNS[look]
    tiles = "".join(
        f'<figure><figcaption>{name}</figcaption><img src="{source}"></figure>' for name, source in pictures
    )
    return (
        "<!doctype html><style>body{margin:0;display:flex;flex-wrap:wrap;background:#777;font:16px sans-serif}"
        f"figure{{box-sizing:border-box;width:{width}%;margin:0;padding:4px}}img{{width:100%;background:#fff}}"
        f"figcaption{{color:#fff}}</style>{tiles}"
    )


if __name__ == "__main__":
    main()
