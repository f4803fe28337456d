"""Lost passwords: links in mails, their end, their limits, and the pages around them."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts import bans
from accounts.credentials import cargo_tokens, jwt_sessions
from accounts.models import Credential, LoginFailure, User
from accounts.passwords import login, reset
from registry_site import outbox
from registry_site.errors import Invalid
from registry_site.models import AuditEvent, OutboxEntry
from tests.support.cast import PASSWORD
from tests.support.page_forms import PAGE, FormBrowser, error_of, notices
from tests.support.sent_mails import sent_mails

NEW = "battery staple"
ADDRESS = "alice@example.org"
SENT = f"If an account has the address {ADDRESS}, a link is on its way there, good for an hour."
ENDED = "This link has ended, was used, or is not whole. Ask for another one."


@pytest.fixture
def alice(alice: User) -> User:
    User.objects.filter(pk=alice.pk).update(email=ADDRESS)
    alice.refresh_from_db()
    return alice


@pytest.fixture
def visitor(db: None) -> FormBrowser:
    return FormBrowser()


def request_link(address: str = ADDRESS) -> Any:
    response = FormBrowser().fill_in("/password-reset", email=address)
    outbox.work_off()
    return response


def link_of(message: Any) -> str:
    match = re.search(r"http://testserver(/password-reset/\S+)", str(message.body))
    assert match
    return match[1]


@pytest.fixture
def link(alice: User) -> str:
    request_link()
    return link_of(sent_mails()[-1])


def choose(browser: FormBrowser, link: str, password: str = NEW, confirmation: str = NEW) -> Any:
    return browser.fill_in(link, password=password, confirmation=confirmation)


# --- The request ----------------------------------------------------------------------------------------------------


def test_known_and_unknown_addresses_answer_alike(visitor: FormBrowser, alice: User) -> None:
    answers = []
    for address in (ADDRESS, "nobody@example.org"):
        browser = FormBrowser()
        response = browser.fill_in("/password-reset", email=address)
        page = browser.get(response["Location"], headers=PAGE).content.decode()
        shown = re.findall(r"<li class=\"notice[^>]*>(.*?)</li>", page)
        answers.append((response.status_code, response["Location"], [text.replace(address, ADDRESS) for text in shown]))
    assert answers == [(302, "/sign-in", [SENT])] * 2


def test_answer_waits_for_no_account(alice: User, django_assert_num_queries: Any) -> None:
    """The time of an answer tells nothing: it looks for no account, and adds the same row for each address."""
    for address in (ADDRESS, "nobody@example.org"):
        with django_assert_num_queries(1):
            FormBrowser().fill_in("/password-reset", email=address)
    assert [message.to for message in sent_mails()] == [[ADDRESS]]


def test_bad_address_is_marked(visitor: FormBrowser) -> None:
    response = visitor.fill_in("/password-reset", email="nobody")
    assert (response.status_code, error_of(response, "email")) == (400, "The e-mail address is not valid: 'nobody'.")


def test_request_leaves_an_event_of_nobody(link: str) -> None:
    event = AuditEvent.objects.get(action="user.ask_for_password")
    assert (event.actor, event.actor_name, event.target, event.ip_address) == (None, "visitor", "alice", "127.0.0.1")


def test_unusable_accounts_get_no_mail(alice: User, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(email="bob@example.org", is_active=False)
    bans.ban(alice, actor=None)
    request_link()
    request_link("bob@example.org")
    assert sent_mails() == []


def test_unverified_account_verifies_first(alice: User, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = True
    request_link()
    assert [message.subject for message in sent_mails()] == ["Verify your e-mail address"]


def test_mail_goes_to_the_verified_account(alice: User, bob: User, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = True
    User.objects.filter(pk=alice.pk).update(verification_sent_at=timezone.now())
    User.objects.filter(pk=bob.pk).update(email=ADDRESS, email_verified_at=timezone.now())
    request_link()
    assert [reset.read_link(link_of(message).rpartition("/")[2]) for message in sent_mails()] == [bob]


# --- Limits ---------------------------------------------------------------------------------------------------------


def test_address_is_limited_whether_it_exists(alice: User) -> None:
    for address in ("Alice+x@example.org", "nobody@example.org"):
        statuses = [request_link(address).status_code for _ in range(6)]
        assert statuses == [302] * 5 + [429], address


def test_limit_says_how_long_to_wait(alice: User) -> None:
    for _ in range(5):
        request_link()
    response = request_link()
    assert 3500 < int(response["Retry-After"]) <= 3600
    [sentence] = notices(response.content.decode())
    assert re.search(r"Follow the last one, or wait 3[56]\d\d seconds\.", sentence)


def test_network_is_limited(visitor: FormBrowser) -> None:
    statuses = [request_link(f"nobody-{number}@example.org").status_code for number in range(21)]
    assert statuses == [302] * 20 + [429]


def test_account_is_limited_from_all_networks(alice: User) -> None:
    for _ in range(7):
        caches["rate_limits"].clear()  # as for another worker
        request_link()
    assert len(sent_mails()) == 5


def test_unknown_addresses_leave_no_row(alice: User) -> None:
    request_link("nobody@example.org")
    assert not OutboxEntry.objects.exists()


# --- The link -------------------------------------------------------------------------------------------------------


def test_scanner_changes_nothing(visitor: FormBrowser, link: str) -> None:
    for _ in range(3):
        assert visitor.get(link, headers=PAGE).status_code == 200
        assert Client().get(link).status_code == 200
    assert login.authenticate("alice", PASSWORD)


def test_new_password_counts_after_the_form(visitor: FormBrowser, alice: User, link: str) -> None:
    response = choose(visitor, link)
    assert response["Location"] == "/sign-in"
    assert "Your password is changed" in visitor.get("/sign-in", headers=PAGE).content.decode()
    assert login.authenticate("alice", NEW) == alice
    event = AuditEvent.objects.get(action="user.change_password")
    assert (event.actor, event.target, event.detail) == (alice, "alice", {"by": "a link"})


def test_link_works_once(visitor: FormBrowser, link: str) -> None:
    assert choose(visitor, link).status_code == 302
    for response in (visitor.get(link, headers=PAGE), visitor.post(link, headers=PAGE)):
        assert response.status_code in (400, 403)
    assert ENDED in visitor.get(link, headers=PAGE).content.decode()


def test_all_sessions_end(visitor: FormBrowser, alice: User, link: str) -> None:
    browser = FormBrowser()
    browser.fill_in("/sign-in", username="alice", password=PASSWORD)  # ends the link, too
    jwt_sessions.create_torrust_session(alice)
    cargo_tokens.rotate_default(alice)
    alice.refresh_from_db()
    choose(visitor, reset.make_link(alice, actor=None).removeprefix("http://testserver"))
    assert not Credential.objects.unrevoked().exists()
    assert browser.get("/account", headers=PAGE).status_code == 302


def test_bad_links_say_that_they_ended(visitor: FormBrowser, alice: User, bob: User, link: str) -> None:
    token = link.removeprefix("/password-reset/")
    signed = token.partition("-")[2]
    bad = [
        "x",
        "-",
        "1",
        f"{bob.pk}-{signed}",
        f"0-{signed}",
        f"{'9' * 30}-{signed}",
        f"{token}x",
        f"²-{signed}",
        "%00",
    ]
    offenders = []
    for text in bad:
        response = visitor.get(f"/password-reset/{text}", headers=PAGE)
        if (response.status_code, text == "%00" or ENDED in response.content.decode()) != (400, True):
            offenders.append((text, response.status_code))
    assert offenders == []


def test_link_ends_by_time_and_changes(visitor: FormBrowser, alice: User, settings: Any) -> None:
    links = []
    for change in (
        {"email": "other@example.org"},
        {"last_login": timezone.now()},
        {"password": "!"},
    ):
        alice.refresh_from_db()
        links.append(reset.make_link(alice, actor=None))
        User.objects.filter(pk=alice.pk).update(**change)
    alice.refresh_from_db()
    settings.PASSWORD_RESET_TIMEOUT = -1
    links.append(reset.make_link(alice, actor=None))
    statuses = [visitor.get(link.removeprefix("http://testserver"), headers=PAGE).status_code for link in links]
    assert statuses == [400] * 4


def test_refused_password_keeps_the_link(visitor: FormBrowser, link: str) -> None:
    short, differing = choose(visitor, link, "short", "short"), choose(visitor, link, NEW, PASSWORD)
    assert error_of(short, "password") == "Use 6 to 64 characters; the password has 5."
    assert error_of(differing, "confirmation") == "The two passwords differ."
    assert choose(visitor, link).status_code == 302


def test_second_of_two_forms_changes_nothing(visitor: FormBrowser, alice: User, link: str) -> None:
    token = link.rpartition("/")[2]
    reset.set_password(token, NEW, NEW)
    with pytest.raises(Invalid):
        reset.set_password(token, "another one", "another one")
    assert login.authenticate("alice", NEW)


def test_owner_signs_in_after_too_many_failures(visitor: FormBrowser, link: str, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 2
    for _ in range(2):
        visitor.fill_in("/sign-in", username="alice", password="wrong")
    assert visitor.fill_in("/sign-in", username="alice", password=PASSWORD).status_code == 429
    choose(visitor, link)
    assert visitor.fill_in("/sign-in", username="alice", password=NEW).status_code == 302
    assert LoginFailure.objects.count() == 2


def test_token_is_not_in_the_log(visitor: FormBrowser, link: str, caplog: pytest.LogCaptureFixture) -> None:
    choose(visitor, link, "short", "short")
    text = " ".join(str(record.__dict__) for record in caplog.records)
    assert ("/password-reset/…" in text, link in text) == (True, False)


# --- Where the provider alone signs in, and the operator --------------------------------------------------------------


def test_provider_alone_has_no_reset(visitor: FormBrowser, link: str, settings: Any) -> None:
    settings.PASSWORD_LOGIN, settings.OIDC_LOGIN, settings.OIDC_ISSUER = False, True, "https://id.example.org"
    page = visitor.get("/password-reset", headers=PAGE).content.decode()
    assert "everybody signs in at https://id.example.org" in page
    assert visitor.get(link, headers=PAGE).status_code == 400
    with pytest.raises(CommandError, match="good nowhere"):
        call_command("passwordlink", "alice")


def test_operator_prints_a_link(visitor: FormBrowser, bob: User) -> None:
    out = StringIO()
    call_command("passwordlink", "bob", stdout=out)
    choose(visitor, out.getvalue().strip().removeprefix("http://testserver"))
    assert login.authenticate("bob", NEW) == bob
    assert AuditEvent.objects.get(action="user.ask_for_password").actor_name == "operator"
