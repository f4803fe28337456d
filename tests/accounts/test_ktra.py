"""Ktra's user endpoints and `GET /me`."""

from typing import Any

import pytest
from django.test import Client, override_settings

from accounts import bans
from accounts.credentials import cargo_tokens
from accounts.models import User
from tests.support.cast import PASSWORD, CargoClient
from tests.support.headers import comparable_headers
from tests.support.responses import answer_of

API = "/ktra/api/v1"
WRONG = "The user name or the password is wrong."
OTHER = "battery staple"


def call(action: str, name: str, **body: Any) -> Any:
    return CargoClient().post(f"{API}/{action}/{name}", body, content_type="application/json")


def send(action: str, name: str, body: bytes, content_type: str = "application/json") -> Any:
    return CargoClient().generic("POST", f"{API}/{action}/{name}", body, content_type=content_type)


def refusal(detail: str) -> dict[str, Any]:
    return {"errors": [{"detail": detail}]}


def is_valid(token: str) -> bool:
    """Return whether the token is valid: it gets 404 for the owners of a crate that does not exist."""
    return CargoClient(token=token).get("/api/v1/crates/none/owners").status_code == 404


# --- POST /ktra/api/v1/new_user/{user_name} ----------------------------------------------------------------------


@pytest.mark.django_db
def test_new_user_gets_a_token_alone() -> None:
    response = call("new_user", "alice", password=PASSWORD)
    assert response.status_code == 200
    assert set(response.json()) == {"token"}
    assert cargo_tokens.authenticate(response.json()["token"]).user.username == "alice"


@pytest.mark.django_db
def test_json_is_read_whatever_its_announcement() -> None:
    content_types = ["", "application/json", "application/json; charset=utf-8", "Application/JSON"]
    statuses = [
        send("new_user", f"alice-{number}", b'{"password": "PASSWORD"}', content_type).status_code
        for number, content_type in enumerate(content_types)
    ]
    assert statuses == [200] * 4


@pytest.mark.django_db
@pytest.mark.parametrize("action", ["new_user", "login", "change_password"])
def test_other_content_types_are_refused(action: str) -> None:
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "json",
    ):
        response = send(action, "alice", b'{"password": "PASSWORD"}', content_type)
        assert answer_of(response) == (415, refusal(f'Unsupported media type "{content_type}" in request.'))
        assert not response.cookies


@pytest.mark.django_db
def test_further_keys_are_ignored() -> None:
    response = call("new_user", "alice", password=PASSWORD, is_staff=True, is_superuser=True, id=7)
    assert response.status_code == 200
    assert not User.objects.filter(is_staff=True).exists()


BAD_BODIES = [
    (b"", "password: This field is required."),
    (b"{}", "password: This field is required."),
    (b'{"Password": "secret1"}', "password: This field is required."),
    (b'{"password": null}', "password: This field may not be null."),
    (b'{"password": ""}', "password: This field may not be blank."),
    (b'{"password": true}', "password: Not a valid string."),
    (b'{"password": ["secret1"]}', "password: Not a valid string."),
    (b'{"password": {"a": 1}}', "password: Not a valid string."),
    (b'["secret1"]', "Invalid data. Expected a dictionary, but got list."),
    (b'"secret1"', "Invalid data. Expected a dictionary, but got str."),
    (b"null", "No data provided"),
    (b'{"password": "sec\\u0000ret"}', "A text contains a NUL character."),
    (b'{"password": "\\ud800secret"}', "A text contains half of a surrogate pair, which is no character."),
    (b'{"password": "\xff"}', "The JSON is not UTF-8."),
    (b'{"password": NaN}', "The JSON cannot be read: NaN is no JSON number."),
    (b"[" * 100_000, "The JSON is nested too deeply."),
    (b"[" * 40 + b"]" * 40, "The JSON is nested more than 32 deep."),
]


@pytest.mark.django_db
@pytest.mark.parametrize("action", ["new_user", "login"])
def test_bad_body_is_refused_with_its_reason(action: str) -> None:
    offenders = []
    for body, detail in BAD_BODIES:
        answer = answer_of(send(action, "alice", body))
        if answer != (400, refusal(detail)):
            offenders.append((body[:24], answer))
    assert offenders == []


@pytest.mark.django_db
def test_number_is_no_password() -> None:
    for number in (b"1234567", b"1e10", b"123456.5"):
        answer = answer_of(send("new_user", "alice", b'{"password": ' + number + b"}"))
        assert answer == (400, refusal("password: Not a valid string.")), number


