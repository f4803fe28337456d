"""Whose token is this? Staff paste a text that somebody has found."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts import bans
from accounts.credentials import app_keys, cargo_tokens, jwt_sessions, revocation
from accounts.models import Credential, User
from accounts.principals import Principal
from files import clients, sessions
from files.models import Session
from registry_site.admin import whose_token
from registry_site.models import AuditEvent
from tests.support.admin import FormFields, hire, sign_in_to_admin

PATH = "/admin/whose-token/"
NOTHING = "The text is no token, session or app key"


def ask(client: Client, text: str) -> Any:
    response = client.post(PATH, {"text": text})
    assert len(text) < 8 or text not in response.content.decode()
    return response


def answers(client: Client, text: str) -> list[tuple[str, str, bool]]:
    """Return what the text opens, whose it is, and whether it works."""
    response = ask(client, text)
    assert response.status_code == 200
    return [(match.title, str(match.holder), match.is_live) for match in response.context["matches"]]


def test_credentials_of_every_kind_are_recognized(as_root: Client, alice: User) -> None:
    browser = sign_in_to_admin(alice)
    machine = clients.add_client("receiver", clients.generate_key(), actor="root")
    texts = {
        "cargo token 'ci'": cargo_tokens.create(alice, "ci"),
        "backup-repository session 'Login'": jwt_sessions.create_backups_session(alice).token,
        "torrust session 'Login'": jwt_sessions.create_torrust_session(alice).token,
        "browser session 'Login'": browser.cookies[settings.SESSION_COOKIE_NAME].value,
        "session": sessions.create_session(machine, 60),
    }
    browser_principal = Principal(alice, Credential.objects.get(user=alice, kind="browser_session"))
    key = app_keys.issue(browser_principal, "PUBLISH")
    texts[f"app key '{key.appid}'"] = f"{key.appid}:signature:MTIz:cmFuZG9t:Ym9keQ"
    for title, text in texts.items():
        holder = "receiver" if title == "session" else "alice"
        assert answers(as_root, text) == [(title, holder, True)], title


def test_token_is_recognized_in_what_surrounds_it(as_root: Client, alice: User) -> None:
    token = cargo_tokens.create(alice, "ci")
    for text in (
        f"  {token}\n",
        f"Authorization: Bearer {token}",
        f'[registries.entrepot]\ntoken = "{token}"\n',
        f"curl -H 'Authorization:{token}' https://crates.example.com",
        f"CARGO_REGISTRIES_ENTREPOT_TOKEN={token}",
        f"{{'token':'{token}'}}",
    ):
        assert answers(as_root, text) == [("cargo token 'ci'", "alice", True)], text


def test_unknown_text_opens_nothing(as_root: Client) -> None:
    for text in ("entc_nothing", "x", "a b c " * 500, "\u202e\U0001f600", ":::::::: ::", "0" * 64):
        assert NOTHING in ask(as_root, text).content.decode(), text


def test_answer_says_why_a_token_opens_nothing(as_root: Client, alice: User) -> None:
    token = cargo_tokens.create(alice, "ci")
    assert "<dd>Live</dd>" in ask(as_root, token).content.decode()
    bans.ban(alice, actor=None, reason="spam")
    assert "its user is closed or banned" in ask(as_root, token).content.decode()
    Credential.objects.filter(name="ci").update(expires_at=timezone.now() - timedelta(days=1))
    assert "Opens nothing: ended on" in ask(as_root, token).content.decode()
    revocation.revoke(Credential.objects.get(name="ci"), None)
    assert "Opens nothing: revoked on" in ask(as_root, token).content.decode()


def test_button_revokes_the_token(as_root: Client, alice: User) -> None:
    token = cargo_tokens.create(alice, "ci")
    (match,) = ask(as_root, token).context["matches"]
    (button,) = match.buttons
    assert button.text == "Revoke"
    form = FormFields(as_root.get(button.url).content.decode()).values
    as_root.post(button.url, {**form, "reason": "It was on a forum."}, follow=True)
    assert Credential.objects.get(name="ci").is_revoked
    assert ask(as_root, token).context["matches"][0].buttons == ()


def test_each_question_is_in_the_audit_log(as_root: Client, root: User, alice: User) -> None:
    token = cargo_tokens.create(alice, "ci")
    ask(as_root, token)
    ask(as_root, "nothing-of-this-name")
    of_nothing, of_token = AuditEvent.objects.filter(action="token.look_up").order_by("-pk")
    assert (of_token.actor_name, of_token.target, of_token.detail) == ("root", "alice", {"match": "cargo token 'ci'"})
    assert (of_nothing.target, of_nothing.detail) == ("nobody", {"match": "nothing that is known here"})


def test_pasted_text_stands_in_no_log(
    as_root: Client, alice: User, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    token = cargo_tokens.create(alice, "ci")
    for text in (token, "sesame-of-a-stranger"):
        ask(as_root, text)
        as_root.get(PATH, {"text": text})
        assert text not in str(AuditEvent.objects.values_list())
        captured = capfd.readouterr()
        assert text not in captured.out + captured.err + caplog.text


def test_question_is_answered_by_post_alone(as_root: Client, alice: User) -> None:
    token = cargo_tokens.create(alice, "ci")
    page = as_root.get(PATH, {"text": token})
    assert page.context["matches"] is None
    assert "no-store" in as_root.post(PATH, {"text": token})["Cache-Control"]


def test_questions_are_limited_for_each_member(as_root: Client) -> None:
    for _ in range(30):
        assert ask(as_root, "nothing-of-this-name").status_code == 200
    refused = ask(as_root, "nothing-of-this-name")
    assert (refused.status_code, refused.context["matches"]) == (429, None)
    assert "You have looked up too many texts" in refused.content.decode()
    assert sign_in_to_admin(hire("onlooker", "view_credential")).post(PATH, {"text": "x"}).status_code == 200


def test_others_may_not_ask(db: None) -> None:
    client = sign_in_to_admin(hire("onlooker", "view_user"))
    assert client.get(PATH).status_code == 403
    assert client.post(PATH, {"text": "x"}).status_code == 403
    assert Client().post(PATH, {"text": "x"}).status_code == 302


def test_machines_are_recognized_by_who_may_view_them(alice: User) -> None:
    machine = clients.add_client("receiver", clients.generate_key(), actor="root")
    token = sessions.create_session(machine, 60)
    onlooker = hire("onlooker", "view_credential")
    client = sign_in_to_admin(onlooker)
    assert answers(client, token) == []
    onlooker.user_permissions.add(Permission.objects.get(codename="view_session", content_type__app_label="files"))
    assert answers(client, token) == [("session", "receiver", True)]
    Session.objects.update(ended_at=timezone.now())
    assert answers(client, token) == [("session", "receiver", False)]


def test_parts_of_a_text_are_few() -> None:
    assert len(whose_token.parts_of("token=abcdefgh " * 5000)) == 2
    assert len(whose_token.parts_of(" ".join(f"abcdefgh{number}" for number in range(5000)))) == whose_token.MAX_PARTS


def test_empty_form_asks_for_a_text(as_root: Client) -> None:
    page = as_root.post(PATH, {"text": "  "})
    assert "This field is required." in page.content.decode()
