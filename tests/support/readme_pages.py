"""READMEs on the pages of crates of a running server, and what a browser finds wrong with them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, Request, ViewportSize

from registry_site.markdown.balanced_html import TAGS
from tests.support import packing
from tests.support.servers import Server

REPOSITORY = "https://github.com/alice/tool"
PHONE = ViewportSize(width=400, height=800)

SAFE_ATTRIBUTES = (
    "align", "alt", "aria-label", "checked", "cite", "class", "colspan", "datetime", "dir", "disabled", "height",
    "href", "hreflang", "id", "lang", "loading", "media", "name", "open", "rel", "reversed", "rowspan", "scope",
    "size", "span", "src", "srcset", "start", "title", "type", "valign", "value", "width",
)  # fmt: skip

# What our own page adds to a README, so that it scrolls by keyboard.
OUR_ATTRIBUTES = ("tabindex",)

# Before any script of the page: what its policy has stopped.
LISTENER = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} stopped ${event.blockedURI || "inline"}`);
});
"""

PROBE = """
([tags, attributes]) => {
  const found = [];
  const SAFE_LINK = /^(https?:\\/\\/|mailto:|ircs?:|xmpp:|#user-content-|#$)/i;
  for (const element of document.querySelectorAll("article *")) {
    const name = element.localName;
    if (element.namespaceURI !== "http://www.w3.org/1999/xhtml" || !tags.includes(name)) found.push(`<${name}>`);
    for (const { name: attribute, value } of element.attributes) {
      const mark = `<${name} ${attribute}="${value.slice(0, 80)}">`;
      if (!attributes.includes(attribute)) found.push(mark);
      if (["id", "name"].includes(attribute) && !value.startsWith("user-content-")) found.push(mark);
      if (attribute === "src" && !value.startsWith("https://")) found.push(mark);
      if (attribute === "srcset" && !value.split(", ").every((url) => url.startsWith("https://"))) found.push(mark);
      if (attribute === "href" && !SAFE_LINK.test(value)) found.push(mark);
    }
  }
  const readme = document.querySelector(".crate-page > .readme");
  const frame = document.querySelectorAll("h1.crate-name, main#main, .crate-page > .about, body > footer.site");
  if (!readme || frame.length !== 4) found.push("the frame of the page is broken");
  return found;
}
"""


@dataclass(frozen=True)
class Readme:
    """A README, and the crate that it is published with."""

    name: str
    text: str
    path: str = "README.md"
    repository: str = REPOSITORY

    def body(self) -> bytes:
        """Return the body of the publish."""
        extra = f"readme = {json.dumps(self.path)}\nrepository = {json.dumps(self.repository)}"
        toml = packing.manifest(self.name, extra=extra)
        return packing.frame(
            packing.metadata(self.name), packing.crate(self.name, toml=toml, files={self.path: self.text})
        )


@dataclass
class Findings:
    """What is wrong with a page, and from which hosts it has loaded images."""

    wrong: list[str] = field(default_factory=list)
    image_hosts: set[str] = field(default_factory=set)


def publish(server: Server, token: str, readme: Readme) -> None:
    """Publish a crate as cargo does; raises `RuntimeError` unless it is accepted."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("PUT", "/api/v1/crates/new", readme.body(), {"Authorization": token})
        answer = connection.getresponse()
        output = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{readme.name}: {answer.status}: {output[:500]!r}")


@contextmanager
def watched_tab(context: BrowserContext) -> Iterator[Page]:
    context.add_init_script(LISTENER)
    with context.new_page() as tab:
        yield tab


def look_at(tab: Page, path: str) -> Findings:
    """Open a page, and return what its policy has stopped, and what a README must not have or do.

    It must not make the page wider than the window either.
    """
    findings = Findings()

    def note(request: Request) -> None:
        url = urlsplit(request.url)
        if url.hostname == "127.0.0.1" or url.scheme == "data":
            return
        findings.image_hosts.add(url.hostname or "")
        if request.resource_type != "image" or url.scheme != "https":
            findings.wrong.append(f"asks {request.url} for a {request.resource_type}")

    tab.on("request", note)
    tab.goto(path)
    findings.wrong += tab.evaluate(PROBE, [sorted(TAGS), [*SAFE_ATTRIBUTES, *OUR_ATTRIBUTES]])
    findings.wrong += tab.evaluate("window.violations")
    if tab.evaluate("document.documentElement.scrollWidth > innerWidth"):
        findings.wrong.append("the page is wider than the window")
    if urlsplit(tab.url).path != path:
        findings.wrong.append(f"leads to {tab.url}")
    tab.remove_listener("request", note)
    return findings