@pytest.mark.django_db
def test_broken_json_is_refused() -> None:
    response = send("new_user", "alice", b'{"password": "secret1"')
    assert response.status_code == 400
    assert response.json()["errors"][0]["detail"].startswith("The JSON cannot be read: ")


@pytest.mark.django_db
def test_body_without_a_length_is_refused() -> None:
    response = CargoClient().generic(
        "POST", f"{API}/login/alice", b"{}", CONTENT_LENGTH="", headers={"Transfer-Encoding": "chunked"}
    )
    assert response.status_code == 411
    assert response.json() == refusal("Send the body with a Content-Length; a chunked body is not taken here.")


@pytest.mark.django_db
@pytest.mark.parametrize("action", ["new_user", "login"])
def test_password_of_a_megabyte_is_not_read(action: str) -> None:
    response = call(action, "alice", password="x" * 1024 * 1024)
    assert response.status_code == 413
    assert response.json() == refusal("The body has 1048592 bytes; at most 1048576 are taken here.")


def test_taken_name_is_refused_in_any_case(alice: User) -> None:
    for name in ("alice", "ALICE", "aLiCe"):
        answer = answer_of(call("new_user", name, password=OTHER))
        assert answer == (409, refusal(f"the user identified 'ktra-secure-auth:{name}' already exists"))


