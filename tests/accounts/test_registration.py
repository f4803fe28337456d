"""Registration: names, passwords and e-mail addresses of new accounts."""

from contextlib import suppress
from typing import Any

import pytest
from django.test import Client, override_settings

from accounts import names, registration
from accounts.models import NameReservation, User
from accounts.passwords import login
from registry_site.errors import Conflict, Invalid, NotFound, PermissionDenied, WrongPassword
from registry_site.http import url_map
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD

pytestmark = pytest.mark.django_db


def has_no_rows() -> bool:
    return not any(model.objects.exists() for model in (User, NameReservation, AuditEvent))


# --- Names -------------------------------------------------------------------------------------------------------


def test_plain_name_is_allowed() -> None:
    for name in ("a", "7", "Alice", "alice-b_c", "0-0", "a--", "x" * 255, "new-one", "admins", "john.doe", "_x", "-y"):
        assert registration.sign_up(name, PASSWORD).username == name


BAD_NAMES = {
    "empty": "",
    "blank": " ",
    "256 characters": "x" * 256,
    "10 kB": "x" * 10_000,
    "no letter": "_-_",
    "dot": ".",
    "dot first": ".alice",
    "dot last": "alice.",
    "dots": "ali..ce",
    "parent": "..",
    "encoded parent": "%2e%2e",
    "slash": "a/b",
    "encoded slash": "a%2fb",
    "at": "alice@example.com",
    "OIDC's": "gitlab.com:bob",
    "Ktra's": "ktra-secure-auth:bob",
    "dollar": "$appid",
    "blank before": " alice",
    "blank after": "alice ",
    "new line after": "alice\n",
    "NUL": "al\0ice",
    "ESC": "\x1b[31malice",
    "cyrillic": "\u0430lice",
    "full width": "\uff41\uff4c\uff49\uff43\uff45",
    "ligature": "ﬁona",
    "Kelvin": "\u212aate",
    "long s": "\u017fam",
    "dotless i": "al\u0131ce",
    "combining": "a\u0301lice",
    "zero width": "ali\u200bce",
    "right to left": "ali\u202ece",
    "other digits": "٣",
    "surrogate": "ali\ud800ce",
    "mark-up": "<script>",
}


def message_of(name: str, password: str = PASSWORD, email: str = "") -> str:
    """Return the message of a refused registration, or "" if it is accepted."""
    try:
        registration.register(name, password, email)
    except Invalid as error:
        return error.message
    return ""


def test_other_name_is_refused() -> None:
    messages = {case: message_of(name) for case, name in BAD_NAMES.items()}
    rule = "is not allowed: use 1 to 255 of A-Z, a-z, 0-9, -, _ and ., with at least one letter or digit"
    assert [case for case, message in messages.items() if rule not in message] == []
    assert [case for case, message in messages.items() if not message.isprintable() or len(message) >= 600] == []
    assert has_no_rows()


def test_reserved_name_is_refused_over_the_web() -> None:
    for name in {*names.RESERVED_WORDS, *url_map.reserved_segments()}:
        for spelling in (name, name.upper(), name.capitalize()):
            with pytest.raises(Invalid, match=f"The user name '{spelling}' is reserved; choose another"):
                registration.sign_up(spelling, PASSWORD)
    assert has_no_rows()


def test_look_alike_of_a_reserved_word_is_refused() -> None:
    for name in ("adm1n", "r00t", "_root", "Reg1stry-", "5ystem.admin", "sy-stem"):
        with suppress(Invalid):
            registration.sign_up(name, PASSWORD)
    assert sorted(User.objects.values_list("username", flat=True)) == ["5ystem.admin", "sy-stem"]


def test_operator_may_give_a_reserved_name() -> None:
    assert registration.register("support", PASSWORD).username == "support"


def test_name_is_taken_in_any_case(alice: User) -> None:
    for name in ("Alice", "ALICE", "alice"):
        with pytest.raises(Conflict, match=f"the user identified 'ktra-secure-auth:{name}' already exists"):
            registration.sign_up(name, PASSWORD)
    assert list(User.objects.values_list("username", flat=True)) == ["alice"]


