"""Opening an account: names, passwords, e-mail addresses."""

import pytest
from django.test import override_settings

from accounts import names, registration
from accounts.models import NameReservation, User
from accounts.passwords import login
from registry_site.errors import Conflict, Invalid, PermissionDenied, WrongPassword
from registry_site.http import url_map
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD

pytestmark = pytest.mark.django_db


def nothing_is_left() -> bool:
    return not any(model.objects.exists() for model in (User, NameReservation, AuditEvent))


# --- Names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "7", "Alice", "alice-b_c", "0-0", "a--", "x" * 63, "new-one", "admins"])
def test_plain_name_is_allowed(name: str) -> None:
    assert registration.sign_up(name, PASSWORD).username == name


BAD_NAMES = {
    "empty": "",
    "blank": " ",
    "64 characters": "x" * 64,
    "10 kB": "x" * 10_000,
    "dash first": "-alice",
    "underscore first": "_alice",
    "dot": "alice.b",
    "parent": "..",
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


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_other_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="is not allowed: use 1 to 63 of A-Z, a-z, 0-9, - and _") as refused:
        registration.register(name, PASSWORD)
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 600
    assert nothing_is_left()


@pytest.mark.parametrize("name", sorted({*names.RESERVED_WORDS, *url_map.first_segments()} - {"openapi.json"}))
def test_reserved_name_is_refused_over_the_web(name: str) -> None:
    for form in (name, name.upper(), name.capitalize()):
        with pytest.raises(Invalid, match="is reserved; choose another"):
            registration.sign_up(form, PASSWORD)
    assert nothing_is_left()


def test_reserved_name_is_the_operators_to_give() -> None:
    assert registration.register("support", PASSWORD).username == "support"


@pytest.mark.parametrize("second", ["Alice", "ALICE", "alice"])
def test_name_is_taken_in_any_case(alice: User, second: str) -> None:
    with pytest.raises(Conflict, match=f"the user identified 'ktra-secure-auth:{second}' already exists"):
        registration.sign_up(second, PASSWORD)
    assert list(User.objects.values_list("username", flat=True)) == ["alice"]


def test_dash_and_underscore_make_two_names() -> None:
    registration.sign_up("alice-b", PASSWORD)
    assert registration.sign_up("alice_b", PASSWORD).username == "alice_b"


def test_name_of_something_else_is_taken() -> None:
    NameReservation.objects.create(name="tools")
    with pytest.raises(Conflict):
        registration.sign_up("Tools", PASSWORD)
    assert not User.objects.exists()


def test_name_of_a_deleted_account_stays_taken(alice: User) -> None:
    alice.delete()
    with pytest.raises(Conflict):
        registration.sign_up("alice", PASSWORD)


def test_name_is_shown_as_it_was_given() -> None:
    user = registration.sign_up("Alice", PASSWORD)
    assert (str(user), user.login) == ("Alice", "ktra-secure-auth:Alice")


@pytest.mark.parametrize("login", ["Alice", "alice", "ALICE", "ktra-secure-auth:alice", "ktra-secure-auth:ALICE"])
def test_account_is_found_by_its_name_in_each_form(alice: User, login: str) -> None:
    assert User.objects.named(login).get() == alice


@pytest.mark.parametrize("login", ["", "alic", "alice ", "KTRA-SECURE-AUTH:alice", "x:alice", "ktra-secure-auth:"])
def test_account_is_not_found_by_another_name(alice: User, login: str) -> None:
    assert not User.objects.named(login).exists()


@pytest.mark.parametrize("login", ["\u212aate", "ktra-secure-auth:\u212aate"])
def test_account_is_not_found_by_a_look_alike(login: str) -> None:
    registration.register("kate", PASSWORD)
    assert not User.objects.named(login).exists()


# --- Passwords ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["secret", "x" * 64, "ünïcödé", "      a", "🔑🔑🔑🔑🔑🔑", "password", "123456"])
def test_password_of_6_to_64_characters_is_allowed(password: str) -> None:
    user = registration.sign_up("alice", password)
    assert login.authenticate("alice", password) == user


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "The password has 0 characters; use 6 to 64."),
        ("short", "The password has 5 characters; use 6 to 64."),
        ("x" * 65, "The password has 65 characters; use 6 to 64."),
        ("x" * 1024 * 1024, "The password has 1048576 characters; use 6 to 64."),
        ("      ", "The password is blank or has control characters."),
        ("\u3000" * 6, "The password is blank or has control characters."),
        ("secret\0", "The password is blank or has control characters."),
        ("secret\n", "The password is blank or has control characters."),
        ("secret\x7f", "The password is blank or has control characters."),
        ("annabel", "The password is the user name."),
        ("ANNABEL", "The password is the user name."),
    ],
)
def test_other_password_is_refused(password: str, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        registration.sign_up("Annabel", password)
    assert reason in refused.value.message
    assert nothing_is_left()


def test_password_is_kept_as_a_hash_alone(alice: User) -> None:
    row = User.objects.values().get()
    assert not any(PASSWORD in str(value) for value in row.values())


@pytest.mark.parametrize("password", ["Correct horse", "correct horse ", " correct horse", "", "x" * 1024 * 1024])
def test_other_password_does_not_log_in(alice: User, password: str) -> None:
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


@pytest.mark.parametrize("email", ["", "alice@example.com", "a.b+c@sub.example.co", "alice@EXAMPLE.com"])
def test_address_is_kept(email: str) -> None:
    assert registration.register("alice", PASSWORD, email).email == email.replace("EXAMPLE", "example")


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


@pytest.mark.parametrize("email", BAD_ADDRESSES.values(), ids=BAD_ADDRESSES)
def test_other_address_is_refused(email: str) -> None:
    with pytest.raises(Invalid, match="The e-mail address is not valid: ") as refused:
        registration.register("alice", PASSWORD, email)
    assert refused.value.message.isprintable()
    assert nothing_is_left()


# --- Who opens it ------------------------------------------------------------------------------------------------


@override_settings(SIGNUP_OPEN=False)
def test_closed_registry_still_takes_the_operators_accounts() -> None:
    with pytest.raises(PermissionDenied):
        registration.sign_up("alice", PASSWORD)
    assert registration.register("alice", PASSWORD).username == "alice"


def test_first_to_sign_up_has_no_right_over_others() -> None:
    user = registration.sign_up("alice", PASSWORD)
    assert (user.is_staff, user.is_superuser, user.role_grants.exists()) == (False, False, False)


def test_administrator_is_opened_by_the_operator(root: User) -> None:
    assert (root.is_staff, root.is_superuser) == (True, True)


def test_sign_up_is_recorded_as_ones_own() -> None:
    user = registration.sign_up("alice", PASSWORD)
    event = AuditEvent.objects.get()
    assert (event.actor, event.action, event.target) == (user, "user.register", "alice")
    assert event.detail == {"admin": False}


def test_account_that_staff_opens_is_recorded_as_theirs(root: User) -> None:
    registration.register("alice", PASSWORD, actor=root)
    assert AuditEvent.objects.get(target="alice").actor == root
