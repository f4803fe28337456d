"""Addresses are verified by a link in a mail, which goes through a real mail server on loopback."""

import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.client import HTTPConnection
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from django.core import signing
from django.test import Client
from django.utils import timezone

from accounts import email_verification, registration
from accounts.credentials import jwt_sessions
from accounts.models import User
from tests.support.cast import PASSWORD
from tests.support.servers import Server, free_port, running

HTTP = Client(raise_request_exception=False)  # one for all: it loads the middleware once, and keeps no cookie
OTHER = "battery staple"
ADDRESS = "dora@example.org"
LINK = re.compile(r"^(http://\S+)(/v1/user/email/verify/\S+)\r?$", re.MULTILINE)

DONE = "Email verified, you can close this page."
UNVERIFIED = {"error": "Please verify your email before logging in"}
INVALID = {"error": "Token invalid."}
BAD_EMAIL = {"error": "Please enter a valid email address"}
NOT_SENT = {"error": "Failed to send verification email."}


class PostOffice:
    """A mail server that keeps what it is given; it has `refusals` for commands, and dies of the command `drops`."""

    def __init__(self) -> None:
        self.open()

    def open(self) -> None:
        """As if it were new."""
        self.delivered: list[tuple[list[str], EmailMessage]] = []
        self.refusals: dict[str, str] = {}
        self.drops = ""

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self._answer(server, "MAIL")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self._answer(server, "RCPT")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self._answer(server, "DATA")
        if answer.startswith("250") and isinstance(envelope.content, bytes):
            message = message_from_bytes(envelope.content, policy=policy.default)
            self.delivered.append((envelope.rcpt_tos, message))
        return answer

    def _answer(self, server: SMTP, command: str) -> str:
        if command == self.drops and server.transport is not None:
            server.transport.close()
        return self.refusals.get(command, "250 OK")

    def recipients(self) -> list[list[str]]:
        return [recipients for recipients, _ in self.delivered]

    def link(self) -> str:
        """The path of the link in the last mail."""
        return self.found()[2]

    def found(self) -> re.Match[str]:
        match = LINK.search(self.delivered[-1][1].get_content())
        assert match is not None
        return match


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    controller = Controller(PostOffice(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def post(db: None, controller: Controller, settings: Any) -> PostOffice:
    settings.EMAIL_VERIFICATION = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", controller.port
    office: PostOffice = controller.handler
    office.open()
    return office


def call(path: str, **body: Any) -> Any:
    return HTTP.post(path, body, content_type="application/json")


def register(name: str = "dora", email: str = ADDRESS, password: str = PASSWORD) -> Any:
    return call("/v1/user/register", username=name, email=email, password=password, confirm_password=password)


def log_in(login: str = "dora", password: str = PASSWORD) -> Any:
    return call("/v1/user/login", login=login, password=password)


def told(response: Any) -> tuple[int, Any]:
    return response.status_code, response.json()


def signed_in(name: str) -> Client:
    browser = Client(raise_request_exception=False)
    assert browser.post("/login", {"username": name, "password": PASSWORD}, "application/json").status_code == 200
    return browser


def change_profile(browser: Client, **body: Any) -> Any:
    return browser.patch("/settings/profile", body, content_type="application/json")


def email_of(name: str) -> str:
    email: str = User.objects.get(username=name).email
    return email


@pytest.fixture
def dora(post: PostOffice) -> User:
    """Has a verified address."""
    return registration.register("dora", PASSWORD, ADDRESS)


# --- From sign-up to log-in --------------------------------------------------------------------------------------


def test_registration_sends_one_mail_to_one_recipient(post: PostOffice) -> None:
    assert register().status_code == 200
    assert post.recipients() == [[ADDRESS]]
    message = post.delivered[0][1]
    assert (message["To"], message["Subject"]) == (ADDRESS, "Verify your e-mail address")
    assert (message["Cc"], message["Bcc"]) == (None, None)
    assert message.get_content_type() == "text/plain"


def test_link_leads_to_the_public_address(post: PostOffice, settings: Any) -> None:
    settings.PUBLIC_URL = "http://crates.example.com"
    HTTP.post(
        "/v1/user/register",
        {"username": "dora", "email": ADDRESS, "password": PASSWORD, "confirm_password": PASSWORD},
        content_type="application/json",
        headers={"Host": "localhost", "X-Forwarded-Host": "evil.example"},
    )
    assert post.found()[1] == "http://crates.example.com"


def test_address_counts_after_the_link(post: PostOffice) -> None:
    register()
    assert told(log_in()) == (403, UNVERIFIED)
    response = HTTP.get(post.link())
    assert (response.status_code, response.content.decode()) == (200, DONE)
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert log_in().status_code == log_in(ADDRESS).status_code == 200


def test_link_can_be_followed_again(post: PostOffice) -> None:
    register()
    answers = [HTTP.get(post.link()) for _ in range(3)]
    assert [(answer.status_code, answer.content.decode()) for answer in answers] == [(200, DONE)] * 3


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_scanner_that_follows_the_link_first_breaks_nothing(post: PostOffice, method: str) -> None:
    register()
    assert HTTP.generic(method, post.link()).status_code == 200
    assert HTTP.get(post.link()).content.decode() == DONE
    assert log_in().status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_link_is_only_read(post: PostOffice, method: str) -> None:
    register()
    assert told(HTTP.generic(method, post.link())) == (405, {"error": f'Method "{method}" not allowed.'})
    assert log_in().status_code == 403


def test_unverified_account_is_refused_at_every_door(post: PostOffice) -> None:
    register()
    sentence = f"Verify your e-mail address first: follow the link that was sent to {ADDRESS}."
    backups = {"status": False, "error": sentence, "message": sentence, "code": 403, "data": {}}
    assert told(call("/ktra/api/v1/login/dora", password=PASSWORD)) == (403, {"errors": [{"detail": sentence}]})
    assert told(call("/api/stable/auth/login", username="dora", password=PASSWORD)) == (403, backups)
    yapkg = call("/login", username="dora", password=PASSWORD)
    assert told(yapkg) == (403, {"error": "unverified", "message": sentence})
    assert not yapkg.cookies


def test_wrong_password_does_not_tell_that_an_account_is_unverified(post: PostOffice) -> None:
    register()
    assert told(log_in(password=OTHER)) == told(log_in("nobody"))


@pytest.mark.parametrize("setting", ["optional", "none"])
def test_account_without_address_has_nothing_to_verify(post: PostOffice, settings: Any, setting: str) -> None:
    settings.EMAIL_ON_SIGNUP = setting
    assert register(email="" if setting == "optional" else ADDRESS).status_code == 200
    assert log_in().status_code == 200
    assert post.delivered == []


def test_operator_vouches_for_an_address(dora: User, post: PostOffice) -> None:
    assert log_in().status_code == 200
    assert post.delivered == []


def test_yapkg_registration_is_verified_too(post: PostOffice) -> None:
    assert call("/register", username="dora", email=ADDRESS, password=PASSWORD).status_code == 200
    assert post.recipients() == [[ADDRESS]]
    assert log_in().status_code == 403


@pytest.mark.parametrize(
    ("name", "email", "password"),
    [
        ("alice", ADDRESS, PASSWORD),
        ("dora", "Alice@Example.org", PASSWORD),
        ("no name", ADDRESS, PASSWORD),
        ("dora", ADDRESS, "short"),
    ],
)
def test_refused_registration_sends_no_mail(
    post: PostOffice, alice: User, name: str, email: str, password: str
) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    assert register(name, email, password).status_code == 400
    assert post.delivered == []


def test_closed_registry_sends_no_mail(post: PostOffice, settings: Any) -> None:
    settings.SIGNUP_OPEN = False
    assert register().status_code == 403
    assert post.delivered == []


def test_ktra_is_refused_where_an_address_is_required(post: PostOffice, settings: Any) -> None:
    settings.EMAIL_ON_SIGNUP = "required"
    response = call("/ktra/api/v1/new_user/dora", password=PASSWORD)
    assert told(response) == (400, {"errors": [{"detail": "An e-mail address is needed to sign up here."}]})
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


@pytest.mark.parametrize(("refusals", "drops"), FAULTS)
def test_mail_server_in_trouble_leaves_no_account(post: PostOffice, refusals: dict[str, str], drops: str) -> None:
    post.refusals, post.drops = refusals, drops
    response = register()
    assert told(response) == (503, NOT_SENT)
    assert int(response["Retry-After"]) > 0
    post.refusals, post.drops = {}, ""
    assert register().status_code == 200


def test_mail_server_that_is_down_leaves_no_account(post: PostOffice, settings: Any) -> None:
    up, settings.EMAIL_PORT = settings.EMAIL_PORT, free_port()
    response = register()
    assert told(response) == (503, NOT_SENT)
    assert int(response["Retry-After"]) > 0
    settings.EMAIL_PORT = up
    assert register().status_code == 200


def test_refused_recipient_leaves_no_account(post: PostOffice) -> None:
    post.refusals = {"RCPT": "550 no such mailbox"}
    assert told(register()) == (400, BAD_EMAIL)
    post.refusals = {}
    assert register("emil").status_code == register("dora", "other@example.org").status_code == 200


def test_refused_mail_is_told_in_the_dialect_of_yapkg(post: PostOffice) -> None:
    post.refusals = {"RCPT": "550 no such mailbox"}
    response = call("/register", username="dora", email=ADDRESS, password=PASSWORD)
    sentence = f"The mail server refuses the address {ADDRESS}."
    assert told(response) == (400, {"error": "email_invalid", "message": sentence})


# --- Addresses of strangers --------------------------------------------------------------------------------------

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
]


@pytest.mark.parametrize("address", BAD_ADDRESSES, ids=[ascii(address[:40]) for address in BAD_ADDRESSES])
def test_odd_address_is_refused_and_written_to_by_nobody(post: PostOffice, address: str) -> None:
    assert told(register(email=address)) == (400, BAD_EMAIL)
    assert post.delivered == []
    assert not User.objects.exists()


def test_address_of_ten_kilobytes_is_refused(post: PostOffice) -> None:
    assert told(register(email="d" * 10_000 + "@example.org")) == (400, BAD_EMAIL)
    assert post.delivered == []


RARE_ADDRESSES = [
    "o'brien+tag@example.org",
    "a%eve@example.org",
    "d" * 242 + "@example.org",
]


@pytest.mark.parametrize("address", RARE_ADDRESSES)
def test_rare_address_is_one_recipient(post: PostOffice, address: str) -> None:
    assert register(email=address).status_code == 200
    assert post.recipients() == [[address]]
    assert HTTP.get(post.link()).status_code == 200
    assert log_in(address).status_code == 200


def test_domain_of_other_letters_is_written_to_in_ascii(post: PostOffice) -> None:
    assert register(email="dora@B\u00fccher.example").status_code == 200
    assert post.recipients() == [["dora@xn--bcher-kva.example"]]
    assert HTTP.get(post.link()).status_code == 200


# --- Links of strangers ------------------------------------------------------------------------------------------


def signed(salt: str = "another purpose", **claims: str) -> str:
    return signing.dumps({"user": "dora", "email": ADDRESS, "former": "", **claims}, salt=salt)


FORGED = ["x", ":", "::", "a:b:c", "e30:1:x", "%ff", "%E2%80%A8", "'", "x" * 5000, "%00", signed(), "\u00e9:1:x"]


@pytest.mark.parametrize("token", FORGED, ids=[ascii(token[:12]) for token in FORGED])
def test_forged_link_is_refused(post: PostOffice, token: str) -> None:
    register()
    response = HTTP.get(f"/v1/user/email/verify/{token}")
    assert response.status_code == 400
    assert set(response.json()) == {"error"}
    assert log_in().status_code == 403


@pytest.mark.parametrize("part", [0, 1, 2])
def test_changed_link_is_refused(post: PostOffice, part: int) -> None:
    register()
    head, _, token = post.link().rpartition("/")
    parts = token.split(":")
    parts[part] = parts[part][:-1] + ("A" if parts[part][-1] != "A" else "Q")
    assert told(HTTP.get(f"{head}/{':'.join(parts)}")) == (400, INVALID)
    assert log_in().status_code == 403


def test_token_of_a_session_is_no_link(post: PostOffice, dora: User) -> None:
    assert told(HTTP.get(f"/v1/user/email/verify/{jwt_sessions.create_torrust_session(dora).token}")) == (400, INVALID)


@pytest.mark.parametrize(
    ("after", "status"), [(timedelta(days=3) - timedelta(minutes=1), 200), (timedelta(days=3, minutes=1), 400)]
)
def test_link_is_good_for_three_days(
    post: PostOffice, monkeypatch: pytest.MonkeyPatch, after: timedelta, status: int
) -> None:
    register()
    then = time.time() + after.total_seconds()
    monkeypatch.setattr(time, "time", lambda: then)
    response = HTTP.get(post.link())
    assert response.status_code == status
    assert status == 200 or response.json() == INVALID


def test_link_verifies_its_own_user_alone(post: PostOffice) -> None:
    register("dora")
    link = post.link()
    register("emil", "emil@example.org")
    HTTP.get(link)
    assert [log_in(name).status_code for name in ("dora", "emil")] == [200, 403]


def test_link_to_a_former_address_is_refused(post: PostOffice) -> None:
    register()
    User.objects.update(email="other@example.org")
    assert told(HTTP.get(post.link())) == (400, INVALID)
    assert email_of("dora") == "other@example.org"


def test_link_of_a_sign_up_that_failed_gives_no_address_to_who_took_the_name(post: PostOffice) -> None:
    email_verification.send_for_signup(
        "dora", "mallory@example.org"
    )  # the mail is out; the account is opened by somebody quicker
    assert register(email="").status_code == 200
    assert HTTP.get(post.link()).status_code == 400
    assert email_of("dora") == ""


def test_link_of_an_account_that_is_gone_is_refused(post: PostOffice) -> None:
    register()
    User.objects.all().delete()
    assert told(HTTP.get(post.link())) == (400, INVALID)


def test_link_does_not_let_a_closed_account_in(post: PostOffice) -> None:
    register()
    User.objects.update(is_active=False)
    HTTP.get(post.link())
    assert told(log_in()) == (403, {"error": "Invalid username/email or password"})


# --- The reminder ------------------------------------------------------------------------------------------------


def let_time_pass(minutes: float) -> None:
    """Since the last mail to each."""
    for user in User.objects.exclude(verification_sent_at=None):
        user.verification_sent_at = timezone.now() - timedelta(minutes=minutes)
        user.save()


def test_login_soon_after_the_mail_sends_no_other(post: PostOffice) -> None:
    register()
    let_time_pass(9)
    assert told(log_in()) == (403, UNVERIFIED)
    assert len(post.delivered) == 1


def test_login_after_ten_minutes_sends_the_link_again(post: PostOffice) -> None:
    register()
    let_time_pass(11)
    assert [told(log_in()) for _ in range(3)] == [(403, UNVERIFIED)] * 3
    assert post.recipients() == [[ADDRESS]] * 2
    assert HTTP.get(post.link()).content.decode() == DONE
    assert log_in().status_code == 200


def test_all_doors_together_send_one_reminder(post: PostOffice) -> None:
    register()
    let_time_pass(11)
    call("/ktra/api/v1/login/dora", password=PASSWORD)
    call("/api/stable/auth/login", username="dora", password=PASSWORD)
    call("/login", username="dora", password=PASSWORD)
    assert len(post.delivered) == 2


def test_wrong_password_sends_no_reminder(post: PostOffice) -> None:
    register()
    let_time_pass(11)
    log_in(password=OTHER)
    assert len(post.delivered) == 1


def test_verified_account_is_reminded_of_nothing(post: PostOffice) -> None:
    register()
    HTTP.get(post.link())
    let_time_pass(11)
    assert log_in().status_code == 200
    assert len(post.delivered) == 1


def test_reminder_that_could_not_be_sent_is_sent_at_the_next_login(post: PostOffice) -> None:
    register()
    let_time_pass(11)
    post.drops = "RCPT"
    assert told(log_in()) == (503, NOT_SENT)
    post.drops = ""
    assert told(log_in()) == (403, UNVERIFIED)
    assert len(post.delivered) == 2


# --- Another address for an account ------------------------------------------------------------------------------

NEW = "new@example.org"


def test_other_address_counts_after_the_link(dora: User, post: PostOffice) -> None:
    response = change_profile(signed_in("dora"), email=NEW)
    assert (response.status_code, response.json()["email"]) == (200, ADDRESS)
    assert post.recipients() == [[NEW]]
    assert [log_in(login).status_code for login in (ADDRESS, NEW)] == [200, 403]
    assert HTTP.get(post.link()).content.decode() == DONE
    assert [log_in(login).status_code for login in (ADDRESS, NEW)] == [403, 200]


def test_former_address_is_free_after_the_link(dora: User, post: PostOffice) -> None:
    change_profile(signed_in("dora"), email=NEW)
    assert told(register("emil", ADDRESS)) == (400, {"error": "Email not available"})
    HTTP.get(post.link())
    assert register("emil", ADDRESS).status_code == 200


def test_first_address_counts_after_the_link(post: PostOffice, alice: User) -> None:
    browser = signed_in("alice")
    assert change_profile(browser, email=NEW).json()["email"] == ""
    HTTP.get(post.link())
    assert browser.get("/users/alice").json()["email"] == NEW


def test_link_to_another_address_can_be_followed_again(dora: User, post: PostOffice) -> None:
    change_profile(signed_in("dora"), email=NEW)
    assert [HTTP.get(post.link()).content.decode() for _ in range(2)] == [DONE, DONE]


def test_address_that_was_taken_meanwhile_is_refused(dora: User, post: PostOffice) -> None:
    change_profile(signed_in("dora"), email=NEW)
    registration.register("emil", PASSWORD, NEW.upper())
    assert told(HTTP.get(post.link())) == (400, {"error": "Email not available"})
    assert email_of("dora") == ADDRESS
    assert log_in(ADDRESS).status_code == 200


@pytest.mark.parametrize("email", ["emil@example.org", "EMIL@EXAMPLE.ORG"])
def test_taken_address_is_refused_without_a_mail(dora: User, post: PostOffice, email: str) -> None:
    registration.register("emil", PASSWORD, "emil@example.org")
    response = change_profile(signed_in("dora"), email=email)
    assert response.status_code == 400
    assert response.json() == {"error": "email_taken", "message": response.json()["message"]}
    assert post.delivered == []


def test_same_address_sends_no_mail(dora: User, post: PostOffice) -> None:
    assert change_profile(signed_in("dora"), email=ADDRESS).status_code == 200
    assert post.delivered == []
    assert log_in().status_code == 200


@pytest.mark.parametrize(
    ("refusals", "drops", "status", "code"),
    [({}, "RCPT", 503, "mail_failed"), ({"RCPT": "550 no such mailbox"}, "", 400, "email_invalid")],
)
def test_mail_that_cannot_be_sent_changes_nothing(
    dora: User, post: PostOffice, refusals: dict[str, str], drops: str, status: int, code: str
) -> None:
    browser = signed_in("dora")
    post.refusals, post.drops = refusals, drops
    response = change_profile(browser, email=NEW, username="dorothea", password=OTHER)
    assert (response.status_code, response.json()["error"]) == (status, code)
    assert ("Retry-After" in response) == (status == 503)
    assert log_in(ADDRESS).json()["data"]["username"] == "dora"


def test_refused_change_beside_an_address_changes_nothing(dora: User, post: PostOffice, alice: User) -> None:
    response = change_profile(signed_in("dora"), email=NEW, username="alice")
    assert response.status_code == 400
    assert response.json()["error"] == "name_taken"
    for _ in post.delivered:
        HTTP.get(post.link())
    assert email_of("dora") == ADDRESS


def test_address_can_be_changed_together_with_the_name(dora: User, post: PostOffice) -> None:
    assert change_profile(signed_in("dora"), email=NEW, username="dorothea").status_code == 200
    assert (HTTP.get(post.link()).status_code, email_of("dorothea")) == (200, NEW)


def test_link_outlives_a_change_of_the_name(dora: User, post: PostOffice) -> None:
    browser = signed_in("dora")
    change_profile(browser, email=NEW)
    change_profile(browser, username="dorothea")
    assert (HTTP.get(post.link()).status_code, email_of("dorothea")) == (200, NEW)


def test_link_to_an_address_that_was_given_up_again_is_refused(dora: User, post: PostOffice) -> None:
    browser = signed_in("dora")
    change_profile(browser, email="mistake@example.org")
    mistake = post.link()
    change_profile(browser, email=NEW)
    HTTP.get(post.link())
    assert told(HTTP.get(mistake)) == (400, INVALID)
    assert email_of("dora") == NEW


def test_link_that_was_followed_does_not_undo_a_later_change(dora: User, post: PostOffice) -> None:
    browser = signed_in("dora")
    change_profile(browser, email=NEW)
    first = post.link()
    HTTP.get(first)
    change_profile(browser, email=ADDRESS)
    HTTP.get(post.link())
    assert told(HTTP.get(first)) == (400, INVALID)
    assert email_of("dora") == ADDRESS


def test_address_that_is_not_verified_yet_is_taken(post: PostOffice) -> None:
    register()
    assert told(register("emil", ADDRESS.upper())) == (400, {"error": "Email not available"})
    assert len(post.delivered) == 1


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


def ask(server: Server, method: str, path: str, **body: Any) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        given = json.dumps(body) if body else None
        connection.request(method, path, given, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_person_registers_follows_the_link_and_logs_in(server: Server, post: PostOffice) -> None:
    fields = {"username": "dora", "email": ADDRESS, "password": PASSWORD, "confirm_password": PASSWORD}
    assert ask(server, "POST", "/v1/user/register", **fields)[0] == 200
    assert post.recipients() == [[ADDRESS]]
    assert post.delivered[0][1]["From"] == "registry@example.com"
    assert post.found()[1] == server.url
    status, text = ask(server, "POST", "/v1/user/login", login="dora", password=PASSWORD)
    assert (status, json.loads(text)) == (403, UNVERIFIED)
    assert ask(server, "HEAD", post.link()) == (200, "")
    assert [ask(server, "GET", post.link()) for _ in range(2)] == [(200, DONE)] * 2
    assert ask(server, "POST", "/v1/user/login", login="dora", password=PASSWORD)[0] == 200


def test_live_server_refuses_clearly_while_the_mail_server_is_in_trouble(server: Server, post: PostOffice) -> None:
    post.drops = "RCPT"
    fields = {"username": "emil", "email": "emil@example.org", "password": PASSWORD, "confirm_password": PASSWORD}
    status, text = ask(server, "POST", "/v1/user/register", **fields)
    assert (status, json.loads(text)) == (503, NOT_SENT)
    post.drops = ""
    assert ask(server, "POST", "/v1/user/register", **fields)[0] == 200
