"""`manage.py importusers`: accounts of other systems, with the passwords that their users know."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import argon2
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import profiles, registration, roles, user_import
from accounts.models import NameReservation, User
from accounts.passwords import login
from accounts.principals import Principal
from registry_site import settings as product
from registry_site.errors import WrongPassword
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD
from tests.support.user_import import GOOD, argon2id, import_line

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def hashers(settings: Any) -> None:
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS


def unpadded_base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def pbkdf2(password: str = PASSWORD, rounds: int = 100, length: int = 32, salt: bytes = b"sixteen bytes :-)") -> str:
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds, length)
    return f"$pbkdf2-sha256$i={rounds},l={length}${unpadded_base64(salt)}${unpadded_base64(digest)}"


def wrapped(hashed: str) -> str:
    """Return a hash as backup-repository stores it: parts with padding, and all of it in base64."""
    parts = [part + "=" * (-len(part) % 4) if number > 3 else part for number, part in enumerate(hashed.split("$"))]
    return base64.b64encode("$".join(parts).encode()).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users.jsonl"


def run(name: Path | str) -> str:
    out = StringIO()
    call_command("importusers", str(name), stdout=out)
    return out.getvalue()


def run_lines(file: Path, *lines: str) -> str:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return run(file)


def count_rows() -> list[int]:
    return [model.objects.count() for model in (User, NameReservation, AuditEvent)]


def error_of(file: Path, *lines: str) -> str:
    """Return the error of an import that leaves no row behind, or "" if it succeeds."""
    before = count_rows()
    try:
        run_lines(file, *lines)
    except CommandError as error:
        assert count_rows() == before
        return str(error)
    return ""


def assert_refused(file: Path, *lines: str, because: str) -> None:
    assert error_of(file, *lines) == f"{because} Nothing was imported."


# --- Passwords ---------------------------------------------------------------------------------------------------

KINDS = {
    "argon2id": GOOD,
    "ktra": argon2id(memory_cost=4096, time_cost=3, parallelism=4),
    "torrust": argon2id(memory_cost=19456, time_cost=2),
    "ours": argon2id(memory_cost=19456, time_cost=2, parallelism=1, salt_len=22),
    "argon2i": argon2id(type=argon2.Type.I),
    "argon2d": argon2id(type=argon2.Type.D),
    "long": argon2id(hash_len=64, salt_len=32),
    "version 16": argon2.low_level.hash_secret(
        PASSWORD.encode(), b"somesalt", 1, 64, 1, 32, argon2.Type.ID, version=16
    ).decode(),
    "pbkdf2": pbkdf2(),
    "pbkdf2 of torrust": pbkdf2(rounds=10_000),
    "pbkdf2 in 64 bytes": pbkdf2(length=64),
    "backup-repository": wrapped(argon2id(memory_cost=65536, parallelism=4, hash_len=32)),
    "backup-repository unpadded": base64.b64encode(GOOD.encode()).decode(),
    "with a line end": f"{GOOD}\n",
}


def import_kinds(file: Path) -> dict[str, str]:
    """Import a user for each kind of hash; return the kinds by user name."""
    users = {f"user-{number}": kind for number, kind in enumerate(KINDS)}
    run_lines(file, *(import_line(name, password_hash=KINDS[kind]) for name, kind in users.items()))
    return users


def test_old_password_logs_in_and_is_hashed_again(file: Path) -> None:
    for name, kind in import_kinds(file).items():
        for _ in range(2):
            assert login.authenticate(name, PASSWORD).username == name, kind
            password = User.objects.get(username=name).password
            assert password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$"), kind


def test_other_passwords_are_refused(file: Path) -> None:
    for name, kind in import_kinds(file).items():
        before = User.objects.get(username=name).password
        with pytest.raises(WrongPassword):
            login.authenticate(name, "battery staple")
        assert User.objects.get(username=name).password == before, kind


def test_old_password_may_break_our_rules(file: Path) -> None:
    passwords = ["пароль", "x" * 200, " ", "a\tb", "pass:$word"]
    hashes = [(password, make_hash(password)) for password in passwords for make_hash in (argon2id, pbkdf2)]
    run_lines(file, *(import_line(f"user-{number}", password_hash=hashed) for number, (_, hashed) in enumerate(hashes)))
    for number, (password, _) in enumerate(hashes):
        assert login.authenticate(f"user-{number}", password).username == f"user-{number}"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ktra/api/v1/login/alice", {"password": PASSWORD}),
        ("/api/stable/auth/login", {"username": "alice", "password": PASSWORD}),
        ("/v1/user/login", {"login": "alice", "password": PASSWORD}),
        ("/login", {"username": "alice", "password": PASSWORD}),
    ],
)
def test_imported_user_logs_in_at_every_endpoint(file: Path, path: str, body: dict[str, str]) -> None:
    run_lines(file, import_line(password_hash=pbkdf2()))
    for _ in range(2):
        assert Client().post(path, body, content_type="application/json").status_code == 200


def test_first_login_does_not_end_its_own_session(file: Path) -> None:
    # The first log-in replaces the hash, and Django binds sessions to the hash.
    run_lines(file, import_line(password_hash=pbkdf2()))
    browser = Client()
    browser.post("/login", {"username": "alice", "password": PASSWORD}, content_type="application/json")
    assert browser.get("/settings/appids").status_code == 200


TOO_MUCH_MEMORY_OR_TIME = [
    GOOD.replace("m=64", "m=4194304"),
    GOOD.replace("m=64", "m=999999999"),
    GOOD.replace("t=1", "t=1000000"),
    GOOD.replace("t=1", "t=99999"),
    GOOD.replace("m=64,t=1", "m=262144,t=64"),
    GOOD.replace("m=64,t=1,p=1", "m=256,t=1,p=17"),
    wrapped(GOOD.replace("m=64", "m=4194304")),
]
TOO_MANY_ROUNDS = [
    pbkdf2().replace("i=100", "i=99999999"),
    pbkdf2().replace("i=100", "i=2000001"),
    pbkdf2(length=64).replace("i=100", "i=1000001"),
]
UNUSABLE = [
    "",
    "secret",
    PASSWORD,
    "!",
    "$",
    "md5$salt$b305cadbb3bce54f3aa59c64fec00dea",
    "$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m",
    "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g.",
    "$argon2id$",
    "$argon2id$v=19$m=64,t=1,p=1$",
    f"{GOOD}\n{GOOD}",
    f"{GOOD}$",
    GOOD.replace("$argon2id", "$argon2ix"),
    GOOD.replace("m=64", "m=-64"),
    f"argon2{GOOD}",
    pbkdf2().replace("sha256", "sha1"),
    base64.b64encode(b"\xff" * 60).decode(),
    base64.b64encode(wrapped(GOOD).encode()).decode(),
]
# No password could ever be verified against these.
BROKEN = [
    GOOD.replace("p=1", "p=255"),
    GOOD.replace("p=1", "p=16777215"),
    pbkdf2().replace("i=100", "i=1000000000"),
    pbkdf2().replace("l=32", "l=4294967295"),
    GOOD.replace("t=1", "t=0"),
    GOOD.replace("p=1", "p=0"),
    GOOD.replace("m=64", "m=7"),
    GOOD.replace("v=19", "v=99"),
    "$argon2id$v=19$m=64,t=1,p=1$" + "A" * 13 + "$" + "A" * 43,
    "$argon2id$v=19$m=64,t=1,p=1$" + "A" * 22 + "$" + "A" * 41,
    "$argon2id$v=19$m=64,t=1,p=1$" + "A" * 10 + "$" + "A" * 43,
    "$argon2id$v=19$m=64,t=1,p=1$" + "A" * 22 + "$" + "A" * 15,
    pbkdf2(length=11),
    pbkdf2().replace("i=100", "i=0"),
    pbkdf2().replace("l=32", "l=0"),
    pbkdf2().replace("l=32", "l=31"),
    "$pbkdf2-sha256$i=100,l=32$" + "A" * 13 + "$" + "A" * 43,
    "$pbkdf2-sha256$i=100,l=32$" + "A" * 22 + "$" + "A" * 41,
]


def errors_of_hashes(file: Path, hashes: list[str]) -> set[str]:
    return {error_of(file, import_line(), import_line("bob", password_hash=hashed)) for hashed in hashes}


def test_expensive_hash_is_refused(file: Path) -> None:
    assert errors_of_hashes(file, TOO_MUCH_MEMORY_OR_TIME) == {
        "Line 2: password_hash: to verify it would take too much memory or time. Nothing was imported."
    }
    assert errors_of_hashes(file, TOO_MANY_ROUNDS) == {
        "Line 2: password_hash: to verify it would take too much time. Nothing was imported."
    }


def test_cost_at_the_limit_is_accepted() -> None:
    for costs in ("m=262144,t=4,p=16", "m=1024,t=1024,p=1"):
        assert user_import.to_django_hash(GOOD.replace("m=64,t=1,p=1", costs))
    assert user_import.to_django_hash(pbkdf2().replace("i=100", "i=2000000"))
    assert user_import.to_django_hash(pbkdf2(length=64).replace("i=100", "i=1000000"))
    shortest = "$argon2id$v=19$m=64,t=1,p=1$" + "A" * 11 + "$" + "A" * 16
    assert user_import.to_django_hash(shortest) == "argon2" + shortest


def test_unusable_hash_is_refused(file: Path) -> None:
    assert errors_of_hashes(file, [*UNUSABLE, *BROKEN]) == {
        "Line 2: password_hash: it is no Argon2 and no PBKDF2-SHA256 hash as a PHC string. Nothing was imported."
    }


def test_refused_hash_is_not_printed(file: Path) -> None:
    error = error_of(file, import_line(password_hash="hunter22"))
    assert "password_hash" in error
    assert "hunter22" not in error


# --- The other fields --------------------------------------------------------------------------------------------


def test_all_fields_are_imported(file: Path) -> None:
    created = {"created_at": "2021-02-03T04:05:06+01:00", "email": "Alice@Example.ORG", "email_verified": True}
    assert (
        run_lines(file, import_line("Alice", roles=["usersManager", "backupUploader"], **created))
        == "Imported 1 accounts.\n"
    )
    user = User.objects.get()
    assert (user.username, user.email, user.reservation.name) == ("Alice", "Alice@example.org", "alice")
    assert user.date_joined == datetime(2021, 2, 3, 3, 5, 6, tzinfo=UTC)
    assert user.email_verified_at is not None
    assert roles.list_roles(user) == ["usersManager", "backupUploader"]


def test_name_and_hash_suffice(file: Path) -> None:
    run_lines(file, import_line())
    user = User.objects.get()
    assert (user.email, user.email_verified_at, roles.list_roles(user)) == ("", None, [])
    assert (user.is_active, user.is_staff, user.is_superuser) == (True, False, False)


def test_administrator_is_imported_as_one(file: Path) -> None:
    run_lines(file, import_line(is_admin=True))
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser, roles.is_administrator(user)) == (True, True, True)


def test_role_has_two_spellings(file: Path) -> None:
    run_lines(file, import_line(roles=["userManager", "usersManager"]))
    assert roles.list_roles(User.objects.get()) == ["usersManager"]


def test_inactive_account_stays_inactive(file: Path) -> None:
    run_lines(file, import_line(is_active=False))
    with pytest.raises(WrongPassword):
        login.authenticate("alice", PASSWORD)


@pytest.mark.parametrize(("verified", "status"), [(True, 200), (False, 403)])
def test_verified_address_stays_verified(file: Path, settings: Any, verified: bool, status: int) -> None:
    settings.EMAIL_VERIFICATION = True
    run_lines(file, import_line(email="alice@example.org", email_verified=verified))
    body = {"login": "alice@example.org", "password": PASSWORD}
    assert Client().post("/v1/user/login", body, content_type="application/json").status_code == status


def test_import_is_recorded_with_the_operator_as_actor(file: Path) -> None:
    run_lines(file, import_line(), import_line("bob", is_admin=True))
    events = AuditEvent.objects.filter(action="user.import").order_by("pk")
    assert [(event.actor_name, event.actor, event.target) for event in events] == [
        ("operator", None, "alice"),
        ("operator", None, "bob"),
    ]
    assert GOOD not in repr(list(AuditEvent.objects.values()))


# --- Refused lines -----------------------------------------------------------------------------------------------

FIELDS = "created_at, email, email_verified, is_active, is_admin, password_hash, roles, username"
TIME = "created_at: a time such as 2026-01-31T12:00:00Z is needed"
NAME = (
    "is not allowed: use 1 to 255 of A-Z, a-z, 0-9, -, _ and ., "
    "with at least one letter or digit, and dots only between two others"
)
ROLES = "collectionManager, usersManager, systemAdmin, backupDownloader, backupUploader, uploadsAnytime"
BAD_LINES: list[tuple[str, str]] = [
    ("[]", "it is no JSON object"),
    ("null", "it is no JSON object"),
    ('"alice"', "it is no JSON object"),
    ("{}", "username: a text is needed"),
    (json.dumps({"username": "bob"}), "password_hash: a text is needed"),
    (json.dumps({"password_hash": GOOD}), "username: a text is needed"),
    (import_line(password="x"), f"there is no field password; there are: {FIELDS}"),
    (import_line("bob", password_hash=None), "password_hash: a text is needed"),
    (json.dumps({"username": 7, "password_hash": GOOD}), "username: a text is needed"),
    (import_line("a/b"), f"The user name 'a/b' {NAME}"),
    (import_line(""), f"The user name '' {NAME}"),
    (import_line("ktra-secure-auth:bob"), f"The user name 'ktra-secure-auth:bob' {NAME}"),
    (import_line("bob", email="nobody"), "The e-mail address is not valid: 'nobody'"),
    (import_line("bob", email=7), "email: a text is needed"),
    (import_line("bob", email_verified="yes"), "email_verified: true or false is needed"),
    (import_line("bob", is_admin=1), "is_admin: true or false is needed"),
    (import_line("bob", is_active=None), "is_active: true or false is needed"),
    (import_line("bob", roles="systemAdmin"), "roles: a list of names is needed"),
    (import_line("bob", roles=[1]), "roles: a list of names is needed"),
    (import_line("bob", roles=["god"]), f"There is no role 'god'; there are: {ROLES}"),
    (import_line("bob", created_at="yesterday"), TIME),
    (import_line("bob", created_at="2026-01-31"), TIME),
    (import_line("bob", created_at="2026-01-31T12:00:00"), TIME),
    (import_line("bob", created_at="2026-13-31T12:00:00Z"), TIME),
    (import_line("bob", created_at=1602923788), TIME),
    (import_line("bob", created_at="0001-01-01T00:00:00+14:00"), TIME),
    (import_line("bob", created_at="9999-12-31T23:59:59-14:00"), TIME),
    (import_line("bob", email="a\0@example.org"), "A text contains a NUL character"),
    (import_line("bob", roles=["\ud800"]), "A text contains half of a surrogate pair, which is no character"),
    ('{"username": NaN}', "The JSON cannot be read: NaN is no JSON number"),
    ("[" * 100_000, "The JSON is nested too deeply"),
]


def test_error_names_the_bad_line(file: Path) -> None:
    for line, reason in BAD_LINES:
        assert_refused(file, import_line(), "", line, import_line("charlie"), because=f"Line 3: {reason}.")


def test_error_names_the_line_without_json(file: Path) -> None:
    for line in ("{", "alice", '{"username": "bob"', "\ufeff{}", "{} {}", "username,password"):
        assert error_of(file, import_line(), line).startswith("Line 2: The JSON cannot be read: "), line


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_name_may_occur_once_in_a_file(file: Path, name: str) -> None:
    because = f"Line 3: The name {name!r} is taken by a namespace or a user."
    assert_refused(file, import_line(), import_line("bob"), import_line(name), because=because)


def test_address_may_occur_once_in_a_file(file: Path) -> None:
    lines = [import_line(email="alice@example.org"), import_line("bob", email="Alice@Example.ORG")]
    assert_refused(file, *lines, because="Line 2: the address Alice@example.org is taken.")


def test_name_of_an_account_is_taken(file: Path) -> None:
    registration.register("alice", PASSWORD)
    assert_refused(
        file,
        import_line("bob"),
        import_line("Alice"),
        because="Line 2: The name 'Alice' is taken by a namespace or a user.",
    )
    assert login.authenticate("alice", PASSWORD).username == "alice"


def test_former_name_of_an_account_is_taken(file: Path) -> None:
    profiles.update_profile(
        Principal(registration.register("alice", PASSWORD)), None, profiles.ProfileChanges(username="alicia")
    )
    assert_refused(file, import_line("alice"), because="Line 1: The name 'alice' is taken by a namespace or a user.")


def test_same_file_is_not_imported_twice(file: Path) -> None:
    run_lines(file, import_line(), import_line("bob"))
    assert_refused(
        file, import_line(), import_line("bob"), because="Line 1: The name 'alice' is taken by a namespace or a user."
    )


# --- Files -------------------------------------------------------------------------------------------------------


def test_empty_file_imports_nobody(file: Path) -> None:
    for content in ("", "\n", "\n  \n\t\n"):
        file.write_text(content)
        assert run(file) == "Imported 0 accounts.\n"


def test_line_ends_may_be_any(file: Path) -> None:
    for number, end in enumerate(("\n", "\r\n", "")):
        lines = import_line(f"alice-{number}") + "\r\n" + import_line(f"bob-{number}") + end
        file.write_bytes(lines.encode())
        assert run(file) == "Imported 2 accounts.\n"


def test_binary_file_is_refused(file: Path) -> None:
    for content in (b"\xff\xfe\x00", import_line().encode() + b"\n\xff\n", import_line().encode("utf-16")):
        file.write_bytes(content)
        with pytest.raises(CommandError, match=r"cannot be read: .*\. Nothing was imported\.$"):
            run(file)
    assert not User.objects.exists()


def test_junk_is_refused(file: Path) -> None:
    for content in (b"\0" * 5000, b"\x1f\x8b\x08\0", b"x" * 1_000_000):
        file.write_bytes(content)
        with pytest.raises(CommandError, match=r"Nothing was imported\.$"):
            run(file)


def test_missing_file_and_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(CommandError, match=r"cannot be read: .*\. Nothing was imported\.$"):
            run(path)


def test_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(import_line() + "\n" + import_line("bob")))
    assert run("-") == "Imported 2 accounts.\n"
    assert User.objects.count() == 2


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_binary_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch, errors: str) -> None:
    content = BytesIO(import_line().encode() + b'\n{"username": "\xff"}\n')
    monkeypatch.setattr("sys.stdin", TextIOWrapper(content, encoding="utf-8", errors=errors))
    with pytest.raises(CommandError, match=r"Nothing was imported\.$"):
        run("-")
    assert not User.objects.exists()
