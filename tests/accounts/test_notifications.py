"""Notifications by mail: who gets which, through a real mail server, and how they are switched off."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.test import Client
from django.utils import timezone

from accounts import bans, email_verification, profiles, registration
from accounts.credentials import app_keys, cargo_tokens
from accounts.models import Credential, NotificationChoices, User
from accounts.oidc import identities
from accounts.passwords import change
from accounts.principals import Principal
from accounts.profiles import ProfileChanges
from registry_site import audit, outbox
from registry_site.logs import fields_of
from registry_site.models import Action, AuditEvent, OutboxEntry
from registry_site.signals import hour_passed
from tests.support.admin import EMPTY_INLINES
from tests.support.authenticator_apps import add_app
from tests.support.cast import PASSWORD
from tests.support.mail_server import MailServer, running_mail_server
from tests.support.page_forms import PAGE, FormBrowser
from tests.support.sent_mails import send_all

NEW = "battery staple"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    with running_mail_server() as controller:
        yield controller


@pytest.fixture
def mails(db: None, controller: Controller, settings: Any) -> MailServer:
    settings.EMAIL_BACKEND = "registry_site.mail.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", controller.port
    server: MailServer = controller.handler.mails
    server.reset()
    server.deliver = send_all
    return server


@pytest.fixture
def dora(mails: MailServer) -> User:
    return registration.register("dora", PASSWORD, "dora@example.org")


def subjects(mails: MailServer) -> list[tuple[str, str]]:
    """Return recipient and subject of each mail, in alphabetical order."""
    return sorted((recipients[0], str(message["Subject"])) for recipients, message in mails.delivered)


def last_text(mails: MailServer) -> str:
    text: str = mails.delivered[-1][1].get_content()
    return text.replace("\r\n", "\n")


# --- Tokens --------------------------------------------------------------------------------------------------------


def test_new_tokens_are_told(dora: User, mails: MailServer) -> None:
    cargo_tokens.create(dora, "ci")
    app_keys.issue(Principal(dora), "ALL")
    assert subjects(mails) == [("dora@example.org", "A token for your account was made (and 1 more)")]
    text = last_text(mails)
    assert re.search(r"^\* The token ci was made\. \d{4}-\d\d-\d\d \d\d:\d\d UTC$", text, re.MULTILINE)
    assert re.search(r"^\* The app key \w+ was made\.", text, re.MULTILINE)
    assert "You get this mail because it is about your account." in text
    assert "Switch such mails off at http://testserver/account/notifications" in text


def test_many_events_are_one_mail(dora: User, mails: MailServer) -> None:
    for number in range(25):
        cargo_tokens.create(dora, f"ci-{number}")
    assert subjects(mails) == [("dora@example.org", "A token for your account was made (and 24 more)")]
    assert (last_text(mails).count("The token ci-"), "* and 5 more" in last_text(mails)) == (20, True)


def test_ending_token_is_told_once(dora: User, mails: MailServer) -> None:
    now = timezone.now()
    cargo_tokens.create(dora, "ci", expires_at=now + timedelta(days=30))
    assert len(mails.delivered) == 1
    Credential.objects.update(created_at=now - timedelta(days=30), expires_at=now + timedelta(days=3))
    for _ in range(2):
        hour_passed.send(sender=None)
    assert subjects(mails)[1:] == [("dora@example.org", "A token of your account ends soon")]
    assert re.search(r"^\* ci: \d{4}-", last_text(mails), re.MULTILINE)


# --- Sign-ins ------------------------------------------------------------------------------------------------------


def sign_in(address: str = "192.0.2.1", agent: str = FIREFOX) -> None:
    client = Client(REMOTE_ADDR=address, headers={"User-Agent": agent})
    assert client.post("/login", {"username": "dora", "password": PASSWORD}, "application/json").status_code == 200


def test_first_sign_in_is_not_told(dora: User, mails: MailServer) -> None:
    sign_in()
    assert subjects(mails) == []


def test_new_places_are_told(dora: User, mails: MailServer) -> None:
    places = [
        ("192.0.2.1", FIREFOX, 0),
        ("192.0.2.99", FIREFOX.replace("140", "141"), 0),
        ("192.0.2.1", CHROME, 1),
        ("198.51.100.1", FIREFOX, 1),
        ("2001:db8:1:2::1", FIREFOX, 1),
        ("2001:db8:1:3::1", FIREFOX, 0),
        ("192.0.2.1", FIREFOX, 0),
    ]
    offenders = []
    for address, agent, expected in places:
        before = len(mails.delivered)
        sign_in(address, agent)
        if len(mails.delivered) - before != expected:
            offenders.append((address, agent))
    assert offenders == []
    assert {subject for _, subject in subjects(mails)} == {"A sign-in from a new place"}
    assert "from 2001:db8:1:2::1, with Firefox on Linux" in last_text(mails)


def test_place_is_forgotten_after_90_days(dora: User, mails: MailServer) -> None:
    sign_in()
    AuditEvent.objects.update(at=timezone.now() - timedelta(days=91))
    sign_in()
    assert len(mails.delivered) == 1


def test_older_sign_ins_count_by_their_network(dora: User, mails: MailServer) -> None:
    sign_in()
    for event in AuditEvent.objects.filter(action="user.log_in"):
        del event.detail["client"]
        event.save()
    sign_in(agent=CHROME)
    assert subjects(mails) == []


def test_programs_choose_no_text_of_mails(dora: User, mails: MailServer) -> None:
    sign_in()
    sign_in(agent="https://evil.example/log-in-here\x85Bcc:x " + "y" * 100)
    assert "evil.example" not in last_text(mails)


# --- Security ------------------------------------------------------------------------------------------------------


def test_security_is_told_whatever_was_chosen(dora: User, mails: MailServer, root: User) -> None:
    fields = [field.name for field in NotificationChoices._meta.fields if field.name != "user"]
    NotificationChoices.objects.create(user=dora, **dict.fromkeys(fields, False))
    cargo_tokens.create(dora, "ci")
    change.set_password_as_staff(dora, NEW, actor=root)
    identities.link_identity(dora, "https://id.example.org", "7", actor=dora)
    identities.unlink_identity(dora, "https://id.example.org", "7", actor=dora)
    assert [subject for _, subject in subjects(mails)] == [
        "A way to sign in to your account was removed",
        "Another way to sign in to your account",
        "Your password was changed",
    ]
    texts = [str(message.get_content()) for _, message in mails.delivered]
    assert "The password of dora was changed. By root." in texts[0]
    assert all("cannot be switched off" in text for text in texts)
    assert all("List-Unsubscribe" not in message for _, message in mails.delivered)


def test_changes_of_the_second_factor_are_mailed(dora: User, mails: MailServer) -> None:
    actions = (
        Action.SECOND_FACTOR_ADD,
        Action.SECOND_FACTOR_REMOVE,
        Action.SECOND_FACTOR_RESET,
        Action.SECOND_FACTOR_MAKE_CODES,
        Action.SECOND_FACTOR_USE_CODE,
    )
    for action in actions:
        audit.record(dora, action, dora, kind="app", name="phone", count=10, left=9)
    texts = [str(message.get_content()) for _, message in mails.delivered]
    assert [len(texts), "* The app phone was added as a second factor." in texts[0]] == [5, True]


def test_first_factor_and_its_codes_are_one_mail(dora: User, mails: MailServer) -> None:
    add_app(dora)
    assert subjects(mails) == [("dora@example.org", "A second factor was added to your account")]


def test_both_addresses_hear_of_a_change(dora: User, mails: MailServer) -> None:
    profiles.update_profile(Principal(dora), None, ProfileChanges(email="new@example.org"))
    both = [(address, "Your e-mail address was changed") for address in ("dora@example.org", "new@example.org")]
    assert subjects(mails) == both
    assert "changed from dora@example.org to new@example.org" in last_text(mails)


def test_both_addresses_hear_of_a_verified_change(dora: User, mails: MailServer, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = True
    profiles.update_profile(Principal(dora), None, ProfileChanges(email="new@example.org"))
    for _ in range(2):
        email_verification.verify(mails.link().rpartition("/")[2])
    changed = [address for address, subject in subjects(mails) if subject == "Your e-mail address was changed"]
    assert changed == ["dora@example.org", "new@example.org"]


def test_change_by_staff_is_told(dora: User, mails: MailServer, as_root: Client) -> None:
    form = {"username": "dora", "email": "new@example.org", "is_active": "on", **EMPTY_INLINES}
    assert as_root.post(f"/admin/accounts/user/{dora.pk}/change/", form).status_code == 302
    assert [address for address, _ in subjects(mails)] == ["dora@example.org", "new@example.org"]


def test_closed_account_is_told(dora: User, mails: MailServer) -> None:
    browser = FormBrowser()
    browser.fill_in("/sign-in", username="dora", password=PASSWORD)
    browser.fill_in("/account/close", password=PASSWORD)
    assert subjects(mails) == [("dora@example.org", "Your account is closed")]


# --- Who gets none -------------------------------------------------------------------------------------------------


def test_only_proven_addresses_get_mails(dora: User, mails: MailServer, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = True
    User.objects.update(email_verified_at=None)
    cargo_tokens.create(dora, "ci")
    assert subjects(mails) == []


def test_banned_accounts_get_no_mail(dora: User, mails: MailServer) -> None:
    cargo_tokens.create(dora, "ci")
    bans.ban(dora, actor=None)
    assert subjects(mails) == []


def test_nothing_is_queued_without_a_mail_server(alice: User) -> None:
    User.objects.update(email="alice@example.org")
    cargo_tokens.create(alice, "ci")
    assert not OutboxEntry.objects.exists()


def test_mailbox_gets_a_limited_number(mails: MailServer, caplog: pytest.LogCaptureFixture) -> None:
    users = [registration.register(name, PASSWORD, f"dora+{name}@example.org") for name in ("x", "y")]
    for number in range(26):
        for user in users:
            cargo_tokens.create(user, f"ci-{number}")
        send_all()
    assert len(mails.received) == 50
    assert sum("mails_dropped" in str(getattr(record, "fields", "")) for record in caplog.records) == 2
    change.set_password_as_staff(users[0], NEW, actor=users[0])
    assert len(mails.delivered) == 51


# --- Choices -------------------------------------------------------------------------------------------------------

SWITCHED_OFF = ("dora@example.org", "Mails to you were switched off")


@pytest.fixture
def browser(dora: User, mails: MailServer) -> FormBrowser:
    browser = FormBrowser()
    browser.fill_in("/sign-in", username="dora", password=PASSWORD)
    return browser


def test_page_switches_mails_off_and_on(browser: FormBrowser, dora: User, mails: MailServer) -> None:
    assert "Mails go to dora@example.org." in browser.get("/account/notifications", headers=PAGE).content.decode()
    others = dict.fromkeys(("new_versions", "owners_changed", "tokens_ending", "new_sign_ins", "invitations"), "on")
    assert browser.fill_in("/account/notifications", **others)["Location"] == "/account/notifications"
    cargo_tokens.create(dora, "ci")
    assert subjects(mails) == [SWITCHED_OFF]
    assert "; switched off: new tokens and app keys\n" in last_text(mails)
    browser.fill_in("/account/notifications", tokens_made="on", **others)
    cargo_tokens.create(dora, "laptop")
    assert subjects(mails) == [("dora@example.org", "A token for your account was made"), SWITCHED_OFF]
    events = AuditEvent.objects.filter(action="user.change_notifications").order_by("pk")
    assert [event.detail for event in events] == [{"tokens_made": False}, {"tokens_made": True}]


def test_choice_counts_for_mails_that_wait(browser: FormBrowser, dora: User, mails: MailServer) -> None:
    cargo_tokens.create(dora, "ci")
    outbox.work_off()
    browser.fill_in("/account/notifications")
    assert subjects(mails) == [SWITCHED_OFF]


def test_page_says_why_no_mail_comes(browser: FormBrowser, settings: Any) -> None:
    def page() -> str:
        return str(browser.get("/account/notifications", headers=PAGE).content.decode())

    User.objects.update(email_verified_at=None)
    settings.EMAIL_VERIFICATION = True
    assert "Your address dora@example.org is not verified" in page()
    User.objects.update(email="")
    assert "has no e-mail address" in page()
    settings.EMAIL_HOST = ""
    assert "This registry sends no mail" in page()


# --- One click -----------------------------------------------------------------------------------------------------


@pytest.fixture
def link(dora: User, mails: MailServer) -> str:
    """The path in the header of a mail."""
    cargo_tokens.create(dora, "ci")
    message = mails.delivered[-1][1]
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    match = re.fullmatch(r"<http://testserver(/unsubscribe/[\w:.-]+)>", message["List-Unsubscribe"].strip())
    assert match
    mails.reset()
    mails.deliver = send_all
    return match[1]


def test_mail_program_switches_off_by_post(link: str, dora: User, mails: MailServer) -> None:
    client = Client(enforce_csrf_checks=True)
    for _ in range(2):
        answer = client.post(link, {"List-Unsubscribe": "One-Click"}, headers={"Origin": "https://mail.example"})
        assert answer.status_code == 200
    cargo_tokens.create(dora, "laptop")
    assert subjects(mails) == [SWITCHED_OFF]
    event = AuditEvent.objects.get(action="user.change_notifications")
    assert (event.actor, event.detail) == (dora, {"tokens_made": False, "by": "a link"})


def test_scanner_switches_nothing_off(link: str) -> None:
    page = Client().get(link, headers=PAGE).content.decode()
    assert "gets mails about new tokens and app keys" in page
    assert not NotificationChoices.objects.exists()


def test_forged_links_do_nothing(link: str, caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    for path in (link[:-1] + "~", "/unsubscribe/x", "/unsubscribe/a:b:c"):
        assert (client.get(path).status_code, client.post(path).status_code) == (400, 400), path
    assert not NotificationChoices.objects.exists()
    client.post(link)
    assert link.rpartition("/")[2] not in str([fields_of(record) for record in caplog.records])
