"""What a person does in Chromium, from sign-up to a yank, with and without JavaScript; mails and cargo are real."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.support.authenticator_apps import PhoneApp
from tests.support.cargo import Cargo, write_files
from tests.support.chromium import CHROMIUM
from tests.support.mail_server import MailServer, running_mail_server
from tests.support.servers import PASSWORD, Server, running

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
    pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed"),
    pytest.mark.database_independent,
    pytest.mark.long,
]

NEW = "battery staple"
ADDRESS = "dora@example.org"
REASON = "It counts the lock gates <twice>."


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    with running_mail_server() as controller:
        yield controller


@pytest.fixture(scope="module")
def server(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "REGISTRY_EMAIL_URL": f"smtp://127.0.0.1:{controller.port}",
        "REGISTRY_EMAIL_VERIFICATION": "1",
        "REGISTRY_PUBLIC_URL": "http://entrepot.localhost:{port}",  # passkeys need a name, which is this machine
    }
    with running(tmp_path_factory.mktemp("journey") / "data", **settings) as server:
        server.url = server.environment["REGISTRY_PUBLIC_URL"]
        yield server


@pytest.fixture
def mails(controller: Controller) -> MailServer:
    handler: MailServer = controller.handler.mails
    return handler


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as chromium,
    ):
        yield chromium


@contextmanager
def visit(chromium: Browser, server: Server, *, scripts: bool) -> Iterator[Page]:
    """Open a tab, and fail if a policy stops something on its pages, or a part of them cannot be loaded."""
    errors: list[str] = []

    def note_message(message: ConsoleMessage) -> None:
        if "Content Security" in message.text:
            errors.append(message.text)

    def note_failure(request: Request) -> None:
        # A visit ends early where the test goes on to the next page, and so do results that a script shows meanwhile.
        if not request.is_navigation_request() and request.resource_type not in ("fetch", "xhr"):
            errors.append(f"{request.url}: {request.failure}")

    with chromium.new_context(base_url=server.url, java_script_enabled=scripts) as context:
        context.on("console", note_message)
        context.on("requestfailed", note_failure)
        yield context.new_page()
    assert errors == []


def fill_in(page: Page, button: str, **fields: str) -> None:
    for label, text in fields.items():
        page.locator("main").locator("input, textarea").and_(page.get_by_label(label.replace("_", " "))).first.fill(
            text
        )
    page.locator("main").get_by_role("button", name=button, exact=True).click()


def sign_in(page: Page, password: str, name: str = "dora") -> None:
    fill_in(page, "Sign in", User_name=name, Password=password)


def follow(page: Page, name: str) -> None:
    page.locator("main").get_by_role("link", name=name, exact=True).first.click()


def sign_up(page: Page, mails: MailServer, name: str) -> None:
    """Open an account, verify its address, and sign in."""
    address = f"{name}@example.org"
    page.goto("/")
    page.get_by_role("banner").get_by_role("link", name="Sign up").click()
    page.get_by_label("User name").fill(name)
    page.get_by_label("E-mail address").fill(address)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Open the account").click()
    expect(page.get_by_text(f"Now follow the link that was sent to {address}, and sign in.")).to_be_visible()
    page.goto(mails.wait_for_link(address, "/v1/user/email/verify"))
    page.get_by_role("button", name="Yes, verify the address").click()
    expect(page.get_by_text(f"The address {address} is verified.")).to_be_visible()
    sign_in(page, PASSWORD, name)


def add_second_factor(page: Page, name: str) -> None:
    """Add an authenticator app, sign out, and sign in with a code of it."""
    page.goto("/account/security")
    follow(page, "Add an authenticator app")
    app = PhoneApp(page.locator("#key").inner_text())
    fill_in(page, "Add the app", Six_digits=app.code())
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    follow(page, "I have stored them")
    sign_out(page, name)
    page.goto("/me")
    sign_in(page, PASSWORD, name)
    expect(page.get_by_role("heading", level=1)).to_have_text("Second factor")
    fill_in(page, "Sign in", Code_of_your=app.code(1))  # the first code has been used
    expect(page.get_by_role("heading", level=1)).to_have_text("Your tokens")


def sign_in_by_passkey(page: Page, name: str) -> None:
    """Add a passkey, sign out, and sign in with it."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    authenticator = {"protocol": "ctap2", "transport": "internal", "hasUserVerification": True}
    options = {**authenticator, "isUserVerified": True, "automaticPresenceSimulation": True}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto("/account/security")
    follow(page, "Add a passkey")
    fill_in(page, "Add the passkey", Name="Laptop")
    expect(page.get_by_role("row", name="Laptop")).to_contain_text("passkey")
    follow(page, "Add a passkey")
    page.get_by_role("button", name="Add the passkey").click()
    expect(page.get_by_text("This device has a passkey for your account already.")).to_be_visible()
    sign_out(page, name)
    page.goto("/me")
    sign_in(page, PASSWORD, name)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your tokens")


def sign_out(page: Page, name: str) -> None:
    page.get_by_role("banner").get_by_text(name).click()
    page.get_by_role("button", name="Sign out").click()