def test_name_of_a_namespace_is_taken() -> None:
    NameReservation.objects.create(name="tools")
    with pytest.raises(Conflict):
        registration.sign_up("Tools", PASSWORD)
    assert not User.objects.exists()


def test_name_of_a_deleted_account_stays_taken(alice: User) -> None:
    alice.delete()
    with pytest.raises(Conflict):
        registration.sign_up("alice", PASSWORD)


def test_name_keeps_its_spelling() -> None:
    user = registration.sign_up("Alice", PASSWORD)
    assert (str(user), user.login) == ("Alice", "ktra-secure-auth:Alice")


def test_look_up_ignores_case_and_ktras_prefix(alice: User) -> None:
    for name in ("Alice", "alice", "ALICE", "ktra-secure-auth:alice", "ktra-secure-auth:ALICE"):
        assert User.objects.get_named(name) == alice


def test_look_up_by_another_name_raises_not_found(alice: User) -> None:
    for name in ("", "alic", "alice ", "KTRA-SECURE-AUTH:alice", "x:alice", "ktra-secure-auth:"):
        with pytest.raises(NotFound, match=r"^There is no user of this name.$") as failure:
            User.objects.get_named(name)
        assert failure.value.code == "user_missing"


def test_look_alike_names_nobody() -> None:
    registration.register("kate", PASSWORD)
    assert not User.objects.named("\u212aate").exists()
    assert not User.objects.named("ktra-secure-auth:\u212aate").exists()


# --- Passwords ---------------------------------------------------------------------------------------------------


def test_password_of_6_to_64_characters_is_allowed() -> None:
    passwords = ["secret", "x" * 64, "ünïcödé", "      a", "🔑🔑🔑🔑🔑🔑", "password", "123456"]
    for number, password in enumerate(passwords):
        user = registration.sign_up(f"user-{number}", password)
        assert login.authenticate(f"user-{number}", password) == user


def test_other_password_is_refused() -> None:
    cases = [
        ("", "Use 6 to 64 characters; the password has 0."),
        ("short", "Use 6 to 64 characters; the password has 5."),
        ("e\u0301" * 5, "Use 6 to 64 characters; the password has 5."),
        ("x" * 65, "Use 6 to 64 characters; the password has 65."),
        ("x" * 1024 * 1024, "Use 6 to 64 characters; the password has 1048576."),
        ("      ", "The password is blank or has control characters."),
        ("\u3000" * 6, "The password is blank or has control characters."),
        ("secret\0", "The password is blank or has control characters."),
        ("secret\n", "The password is blank or has control characters."),
        ("secret\x7f", "The password is blank or has control characters."),
        ("annabel", "The password is the user name."),
        ("ANNABEL", "The password is the user name."),
    ]
    messages = [message_of("Annabel", password) for password, _ in cases]
    assert [case[1] for case, message in zip(cases, messages, strict=True) if case[1] not in message] == []
    assert has_no_rows()


def test_password_is_stored_as_a_hash_only(alice: User) -> None:
    row = User.objects.values().get()
    assert not any(PASSWORD in str(value) for value in row.values())


def test_other_password_does_not_log_in(alice: User) -> None:
    for password in ("Correct horse", "correct horse ", " correct horse", "", "x" * 1024 * 1024):
        with pytest.raises(WrongPassword):
            login.authenticate("alice", password)


def test_blanks_around_a_password_are_part_of_it() -> None:
    user = registration.sign_up("alice", "  secret  ")
    assert login.authenticate("alice", "  secret  ") == user
    with pytest.raises(WrongPassword):
        login.authenticate("alice", "secret")


def test_unusable_password_never_logs_in(alice: User) -> None:
    alice.set_unusable_password()
    alice.save()
    with pytest.raises(WrongPassword):
        login.authenticate("alice", alice.password)


# --- E-mail addresses --------------------------------------------------------------------------------------------


def test_domain_of_an_address_is_lowered() -> None:
    for number, email in enumerate(("", "alice@example.com", "a.b+c@sub.example.co", "bob@EXAMPLE.com")):
        user = registration.register(f"user-{number}", PASSWORD, email)
        assert user.email == email.replace("EXAMPLE", "example")