def test_refused_new_user_changes_nothing(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    call("new_user", "alice", password=OTHER)
    assert is_valid(token)
    assert call("login", "alice", password=PASSWORD).status_code == 200


@override_settings(SIGNUP_OPEN=False)
def test_closed_registry_takes_no_new_users(alice: User) -> None:
    detail = "This registry does not take new accounts over the web; ask its operator for one."
    for name in ("alice", "somebody"):
        assert answer_of(call("new_user", name, password=PASSWORD)) == (403, refusal(detail))
    assert User.objects.count() == 1


@override_settings(AUTH_REQUIRED=True)
@pytest.mark.django_db
def test_login_is_open_where_tokens_are_required() -> None:
    assert call("new_user", "alice", password=PASSWORD).status_code == 200
    assert call("login", "alice", password=PASSWORD).status_code == 200


# --- POST /ktra/api/v1/login/{user_name} -------------------------------------------------------------------------


def test_login_answers_with_a_token_alone(alice: User) -> None:
    response = call("login", "alice", password=PASSWORD)
    assert response.status_code == 200
    assert set(response.json()) == {"token"}
    assert cargo_tokens.authenticate(response.json()["token"]).user == alice


def test_login_takes_each_form_of_the_name(alice: User) -> None:
    names = ["alice", "ALICE", "ktra-secure-auth:alice", "%61lice"]
    assert [call("login", name, password=PASSWORD).status_code for name in names] == [200] * 4


def test_login_ends_the_token_before_it(alice: User) -> None:
    first = call("login", "alice", password=PASSWORD).json()["token"]
    second = call("login", "alice", password=PASSWORD).json()["token"]
    assert (is_valid(first), is_valid(second)) == (False, True)


def test_refused_login_ends_no_token(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    call("login", "alice", password=OTHER)
    assert is_valid(token)


def test_refused_logins_look_alike(alice: User, bob: User, charlie: User) -> None:
    bans.ban(bob, actor=None)
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    attempts = [("alice", OTHER), ("nobody", PASSWORD), ("bob", PASSWORD), ("charlie", PASSWORD), ("alice", "x" * 4096)]
    responses = [call("login", name, password=password) for name, password in attempts]
    assert {(r.status_code, r.content) for r in responses} == {(401, responses[0].content)}
    assert responses[0].json() == refusal(WRONG)
    assert len({comparable_headers(r) for r in responses}) == 1


ODD_NAMES = ["%ff", "alice%0a", "%ed%a0%80", "alice%E2%80%8B", "%20alice", "a" * 5000, ".", "'", "%25", "é"]


def test_odd_name_is_an_unknown_name(alice: User) -> None:
    offenders = []
    for name in ODD_NAMES:
        answers = [
            answer_of(call("login", name, password=PASSWORD)),
            answer_of(call("change_password", name, old_password=PASSWORD, new_password=OTHER)),
        ]
        if answers != [(401, refusal(WRONG))] * 2:
            offenders.append((name, answers))
    assert offenders == []


@pytest.mark.parametrize("action", ["new_user", "login"])
def test_name_with_a_nul_is_refused(alice: User, action: str) -> None:
    status, body = answer_of(call(action, "ali%00ce", password=PASSWORD))
    assert status in (400, 401)
    assert set(body) == {"errors"}


def test_new_user_cannot_have_an_odd_name(alice: User) -> None:
    offenders = []
    for name in [*ODD_NAMES, "alice:x", "ktra-secure-auth:bob", "gitlab.com:bob"]:
        status, body = answer_of(call("new_user", name, password=PASSWORD))
        if status != 400 or " is not allowed: use 1 to 255 of A-Z" not in body["errors"][0]["detail"]:
            offenders.append((name, status, body))
    assert offenders == []
    assert User.objects.count() == 1


# --- POST /ktra/api/v1/change_password/{user_name} ---------------------------------------------------------------


def test_changed_password_answers_with_a_token_alone(alice: User) -> None:
    response = call("change_password", "alice", old_password=PASSWORD, new_password=OTHER)
    assert response.status_code == 200
    assert set(response.json()) == {"token"}
    assert cargo_tokens.authenticate(response.json()["token"]).user == alice


def test_changed_password_ends_the_token_before_it(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    call("change_password", "alice", old_password=PASSWORD, new_password=OTHER)
    assert not is_valid(token)


def test_only_the_new_password_logs_in(alice: User) -> None:
    call("change_password", "alice", old_password=PASSWORD, new_password=OTHER)
    statuses = [call("login", "alice", password=password).status_code for password in (PASSWORD, OTHER)]
    assert statuses == [401, 200]


def test_changed_password_ends_admin_sessions(root: User) -> None:
    browser = Client()
    assert browser.login(username="root", password=PASSWORD)
    assert browser.get("/admin/").status_code == 200
    call("change_password", "root", old_password=PASSWORD, new_password=OTHER)
    assert browser.get("/admin/").status_code == 302


def test_same_passwords_are_refused(alice: User) -> None:
    for name in ("alice", "nobody"):
        response = call("change_password", name, old_password=PASSWORD, new_password=PASSWORD)
        assert answer_of(response) == (400, refusal("the given passwords are the same"))


def test_refused_changes_look_alike(alice: User, bob: User) -> None:
    bans.ban(bob, actor=None)
    attempts = [("alice", "wrong horse"), ("nobody", PASSWORD), ("bob", PASSWORD)]
    responses = [call("change_password", name, old_password=old, new_password=OTHER) for name, old in attempts]
    assert {(r.status_code, r.content) for r in responses} == {(401, responses[0].content)}
    assert responses[0].json() == refusal(WRONG)


def test_refused_change_changes_nothing(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    call("change_password", "alice", old_password="wrong horse", new_password=OTHER)
    call("change_password", "alice", old_password=PASSWORD, new_password="short")
    assert is_valid(token)
    assert call("login", "alice", password=PASSWORD).status_code == 200


def test_bad_change_is_refused_with_its_reason(alice: User) -> None:
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "old_password: This field is required. new_password: This field is required."),
        ({"old_password": PASSWORD}, "new_password: This field is required."),
        ({"new_password": OTHER}, "old_password: This field is required."),
        ({"old_password": PASSWORD, "new_password": "abc"}, "Use 6 to 64 characters; the password has 3."),
        ({"old_password": PASSWORD, "new_password": "x" * 65}, "Use 6 to 64 characters; the password has 65."),
        ({"old_password": PASSWORD, "new_password": "x\ty\nz\r"}, "The password is blank or has control characters."),
        ({"old_password": PASSWORD, "new_password": " " * 8}, "The password is blank or has control characters."),
    ]
    answers = [answer_of(call("change_password", "alice", **body)) for body, _ in cases]
    assert answers == [(400, refusal(detail)) for _, detail in cases]


# --- GET /me -----------------------------------------------------------------------------------------------------


def test_me_hints_how_to_get_a_token(client: Client) -> None:
    response = client.get("/me")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response.content.decode() == (
        "$ curl -X POST -H 'Content-Type: application/json' -d '{\"password\":\"YOUR PASSWORD\"}' "
        "http://testserver/ktra/api/v1/login/<YOUR USERNAME>\n"
    )


def test_me_leads_browsers_to_their_tokens(client: Client, alice: User) -> None:
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert client.get("/me", headers=headers)["Location"] == "/sign-in?next=%2Fme"
    client.force_login(alice)
    assert client.get("/me", headers=headers)["Location"] == "/account/tokens"


def test_me_answers_a_token_with_itself(alice: User) -> None:
    client = CargoClient(alice)
    assert client.get("/me").json() == {"username": alice.login, "existing_token": client.token}
    assert CargoClient(token="entc_wrong").get("/me").status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_replace_token_answers_as_documented(alice: User, method: str) -> None:
    client = CargoClient(alice)
    answer = client.generic(method, "/replace_token").json()
    assert answer == {"username": alice.login, "new_token": answer["new_token"], "revoked_token": client.token}
    assert (is_valid(str(client.token)), is_valid(answer["new_token"])) == (False, True)


def test_named_token_shows_no_other(alice: User) -> None:
    client = CargoClient(token=cargo_tokens.create(alice, "ci"))
    assert [client.get(path).status_code for path in ("/me", "/replace_token")] == [403, 403]


@pytest.mark.django_db
def test_replace_token_needs_a_token() -> None:
    response = CargoClient().get("/replace_token", headers={"Accept": "text/html"})
    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Cargo login_url="http://testserver/me"')
    assert set(response.json()) == {"errors"}


@pytest.mark.django_db
def test_asymmetric_token_is_refused_in_words() -> None:
    status, answer = answer_of(CargoClient(token="v3.public.eyJzdWIi").get("/api/v1/crates/none/owners"))
    assert status == 401
    assert "Asymmetric tokens (`cargo:paseto`) are not supported" in answer["errors"][0]["detail"]


def test_me_varies_by_accept(client: Client) -> None:
    for accept in ("*/*", "text/html", "application/json", "nonsense"):
        assert "Accept" in client.get("/me", headers={"Accept": accept})["Vary"].split(", ")


def test_me_is_read_only(client: Client) -> None:
    for accept in ("*/*", "text/html"):
        response = client.post("/me", headers={"Accept": accept})
        assert response.status_code == 405
        assert "GET" in response["Allow"]


# --- All of them -------------------------------------------------------------------------------------------------


def test_token_is_not_cached(alice: User) -> None:
    responses = [
        call("new_user", "dora", password=PASSWORD),
        call("login", "alice", password=PASSWORD),
        call("change_password", "alice", old_password=PASSWORD, new_password=OTHER),
    ]
    assert [response["Cache-Control"] for response in responses] == ["no-store"] * 3


@pytest.mark.parametrize("action", ["new_user", "login", "change_password"])
def test_only_post_is_allowed(client: Client, action: str) -> None:
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"):
        response = client.generic(method, f"{API}/{action}/alice")
        assert response.status_code == 405
        assert response["Allow"].split(", ")[0] == "POST"
        assert method == "HEAD" or response.json() == refusal(f'Method "{method}" not allowed.')


def test_method_cannot_be_overridden(alice: User, client: Client) -> None:
    path, body = f"{API}/login/alice?_method=POST", b'{"password": "correct horse"}'
    for header in ("X-HTTP-Method-Override", "X-Method-Override"):
        response = client.generic("PUT", path, body, "application/json", headers={header: "POST"})
        assert response.status_code == 405


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path_is_refused_in_the_dialect(client: Client, method: str) -> None:
    paths = ["/ktra", "/ktra/", f"{API}/", f"{API}/nope", f"{API}/login", f"{API}/login/", f"{API}/login/a%2Fb"]
    answers = {path: answer_of(client.generic(method, path)) for path in paths}
    assert answers == dict.fromkeys(paths, (404, refusal("There is nothing at this path.")))


def test_dry_run_of_cargo_ktra_login_gets_errors(alice: User) -> None:
    response = call("login", "alice")
    assert response.json() == refusal("password: This field is required.")


def test_answer_is_json_whatever_is_accepted(alice: User) -> None:
    path, body = f"{API}/login/alice", {"password": PASSWORD}
    for accept in ("application/json", "text/html", "image/png", "nonsense"):
        response = CargoClient().post(path, body, content_type="application/json", headers={"Accept": accept})
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")


def test_stale_token_does_not_hinder_a_login(alice: User) -> None:
    stale = CargoClient(token="entc_stale")
    response = stale.post(f"{API}/login/alice", {"password": PASSWORD}, content_type="application/json")
    assert response.status_code == 200
