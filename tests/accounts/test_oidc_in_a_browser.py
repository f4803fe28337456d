"""Single sign-on in Chromium: the provider's forms, the page of the token, and the sign-out."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.support.bad_provider import CLIENT_ID, CLIENT_SECRET, BadProvider, honest, running_provider
from tests.support.chromium import CHROMIUM
from tests.support.openid import Site, single_sign_on
from tests.support.servers import PASSWORD, Server, running

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
    pytest.mark.database_independent,
    pytest.mark.long,
]

# No other host resolves: requests of a page to other hosts fail, as they do without a network.
OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
TOKEN = re.compile("entc_[A-Za-z0-9]{38}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with single_sign_on(tmp_path_factory.mktemp("browser"), REGISTRY_OIDC_ADMIN_GROUPS="ops") as site:
        site.provider.add_person("carla", nickname="carla")
        site.provider.add_person("boss", nickname="boss", groups=["ops"])
        yield site


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as browser,
    ):
        yield browser


def without_fonts(route: Route) -> None:
    """Answer the provider's request for fonts of another host."""
    route.fulfill(content_type="text/css", body="")


@pytest.fixture
def browser_errors() -> list[str]:
    """Errors in the browser's console and failed requests, which no page may cause."""
    return []


@pytest.fixture
def page(chromium: Browser, site: Site, browser_errors: list[str]) -> Iterator[Page]:
    """A page of a new browser profile."""
    with chromium.new_context(base_url=site.server.url, permissions=["clipboard-read", "clipboard-write"]) as context:
        context.route("https://fonts.googleapis.com/**", without_fonts)
        context.on("console", lambda message: browser_errors.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: browser_errors.append(str(error.error)))
        context.on("requestfailed", lambda request: browser_errors.append(f"{request.url}: {request.failure}"))
        context.on("response", lambda response: browser_errors.append(response.url) if response.status >= 400 else None)
        yield context.new_page()
    assert browser_errors == []


def sign_in(page: Page, subject: str) -> None:
    """Fill in the forms of the provider."""
    page.get_by_placeholder("Enter any login").fill(subject)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def open_token_page(page: Page, subject: str) -> str:
    """Go to `/me`, sign in at the provider, and return the token that the page shows."""
    page.goto("/me")
    page.get_by_role("link", name="Sign in at").click()
    sign_in(page, subject)
    expect(page).to_have_url(re.compile("/account/tokens$"))
    return shown_token(page)


def shown_token(page: Page) -> str:
    expect(page.locator("#token")).to_have_text(TOKEN)
    return page.locator("#token").inner_text()


def test_page_shows_the_token_and_its_use(page: Page, site: Site) -> None:
    open_token_page(page, "carla")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your tokens")
    expect(page.get_by_text("You are signed in as 127.0.0.1:carla.")).to_be_visible()
    expect(page.get_by_text("cargo login --registry entrepot")).to_be_visible()


def test_repeated_callback_leads_back_to_the_token(page: Page) -> None:
    callbacks: list[str] = []
    page.on("request", lambda request: callbacks.append(request.url) if "/openid/me?" in request.url else None)
    token = open_token_page(page, "carla")
    page.goto(callbacks[0])
    expect(page).to_have_url(re.compile("/account/tokens$"))
    assert shown_token(page) == token


def test_button_copies_the_token(page: Page) -> None:
    token = open_token_page(page, "carla")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == token


def test_form_replaces_the_shown_token(page: Page) -> None:
    former = open_token_page(page, "carla")
    page.get_by_role("button", name="Replace the token").click()
    expect(page).to_have_url(re.compile("/account/tokens$"))
    expect(page.locator("#token")).not_to_have_text(former)
    shown_token(page)


def test_typed_address_replaces_the_token(page: Page) -> None:
    former = open_token_page(page, "carla")
    page.goto("/replace_token")
    expect(page).to_have_url(re.compile("/account/tokens$"))
    assert shown_token(page) != former


@pytest.mark.parametrize("path", ["/replace_token", "/openid/sign-in?next=/replace_token"])
def test_link_of_another_site_replaces_no_token(page: Page, site: Site, browser_errors: list[str], path: str) -> None:
    former = open_token_page(page, "carla")
    link = f'<a href="{site.server.url}{path}">A picture of a cat</a>'
    page.route("http://evil.example/", lambda route: route.fulfill(content_type="text/html", body=link))
    page.goto("http://evil.example/")
    page.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Replace your token?")
    page.goto("/me")
    assert shown_token(page) == former
    browser_errors.clear()  # the page with the question has status 403


def test_sign_out_leads_through_the_provider_and_back(page: Page, site: Site) -> None:
    open_token_page(page, "carla")
    sign_out(page)
    expect(page).to_have_url(re.compile(f"^{site.provider.issuer}/session/end"))
    page.get_by_role("button", name="Yes, sign me out").click()
    expect(page).to_have_url(f"{site.server.url}/")
    page.get_by_role("link", name="Sign in", exact=True).click()
    page.get_by_role("link", name=f"Sign in at {site.provider.issuer}").click()
    expect(page.get_by_placeholder("Enter any login")).to_be_visible()


def sign_out(page: Page) -> None:
    page.locator("header summary").click()
    page.get_by_role("button", name="Sign out").click()


def link_identity(page: Page) -> None:
    page.goto("/account/identities")
    page.get_by_role("button", name="Link an identity").click()


def log_in(page: Page, name: str) -> None:
    """Log in with a password."""
    page.goto("/sign-in")
    page.get_by_label("User name or e-mail address").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(f"You are signed in as ktra-secure-auth:{name}.")).to_be_visible()


def test_local_user_links_an_identity(page: Page, site: Site) -> None:
    site.server.sign_up("lena")
    site.provider.add_person("lena-there", nickname="other")
    log_in(page, "lena")
    link_identity(page)
    sign_in(page, "lena-there")
    expect(page.get_by_text(f"lena-there at {site.provider.issuer}")).to_be_visible()


def running_registry(provider: BadProvider, directory: Path) -> AbstractContextManager[Server]:
    return running(
        directory / "data",
        REGISTRY_OIDC_ISSUER=provider.issuer,
        REGISTRY_OIDC_CLIENT_ID=CLIENT_ID,
        REGISTRY_OIDC_CLIENT_SECRET=CLIENT_SECRET,
    )


def test_form_leads_to_a_provider_on_several_hosts(chromium: Browser, tmp_path: Path) -> None:
    with running_provider() as provider, running_registry(provider, tmp_path) as server:
        other_origin = f"http://localhost:{provider.port}"
        provider.metadata_changes = {
            "authorization_endpoint": f"{other_origin}/authorize",
            "end_session_endpoint": f"{other_origin}/end_session",
        }
        provider.script = honest("carla")
        server.sign_up("lena")
        page = chromium.new_page(base_url=server.url)
        log_in(page, "lena")
        link_identity(page)
        expect(page.get_by_text(f"carla at {provider.issuer}")).to_be_visible()
        sign_out(page)
        expect(page).to_have_url(re.compile(f"^{other_origin}/end_session"))
        page.close()


def test_staff_enter_the_admin_site_by_button(page: Page, site: Site) -> None:
    page.goto("/admin/")
    expect(page.get_by_label("Password")).to_be_visible()
    page.get_by_role("link", name=f"Sign in at {site.provider.issuer}").click()
    sign_in(page, "boss")
    expect(page).to_have_url(f"{site.server.url}/admin/")
    expect(page.get_by_role("heading", name="Registry")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Yes, sign me out").click()
    expect(page).to_have_url(f"{site.server.url}/")
