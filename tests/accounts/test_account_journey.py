"""From sign-up to a changed password in Chromium without JavaScript, with mails through a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.concurrency import wait_until
from tests.support.mail_server import MailServer, running_mail_server
from tests.support.servers import PASSWORD, Server, running

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
    pytest.mark.long,
]

NEW = "battery staple"
ADDRESS = "dora@example.org"


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    with running_mail_server() as controller:
        yield controller


@pytest.fixture(scope="module")
def server(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    mail = {"REGISTRY_EMAIL_URL": f"smtp://127.0.0.1:{controller.port}", "REGISTRY_EMAIL_VERIFICATION": "1"}
    with running(tmp_path_factory.mktemp("journey") / "data", **mail) as server:
        yield server


@pytest.fixture
def mails(controller: Controller) -> MailServer:
    handler: MailServer = controller.handler.mails
    return handler


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as chromium,
        chromium.new_context(base_url=server.url, java_script_enabled=False) as context,
    ):
        errors: list[str] = []
        context.on(
            "console", lambda message: errors.append(message.text) if "Content Security" in message.text else None
        )
        # A visit ends early where the test goes on to the next page.
        context.on(
            "requestfailed",
            lambda request: (
                None if request.is_navigation_request() else errors.append(f"{request.url}: {request.failure}")
            ),
        )
        yield context.new_page()
    assert errors == []


def fill_in(page: Page, button: str, **fields: str) -> None:
    for label, text in fields.items():
        page.get_by_label(label.replace("_", " "), exact=False).first.fill(text)
    page.locator("main").get_by_role("button", name=button).click()


def sign_in(page: Page, password: str) -> None:
    fill_in(page, "Sign in", User_name="dora", Password=password)


def test_person_signs_up_and_changes_lost_password(page: Page, server: Server, mails: MailServer) -> None:
    page.goto("/account")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.locator("main").get_by_role("link", name="Sign up").click()
    page.get_by_label("User name").fill("dora")
    page.get_by_label("E-mail address").fill(ADDRESS)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(NEW)
    page.get_by_role("button", name="Open the account").click()
    expect(page.get_by_text("The two passwords differ.")).to_be_visible()
    expect(page.get_by_label("E-mail address")).to_have_value(ADDRESS)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Open the account").click()

    expect(page.get_by_text(f"Now follow the link that was sent to {ADDRESS}, and sign in.")).to_be_visible()
    sign_in(page, PASSWORD)
    expect(page.get_by_role("alert")).to_contain_text("Verify your e-mail address first")
    wait_until(lambda: bool(mails.delivered))
    page.goto(mails.link())
    page.get_by_role("button", name="Yes, verify the address").click()
    expect(page.get_by_text(f"The address {ADDRESS} is verified.")).to_be_visible()
    sign_in(page, PASSWORD)
    page.goto("/account/sessions")
    expect(page.get_by_text("this one")).to_be_visible()

    page.goto("/sign-out")
    page.locator("main").get_by_role("button", name="Sign out").click()
    page.goto("/sign-in")
    sign_in(page, "forgotten")
    expect(page.get_by_role("alert")).to_have_text("The user name or the password is wrong.")
    page.get_by_role("link", name="Lost your password?").click()
    number = len(mails.delivered)
    fill_in(page, "Send the link", **{"E-mail address": ADDRESS})
    expect(page.get_by_text("a link is on its way there")).to_be_visible()
    wait_until(lambda: len(mails.delivered) > number)
    link = mails.link()
    page.goto(link)
    page.goto(link)  # as a scanner did before
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_label("New password again").fill(NEW)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_text("Your password is changed, and all sessions have ended.")).to_be_visible()
    sign_in(page, NEW)
    page.goto("/account/events")
    expect(page.get_by_text("The password of dora was changed.")).to_be_visible()
    expect(page.get_by_text("A link to change the password was asked for.")).to_be_visible()
    page.goto(link)
    expect(page.get_by_text("This link has ended, was used, or is not whole.")).to_be_visible()