BAD_ADDRESSES = {
    "no at": "alice",
    "nothing before at": "@example.com",
    "nothing after at": "alice@",
    "blank": "alice @example.com",
    "two": "alice@example.com, bob@example.com",
    "header": "alice@example.com\r\nBcc: bob@example.com",
    "encoded header": "alice@example.com%0d%0aBcc:bob@example.com",
    "new line after": "alice@example.com\n",
    "NUL": "alice\0@example.com",
    "mark-up": "<script>alert(1)</script>",
    "mark-up before at": "<script>@example.com",
    "other script": "älice@example.com",
    "10 kB": "x" * 10_000 + "@example.com",
    "longer than its column": "x" * 250 + "@example.com",
    "control character in quotes": '"a\x01b"@example.com',
}


def test_other_address_is_refused() -> None:
    messages = {case: message_of("alice", email=email) for case, email in BAD_ADDRESSES.items()}
    assert [case for case, message in messages.items() if "The e-mail address is not valid: " not in message] == []
    assert [case for case, message in messages.items() if not message.isprintable()] == []
    assert has_no_rows()


# --- Sign-up and operators --------------------------------------------------------------------------------------


@override_settings(SIGNUP_OPEN=False)
def test_operator_opens_accounts_while_sign_up_is_closed() -> None:
    with pytest.raises(PermissionDenied):
        registration.sign_up("alice", PASSWORD)
    assert registration.register("alice", PASSWORD).username == "alice"


def test_first_sign_up_gets_no_rights() -> None:
    user = registration.sign_up("alice", PASSWORD)
    assert (user.is_staff, user.is_superuser, user.role_grants.exists()) == (False, False, False)


def test_operator_opens_an_administrator(root: User) -> None:
    assert (root.is_staff, root.is_superuser) == (True, True)


def test_sign_up_records_the_new_user() -> None:
    user = registration.sign_up("alice", PASSWORD)
    event = AuditEvent.objects.get()
    assert (event.actor, event.action, event.target) == (user, "user.register", "alice")
    assert event.detail == {"admin": False}


def test_staff_are_recorded_as_actors_of_registrations(root: User) -> None:
    registration.register("alice", PASSWORD, actor=root)
    assert AuditEvent.objects.get(target="alice").actor == root


# --- Limits ------------------------------------------------------------------------------------------------------

SIGN_UPS = {
    "/ktra/api/v1/new_user/{}": (),
    "/v1/user/register": ("username", "email", "confirm_password"),
    "/register": ("username", "email"),
}


def post_sign_up(path: str, name: str, ip: str = "192.0.2.1", password: str = PASSWORD) -> Any:
    values = {"username": name, "email": f"{name}@example.org", "confirm_password": password}
    body = {"password": password, **{field: values[field] for field in SIGN_UPS[path]}}
    return Client().post(path.format(name), body, "application/json", REMOTE_ADDR=ip)


@override_settings(SIGNUPS_PER_HOUR=2)
@pytest.mark.parametrize("path", SIGN_UPS)
def test_sign_ups_of_one_network_are_limited(path: str) -> None:
    assert [post_sign_up(path, f"user-{number}").status_code for number in range(2)] == [200, 200]
    response = post_sign_up(path, "dora")
    assert response.status_code == 429
    assert 3500 < int(response["Retry-After"]) <= 3601
    assert not User.objects.named("dora").exists()
    assert post_sign_up(path, "dora", "192.0.2.2").status_code == 200
    assert registration.register("emil", PASSWORD).username == "emil"


@override_settings(SIGNUPS_PER_HOUR=1)
def test_refused_sign_ups_do_not_count(alice: User) -> None:
    for name, password in (("alice", PASSWORD), ("no..name", PASSWORD), ("dora", "short")):
        assert post_sign_up("/v1/user/register", name, password=password).status_code == 400
    assert post_sign_up("/v1/user/register", "dora").status_code == 200


@override_settings(SIGNUPS_PER_HOUR=0)
def test_sign_ups_may_be_unlimited() -> None:
    assert {post_sign_up("/register", f"user-{number}").status_code for number in range(3)} == {200}