def make_token(page: Page, pattern: str) -> str:
    """Make a token for the crates of a pattern, from the page of all tokens; return it."""
    follow(page, "New token")
    page.get_by_role("textbox", name="Name", exact=True).fill("laptop")
    page.get_by_label("these crates only:").check()
    page.get_by_role("textbox", name="Crates", exact=True).fill(pattern)
    page.get_by_role("button", name="Make the token").click()
    return page.locator("#token").inner_text()


def write_crate(directory: Path, name: str, version: str, dependencies: str = "") -> Path:
    manifest = f'''
[package]
name = "{name}"
version = "{version}"
edition = "2021"
description = "Times of locks"
license = "MIT"
readme = "README.md"
[dependencies]
{dependencies}
'''
    files = {
        "Cargo.toml": manifest,
        "README.md": "# Read me first\n",
        "src/lib.rs": f'pub const GATES: &str = "{version}";\n',
    }
    return write_files(directory / f"{name}-{version}", files)


def publish(cargo: Cargo, folder: Path, *, fails: bool = False) -> str:
    return cargo.run(folder, "publish", "--registry", "priv", "--no-verify", "--allow-dirty", fails=fails)


def chosen_version(cargo: Cargo, folder: Path) -> str:
    """Return the version of the first dependency that cargo chooses anew for a crate."""
    (folder / "Cargo.lock").unlink(missing_ok=True)
    cargo.run(folder, "generate-lockfile")
    return (folder / "Cargo.lock").read_text().split('version = "')[1].partition('"')[0]


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_person_publishes_and_yanks(
    chromium: Browser, server: Server, mails: MailServer, tmp_path: Path, scripts: bool
) -> None:
    name = "erika" if scripts else "frida"
    crate, user = f"{name}-locks", f"{name}-ships"
    with visit(chromium, server, scripts=scripts) as page:
        sign_up(page, mails, name)
        add_second_factor(page, name)
        if scripts:
            sign_in_by_passkey(page, name)
        cargo = Cargo(tmp_path / "cargo", server, make_token(page, f"{name}-*"))
        for version in ("0.1.0", "0.2.0"):
            publish(cargo, write_crate(tmp_path, crate, version))
        dependent = write_crate(tmp_path, user, "1.0.0", f'{crate} = {{ version = ">=0.1", registry = "priv" }}')
        publish(cargo, dependent)
        assert "allows publish-new for" in publish(cargo, write_crate(tmp_path, "other", "0.1.0"), fails=True)
        assert chosen_version(cargo, dependent) == "0.2.0"
        read(page, crate, user)
        yank(page, crate)
        assert chosen_version(cargo, dependent) == "0.1.0"
        search(page, crate)
        expect(page.locator(".entries li").first).to_contain_text(f"{crate} 0.1.0")


def search(page: Page, name: str) -> None:
    page.goto("/")
    box = page.locator("main").get_by_role("searchbox")
    box.fill(name)
    box.press("Enter")


def read(page: Page, crate: str, dependent: str) -> None:
    """Find a crate by the search, and read its page, a file, what has changed, and its dependents."""
    search(page, crate)
    follow(page, crate)
    expect(page.get_by_role("heading", name="Read me first")).to_be_visible()
    follow(page, "Source")
    follow(page, "src/")
    follow(page, "lib.rs")
    expect(page.locator("pre.source")).to_contain_text('pub const GATES: &str = "0.2.0";')
    page.locator(".tabs").get_by_role("link", name="Versions").click()
    follow(page, "changes from 0.1.0 to 0.2.0")
    expect(page.get_by_role("region", name="src/lib.rs")).to_contain_text('-pub const GATES: &str = "0.1.0";')
    page.locator(".tabs").get_by_role("link", name="Dependents").click()
    expect(page.get_by_role("row", name=dependent)).to_contain_text(">=0.1")


def yank(page: Page, crate: str) -> None:
    """Yank a version with a reason, which its page and the list of versions show."""
    page.locator(".tabs").get_by_role("link", name="Versions").click()
    follow(page, "Yank 0.2.0")
    fill_in(page, "Yank this version", Reason=REASON)
    expect(page.get_by_role("status").first).to_have_text(f"{crate} 0.2.0 is yanked.")
    expect(page.locator(".notice.bad")).to_contain_text(REASON)
    page.locator(".tabs").get_by_role("link", name="Versions").click()
    expect(page.locator("tr.state")).to_contain_text(REASON)
    page.goto(f"/crates/{crate}")
    expect(page.get_by_role("heading", level=1).first).to_have_text(f"{crate} 0.1.0")


def test_person_signs_up_and_changes_lost_password(chromium: Browser, server: Server, mails: MailServer) -> None:
    with visit(chromium, server, scripts=False) as page:
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
        page.goto(mails.wait_for_link(ADDRESS, "/v1/user/email/verify"))
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
        fill_in(page, "Send the link", **{"E-mail address": ADDRESS})
        expect(page.get_by_text("a link is on its way there")).to_be_visible()
        link = mails.wait_for_link(ADDRESS, "/password-reset")
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
