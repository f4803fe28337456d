"""Verification of addresses by links in mails, which go through a real mail server on loopback."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPConnection
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.core import signing
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts import registration
from accounts.credentials import jwt_sessions
from accounts.models import User
from registry_site import outbox
from registry_site.models import AuditEvent, OutboxEntry
from tests.support.cast import PASSWORD
from tests.support.concurrency import wait_until
from tests.support.mail_server import MailServer, running_mail_server
from tests.support.servers import Server, free_port, running

HTTP = Client(raise_request_exception=False)  # shared by all tests: it loads the middleware once
OTHER_PASSWORD = "battery staple"
ADDRESS = "dora@example.org"

DONE = "Email verified, you can close this page."
UNVERIFIED = {"error": "Please verify your email before logging in"}
INVALID = "Token invalid."
BAD_EMAIL = {"error": "Please enter a valid email address"}


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    with running_mail_server() as controller:
        yield controller


@pytest.fixture
def mail_server(db: None, controller: Controller, settings: Any) -> MailServer:
    settings.EMAIL_VERIFICATION = True
    settings.EMAIL_BACKEND = "registry_site.mail.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", controller.port
    server: MailServer = controller.handler.mails
    server.reset()
    server.deliver = outbox.work_off
    return server


def call(path: str, **body: Any) -> Any:
    return HTTP.post(path, body, content_type="application/json")


def register(name: str = "dora", email: str = ADDRESS, password: str = PASSWORD) -> Any:
    return call("/v1/user/register", username=name, email=email, password=password, confirm_password=password)


def log_in(login: str = "dora", password: str = PASSWORD) -> Any:
    return call("/v1/user/login", login=login, password=password)


def status_and_text(response: Any) -> tuple[int, str]:
    return response.status_code, response.content.decode()


def status_and_body(response: Any) -> tuple[int, Any]:
    return response.status_code, response.json()


def log_in_to_browser(name: str) -> Client:
    browser = Client(raise_request_exception=False)
    assert browser.post("/login", {"username": name, "password": PASSWORD}, "application/json").status_code == 200
    return browser


def change_profile(browser: Client, **body: Any) -> Any:
    return browser.patch("/settings/profile", body, content_type="application/json")


def email_of(name: str) -> str:
    email: str = User.objects.get(username=name).email
    return email


@pytest.fixture
def dora(mail_server: MailServer) -> User:
    """A user with a verified address."""
    return registration.register("dora", PASSWORD, ADDRESS)


# --- From sign-up to log-in --------------------------------------------------------------------------------------


def test_registration_sends_one_mail_to_one_recipient(mail_server: MailServer) -> None:
    assert register().status_code == 200
    assert mail_server.recipients() == [[ADDRESS]]
    message = mail_server.delivered[0][1]
    assert (message["To"], message["Subject"]) == (ADDRESS, "Verify your e-mail address")
    assert (message["Cc"], message["Bcc"]) == (None, None)
    assert message.get_content_type() == "text/plain"


def test_link_begins_with_the_public_url(mail_server: MailServer, settings: Any) -> None:
    settings.PUBLIC_URL = "http://crates.example.com"
    HTTP.post(
        "/v1/user/register",
        {"username": "dora", "email": ADDRESS, "password": PASSWORD, "confirm_password": PASSWORD},
        content_type="application/json",
        headers={"Host": "localhost", "X-Forwarded-Host": "evil.example"},
    )
    assert mail_server.match_link()[1] == "http://crates.example.com"


def test_link_verifies_the_address(mail_server: MailServer) -> None:
    register()
    assert status_and_body(log_in()) == (403, UNVERIFIED)
    response = HTTP.get(mail_server.link())
    assert (response.status_code, response.content.decode()) == (200, DONE)
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert log_in().status_code == log_in(ADDRESS).status_code == 200


def test_link_may_be_visited_again(mail_server: MailServer) -> None:
    register()
    responses = [HTTP.get(mail_server.link()) for _ in range(3)]
    assert [(response.status_code, response.content.decode()) for response in responses] == [(200, DONE)] * 3


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_scanner_may_visit_the_link_first(mail_server: MailServer, method: str) -> None:
    register()
    assert HTTP.generic(method, mail_server.link()).status_code == 200
    assert HTTP.get(mail_server.link()).content.decode() == DONE
    assert log_in().status_code == 200


def test_link_accepts_no_other_method(mail_server: MailServer) -> None:
    register()
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response = HTTP.generic(method, mail_server.link())
        assert status_and_text(response) == (405, f'Method "{method}" not allowed.')
    assert log_in().status_code == 403


def test_unverified_account_cannot_log_in(mail_server: MailServer) -> None:
    register()
    sentence = f"Verify your e-mail address first: follow the link that was sent to {ADDRESS}."
    backups = {"status": False, "error": sentence, "message": sentence, "code": 403, "data": {}}
    assert status_and_body(call("/ktra/api/v1/login/dora", password=PASSWORD)) == (
        403,
        {"errors": [{"detail": sentence}]},
    )
    assert status_and_body(call("/api/stable/auth/login", username="dora", password=PASSWORD)) == (403, backups)
    yapkg = call("/login", username="dora", password=PASSWORD)
    assert status_and_body(yapkg) == (403, {"error": "unverified", "message": sentence})
    assert not yapkg.cookies


def test_wrong_password_reveals_no_unverified_account(mail_server: MailServer) -> None:
    register()
    assert status_and_body(log_in(password=OTHER_PASSWORD)) == status_and_body(log_in("nobody"))


@pytest.mark.parametrize("setting", ["optional", "none"])
def test_account_without_address_logs_in(mail_server: MailServer, settings: Any, setting: str) -> None:
    settings.EMAIL_ON_SIGNUP = setting
    assert register(email="" if setting == "optional" else ADDRESS).status_code == 200
    assert log_in().status_code == 200
    assert mail_server.delivered == []


def test_operators_address_counts_as_verified(dora: User, mail_server: MailServer) -> None:
    assert log_in().status_code == 200
    assert mail_server.delivered == []


def test_yapkg_registration_sends_the_mail(mail_server: MailServer) -> None:
    assert call("/register", username="dora", email=ADDRESS, password=PASSWORD).status_code == 200
    assert mail_server.recipients() == [[ADDRESS]]
    assert log_in().status_code == 403


def test_refused_registration_sends_no_mail(mail_server: MailServer, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org", email_verified_at=timezone.now())
    assert register("alice", ADDRESS).status_code == 400
    assert register("dora", "Alice@Example.org").status_code == 400
    assert register("no name", ADDRESS).status_code == 400
    assert register("dora", ADDRESS, "short").status_code == 400
    assert mail_server.delivered == []


def test_closed_sign_up_sends_no_mail(mail_server: MailServer, settings: Any) -> None:
    settings.SIGNUP_OPEN = False
    assert register().status_code == 403
    assert mail_server.delivered == []


def test_ktra_cannot_register_where_addresses_are_required(mail_server: MailServer, settings: Any) -> None:
    settings.EMAIL_ON_SIGNUP = "required"
    response = call("/ktra/api/v1/new_user/dora", password=PASSWORD)
    assert status_and_body(response) == (400, {"errors": [{"detail": "An e-mail address is needed to sign up here."}]})
    assert not User.objects.exists()


# --- A mail that cannot be sent ----------------------------------------------------------------------------------

FAULTS = [
    ({}, "RCPT"),
    ({}, "DATA"),
    ({"MAIL": "550 not from you"}, ""),
    ({"MAIL": "451 later"}, ""),
    ({"DATA": "554 this looks like spam"}, ""),
    ({"DATA": "452 the disk is full"}, ""),
    ({"RCPT": "450 greylisted, come again"}, ""),
    ({"RCPT": "421 shutting down"}, ""),
]


def test_mail_follows_when_the_server_works_again(mail_server: MailServer) -> None:
    for number, (refusals, drops) in enumerate(FAULTS):
        mail_server.refusals, mail_server.drops = refusals, drops
        address = f"user-{number}@example.org"
        assert register(f"user-{number}", address).status_code == 200
        attempts = mail_server.recipients().count([address])
        mail_server.refusals, mail_server.drops = {}, ""
        OutboxEntry.objects.update(due_at=timezone.now())  # the pause is over
        assert mail_server.recipients().count([address]) == attempts + 1, (refusals, drops)
        HTTP.get(mail_server.link())
        assert log_in(address).status_code == 200


def test_mail_that_comes_twice_has_one_id(mail_server: MailServer) -> None:
    mail_server.drops = "DATA"  # it has the mail, and the registry does not know
    register()
    assert len(mail_server.delivered) == 1
    mail_server.drops = ""
    OutboxEntry.objects.update(due_at=timezone.now())
    assert len(mail_server.delivered) == 2
    assert len({message["Message-ID"] for _, message in mail_server.delivered}) == 1


def test_sign_up_needs_no_mail_server(mail_server: MailServer, settings: Any) -> None:
    port, settings.EMAIL_PORT = settings.EMAIL_PORT, free_port()
    assert register().status_code == 200
    assert mail_server.delivered == []
    settings.EMAIL_PORT = port
    OutboxEntry.objects.update(due_at=timezone.now())
    assert mail_server.recipients() == [[ADDRESS]]


def test_refused_recipient_is_not_tried_again(mail_server: MailServer) -> None:
    mail_server.refusals = {"RCPT": "550 no such mailbox"}
    assert (register().status_code, mail_server.delivered) == (200, [])
    entry = OutboxEntry.objects.get()
    assert (entry.state, entry.error) == ("failed", "the recipient is refused: 550 no such mailbox")
    mail_server.refusals = {}
    assert register("emil", "emil@example.org").status_code == register("frida", ADDRESS).status_code == 200
    assert sorted(mail_server.recipients()) == [[ADDRESS], ["emil@example.org"]]


# --- Odd addresses -----------------------------------------------------------------------------------------------

BAD_ADDRESSES = [
    '"dora@example.org,eve"@example.com',
    '"<eve@example.org>,dora"@example.com',
    "dora@example.org\nBcc: eve@example.org",
    "dora@example.org\r\nBcc: eve@example.org",
    "dora\n@example.org",
    '"dora\r\nBcc: eve"@example.org',
    "dora@example.org\x0bBcc: eve@example.org",
    "dora@example.org\u2028eve@example.org",
    "dora@example.org, eve@example.org",
    "dora@example.org;eve@example.org",
    "dora@example.org eve@example.org",
    "eve@example.org <dora@example.org>",
    "<dora@example.org>",
    "friends: dora@example.org, eve@example.org;",
    "d\u00f6ra@example.org",
    "dora@" + "x" * 64 + ".org",
    "dora@\u00fc" + "x" * 63 + ".org",
    "dora@.org",
    "d" * 243 + "@example.org",
    "d" * 3000 + "@example.org",
    "d" * 10_000 + "@example.org",
]


def test_odd_address_is_refused_without_a_mail(mail_server: MailServer) -> None:
    for address in BAD_ADDRESSES:
        assert status_and_body(register(email=address)) == (400, BAD_EMAIL), address
    assert mail_server.delivered == []
    assert not User.objects.exists()


def test_rare_address_is_one_recipient(mail_server: MailServer) -> None:
    for number, address in enumerate(("o'brien+tag@example.org", "a%eve@example.org", "d" * 242 + "@example.org")):
        assert register(f"user-{number}", address).status_code == 200
        assert mail_server.recipients()[-1] == [address]
        assert HTTP.get(mail_server.link()).status_code == 200
        assert log_in(address).status_code == 200


def test_domain_is_sent_as_punycode(mail_server: MailServer) -> None:
    assert register(email="dora@B\u00fccher.example").status_code == 200
    assert mail_server.recipients() == [["dora@xn--bcher-kva.example"]]
    assert HTTP.get(mail_server.link()).status_code == 200


# --- Forged links ------------------------------------------------------------------------------------------------


def test_forged_link_is_refused(mail_server: MailServer) -> None:
    register()
    junk = ["x", ":", "::", "a:b:c", "e30:1:x", "%ff", "%E2%80%A8", "'", "x" * 5000, "\u00e9:1:x"]
    signed_for_another_purpose = signing.dumps({"user": "dora", "email": ADDRESS}, salt="another purpose")
    for token in [*junk, signed_for_another_purpose]:
        response = HTTP.get(f"/v1/user/email/verify/{token}")
        assert response["Content-Type"] == "text/plain; charset=utf-8"
        assert status_and_text(response) == (400, INVALID), token
    assert HTTP.get("/v1/user/email/verify/%00").status_code == 400  # refused before the view
    assert log_in().status_code == 403


def test_changed_link_is_refused(mail_server: MailServer) -> None:
    register()
    path, _, token = mail_server.link().rpartition("/")
    for part in range(3):
        parts = token.split(":")
        parts[part] = parts[part][:-1] + ("A" if parts[part][-1] != "A" else "Q")
        assert status_and_text(HTTP.get(f"{path}/{':'.join(parts)}")) == (400, INVALID), part
    assert log_in().status_code == 403


def test_session_token_is_no_link(mail_server: MailServer, dora: User) -> None:
    assert status_and_text(HTTP.get(f"/v1/user/email/verify/{jwt_sessions.create_torrust_session(dora).token}")) == (
        400,
        INVALID,
    )


@pytest.mark.parametrize(
    ("after", "status"), [(timedelta(days=3) - timedelta(minutes=1), 200), (timedelta(days=3, minutes=1), 400)]
)
def test_link_is_good_for_three_days(
    mail_server: MailServer, monkeypatch: pytest.MonkeyPatch, after: timedelta, status: int
) -> None:
    register()
    link = mail_server.link()
    then = time.time() + after.total_seconds()
    monkeypatch.setattr(time, "time", lambda: then)
    response = HTTP.get(link)
    assert response.status_code == status
    assert status == 200 or response.content.decode() == INVALID


def test_link_verifies_its_own_user_only(mail_server: MailServer) -> None:
    register("dora")
    link = mail_server.link()
    register("emil", "emil@example.org")
    HTTP.get(link)
    assert [log_in(name).status_code for name in ("dora", "emil")] == [200, 403]


def test_link_to_a_former_address_is_refused(mail_server: MailServer) -> None:
    register()
    link = mail_server.link()
    User.objects.update(email="other@example.org")
    assert status_and_text(HTTP.get(link)) == (400, INVALID)
    assert email_of("dora") == "other@example.org"


def test_failed_sign_up_sends_nothing(mail_server: MailServer) -> None:
    with transaction.atomic():
        registration.sign_up("dora", PASSWORD, ADDRESS)
        transaction.set_rollback(True)
    assert (mail_server.delivered, OutboxEntry.objects.count()) == ([], 0)


def test_account_that_ended_gets_no_mail(mail_server: MailServer) -> None:
    register()
    User.objects.all().delete()
    assert (mail_server.delivered, OutboxEntry.objects.count()) == ([], 0)


def test_link_of_a_deleted_account_is_refused(mail_server: MailServer) -> None:
    register()
    link = mail_server.link()
    User.objects.all().delete()
    assert status_and_text(HTTP.get(link)) == (400, INVALID)


def test_link_opens_no_closed_account(mail_server: MailServer) -> None:
    register()
    User.objects.update(is_active=False)
    HTTP.get(mail_server.link())
    assert status_and_body(log_in()) == (403, {"error": "Invalid username/email or password"})


# --- The reminder ------------------------------------------------------------------------------------------------


def let_time_pass(minutes: float) -> None:
    """Date the last mail to each user back."""
    for user in User.objects.exclude(verification_sent_at=None):
        user.verification_sent_at = timezone.now() - timedelta(minutes=minutes)
        user.save()


def test_early_log_in_sends_no_second_mail(mail_server: MailServer) -> None:
    register()
    let_time_pass(9)
    assert status_and_body(log_in()) == (403, UNVERIFIED)
    assert len(mail_server.delivered) == 1


def test_log_in_after_ten_minutes_resends_the_link(mail_server: MailServer) -> None:
    register()
    let_time_pass(11)
    assert [status_and_body(log_in()) for _ in range(3)] == [(403, UNVERIFIED)] * 3
    assert mail_server.recipients() == [[ADDRESS]] * 2
    assert AuditEvent.objects.get(action="user.ask_for_email").detail == {"email": ADDRESS}
    assert HTTP.get(mail_server.link()).content.decode() == DONE
    assert log_in().status_code == 200


def test_log_ins_of_all_dialects_send_one_reminder(mail_server: MailServer) -> None:
    register()
    let_time_pass(11)
    call("/ktra/api/v1/login/dora", password=PASSWORD)
    call("/api/stable/auth/login", username="dora", password=PASSWORD)
    call("/login", username="dora", password=PASSWORD)
    assert len(mail_server.delivered) == 2


def test_wrong_password_sends_no_reminder(mail_server: MailServer) -> None:
    register()
    let_time_pass(11)
    log_in(password=OTHER_PASSWORD)
    assert len(mail_server.delivered) == 1


def test_verified_account_gets_no_reminder(mail_server: MailServer) -> None:
    register()
    HTTP.get(mail_server.link())
    let_time_pass(11)
    assert log_in().status_code == 200
    assert len(mail_server.delivered) == 1


# --- Another address for an account ------------------------------------------------------------------------------

NEW = "new@example.org"


def proven_link(mail_server: MailServer, former: str = ADDRESS) -> str:
    """Follow the link that went to a new address, and return the one that went to the former address then."""
    done = f"Email verified. Now follow the link that was sent to {former}."
    assert HTTP.get(mail_server.link()).content.decode() == done
    assert mail_server.recipients()[-1] == [former]
    return mail_server.link()


def test_new_address_needs_both_links(dora: User, mail_server: MailServer) -> None:
    change_profile(log_in_to_browser("dora"), email=NEW)
    link = proven_link(mail_server)
    assert (mail_server.recipients(), email_of("dora")) == ([[NEW], [ADDRESS]], ADDRESS)
    assert NEW in str(mail_server.delivered[-1][1].get_content())
    assert (HTTP.get(link).content.decode(), email_of("dora")) == (DONE, NEW)


def test_new_address_counts_after_its_link(dora: User, mail_server: MailServer) -> None:
    response = change_profile(log_in_to_browser("dora"), email=NEW)
    assert (response.status_code, response.json()["email"]) == (200, ADDRESS)
    assert mail_server.recipients() == [[NEW]]
    assert [log_in(login).status_code for login in (ADDRESS, NEW)] == [200, 403]
    assert HTTP.get(proven_link(mail_server)).content.decode() == DONE
    assert [log_in(login).status_code for login in (ADDRESS, NEW)] == [403, 200]


def test_former_address_is_free_after_the_change(dora: User, mail_server: MailServer) -> None:
    change_profile(log_in_to_browser("dora"), email=NEW)
    assert status_and_body(register("emil", ADDRESS)) == (400, {"error": "Email not available"})
    HTTP.get(proven_link(mail_server))
    assert register("emil", ADDRESS).status_code == 200


def test_first_address_counts_after_its_link(mail_server: MailServer, alice: User) -> None:
    browser = log_in_to_browser("alice")
    assert change_profile(browser, email=NEW).json()["email"] == ""
    HTTP.get(mail_server.link())
    assert browser.get("/users/alice").json()["email"] == NEW


def test_link_of_a_new_address_works_twice(dora: User, mail_server: MailServer) -> None:
    change_profile(log_in_to_browser("dora"), email=NEW)
    link = proven_link(mail_server)
    assert [HTTP.get(link).content.decode() for _ in range(2)] == [DONE, DONE]


def test_link_to_an_address_taken_since_is_refused(dora: User, mail_server: MailServer) -> None:
    change_profile(log_in_to_browser("dora"), email=NEW)
    link = proven_link(mail_server)
    registration.register("emil", PASSWORD, NEW.upper())
    assert status_and_text(HTTP.get(link)) == (400, "Email not available")
    assert email_of("dora") == ADDRESS
    assert log_in(ADDRESS).status_code == 200


@pytest.mark.parametrize("email", ["emil@example.org", "EMIL@EXAMPLE.ORG"])
def test_taken_address_is_refused_without_a_mail(dora: User, mail_server: MailServer, email: str) -> None:
    registration.register("emil", PASSWORD, "emil@example.org")
    response = change_profile(log_in_to_browser("dora"), email=email)
    assert response.status_code == 400
    assert response.json() == {"error": "email_taken", "message": response.json()["message"]}
    assert mail_server.delivered == []


def test_same_address_sends_no_mail(dora: User, mail_server: MailServer) -> None:
    assert change_profile(log_in_to_browser("dora"), email=ADDRESS).status_code == 200
    assert mail_server.delivered == []
    assert log_in().status_code == 200


def test_refused_name_keeps_the_address(dora: User, mail_server: MailServer, alice: User) -> None:
    response = change_profile(log_in_to_browser("dora"), email=NEW, username="alice")
    assert response.status_code == 400
    assert response.json()["error"] == "name_taken"
    assert (mail_server.delivered, email_of("dora")) == ([], ADDRESS)


def test_address_and_name_change_together(dora: User, mail_server: MailServer) -> None:
    assert change_profile(log_in_to_browser("dora"), email=NEW, username="dorothea").status_code == 200
    assert (HTTP.get(proven_link(mail_server)).status_code, email_of("dorothea")) == (200, NEW)


def test_link_survives_a_new_name(dora: User, mail_server: MailServer) -> None:
    browser = log_in_to_browser("dora")
    change_profile(browser, email=NEW)
    change_profile(browser, username="dorothea")
    assert (HTTP.get(proven_link(mail_server)).status_code, email_of("dorothea")) == (200, NEW)


def test_older_link_is_void_after_a_newer_one(dora: User, mail_server: MailServer) -> None:
    browser = log_in_to_browser("dora")
    change_profile(browser, email="mistake@example.org")
    mistake = mail_server.link()
    change_profile(browser, email=NEW)
    HTTP.get(proven_link(mail_server))
    assert status_and_text(HTTP.get(mistake)) == (400, INVALID)
    assert email_of("dora") == NEW


def test_used_link_does_not_undo_a_later_change(dora: User, mail_server: MailServer) -> None:
    browser = log_in_to_browser("dora")
    change_profile(browser, email=NEW)
    first = proven_link(mail_server)
    HTTP.get(first)
    change_profile(browser, email=ADDRESS)
    HTTP.get(proven_link(mail_server, former=NEW))
    assert status_and_text(HTTP.get(first)) == (400, INVALID)
    assert email_of("dora") == ADDRESS


# --- One address for several accounts ----------------------------------------------------------------------------


def test_unverified_address_goes_to_whoever_proves_it(mail_server: MailServer) -> None:
    register("dora")
    link_of_dora = mail_server.link()
    assert register("emil", ADDRESS.upper()).status_code == 200
    link_of_emil = mail_server.link()
    assert [log_in(name).status_code for name in ("dora", "emil", ADDRESS)] == [403] * 3
    assert HTTP.get(link_of_emil).content.decode() == DONE
    assert status_and_text(HTTP.get(link_of_dora)) == (400, "Email not available")
    assert [log_in(name).status_code for name in ("emil", ADDRESS)] == [200, 200]
    let_time_pass(11)
    assert status_and_body(log_in("dora")) == (403, UNVERIFIED)
    assert len(mail_server.delivered) == 2  # no reminder goes to the owner of the mailbox


def test_verified_address_is_taken(dora: User, mail_server: MailServer) -> None:
    assert status_and_body(register("emil", ADDRESS.upper())) == (400, {"error": "Email not available"})
    assert mail_server.delivered == []


def test_proven_address_leaves_an_unasked_account(mail_server: MailServer, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email=ADDRESS)  # from before addresses were verified
    assert register("emil").status_code == 200
    HTTP.get(mail_server.link())
    assert (email_of("alice"), email_of("emil")) == ("", ADDRESS)
    assert [log_in(name).status_code for name in ("alice", "emil")] == [200, 200]
    event = AuditEvent.objects.get(action="user.change_email")
    detail = {"former": ADDRESS, "email": "", "proven_by": "emil"}
    assert (event.actor_name, event.target, event.detail) == ("emil", "alice", detail)


def test_change_may_claim_an_unverified_address(dora: User, mail_server: MailServer) -> None:
    register("emil", NEW)
    assert change_profile(log_in_to_browser("dora"), email=NEW).status_code == 200
    HTTP.get(proven_link(mail_server))
    assert (email_of("dora"), log_in("emil").status_code, log_in(NEW).json()["data"]["username"]) == (NEW, 403, "dora")


def test_unverified_address_stays_taken_without_verification(mail_server: MailServer, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = False
    assert register("dora").status_code == 200
    assert status_and_body(register("emil", ADDRESS)) == (400, {"error": "Email not available"})


def test_mails_to_one_mailbox_are_limited(mail_server: MailServer) -> None:
    addresses = [f"Dora+{number}@example.org" if number else "dora@Example.org" for number in range(11)]
    responses = [register(f"user-{number}", address) for number, address in enumerate(addresses)]
    assert [response.status_code for response in responses] == [200] * 10 + [429]
    assert (responses[-1]["Retry-After"], len(mail_server.delivered), User.objects.count()) == ("3600", 10, 10)
    let_time_pass(11)
    assert status_and_body(log_in("user-0")) == (403, UNVERIFIED)
    assert register("emil", "emil@example.org").status_code == 200


# --- A server as an operator starts it ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    mail = {
        "REGISTRY_EMAIL_VERIFICATION": "1",
        "REGISTRY_EMAIL_URL": f"smtp://127.0.0.1:{controller.port}",
        "REGISTRY_EMAIL_FROM": "registry@example.com",
    }
    with running(tmp_path_factory.mktemp("mail") / "data", **mail) as server:
        yield server


def send(server: Server, method: str, path: str, **body: Any) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        data = json.dumps(body) if body else None
        connection.request(method, path, data, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_live_registration_link_and_log_in(server: Server, mail_server: MailServer) -> None:
    mail_server.deliver = bool  # the server does
    fields = {"username": "dora", "email": ADDRESS, "password": PASSWORD, "confirm_password": PASSWORD}
    assert send(server, "POST", "/v1/user/register", **fields)[0] == 200
    wait_until(lambda: mail_server.recipients() == [[ADDRESS]])
    assert mail_server.delivered[0][1]["From"] == "registry@example.com"
    assert mail_server.match_link()[1] == server.url
    status, text = send(server, "POST", "/v1/user/login", login="dora", password=PASSWORD)
    assert (status, json.loads(text)) == (403, UNVERIFIED)
    assert send(server, "HEAD", mail_server.link()) == (200, "")
    assert [send(server, "GET", mail_server.link()) for _ in range(2)] == [(200, DONE)] * 2
    assert send(server, "POST", "/v1/user/login", login="dora", password=PASSWORD)[0] == 200
