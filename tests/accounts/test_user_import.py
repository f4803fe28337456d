"""`manage.py importusers`: accounts of other systems keep the passwords that their holders know."""

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

from accounts import profiles, registration, roles
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


def plain(data: bytes) -> str:
    """Base64 without its padding, as in PHC strings."""
    return base64.b64encode(data).decode().rstrip("=")


def pbkdf2(password: str = PASSWORD, rounds: int = 100, length: int = 32, salt: bytes = b"sixteen bytes :-)") -> str:
    hashed = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds, length)
    return f"$pbkdf2-sha256$i={rounds},l={length}${plain(salt)}${plain(hashed)}"


def wrapped(hashed: str) -> str:
    """As backup-repository keeps it: its parts padded, and all of it in base64."""
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


def assert_refused(file: Path, *lines: str, because: str) -> None:
    """With a whole sentence about it, and nothing is there afterwards."""
    before = User.objects.count(), NameReservation.objects.count(), AuditEvent.objects.count()
    with pytest.raises(CommandError) as refused:
        run_lines(file, *lines)
    assert str(refused.value) == f"{because} Nothing was imported."
    assert (User.objects.count(), NameReservation.objects.count(), AuditEvent.objects.count()) == before


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


@pytest.mark.parametrize("hashed", KINDS.values(), ids=KINDS.keys())
def test_old_password_logs_in_again_and_again(file: Path, hashed: str) -> None:
    run_lines(file, import_line(password_hash=hashed))
    for _ in range(2):
        assert login.authenticate("alice", PASSWORD).username == "alice"
        assert User.objects.get().password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("hashed", KINDS.values(), ids=KINDS.keys())
def test_other_passwords_are_refused(file: Path, hashed: str) -> None:
    run_lines(file, import_line(password_hash=hashed))
    before = User.objects.get().password
    with pytest.raises(WrongPassword):
        login.authenticate("alice", "battery staple")
    assert User.objects.get().password == before


@pytest.mark.parametrize("password", ["пароль", "x" * 200, " ", "a\tb", "pass:$word"])
@pytest.mark.parametrize("hashing", [argon2id, pbkdf2])
def test_password_need_not_be_one_of_ours(file: Path, password: str, hashing: Any) -> None:
    run_lines(file, import_line(password_hash=hashing(password)))
    assert login.authenticate("alice", password).username == "alice"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ktra/api/v1/login/alice", {"password": PASSWORD}),
        ("/api/stable/auth/login", {"username": "alice", "password": PASSWORD}),
        ("/v1/user/login", {"login": "alice", "password": PASSWORD}),
        ("/login", {"username": "alice", "password": PASSWORD}),
    ],
)
def test_account_comes_in_by_every_door(file: Path, path: str, body: dict[str, str]) -> None:
    run_lines(file, import_line(password_hash=pbkdf2()))
    for _ in range(2):
        assert Client().post(path, body, content_type="application/json").status_code == 200


def test_first_login_gives_a_session_that_stays(file: Path) -> None:
    """The password is hashed anew on the way, which must not be taken for a change of it."""
    run_lines(file, import_line(password_hash=pbkdf2()))
    browser = Client()
    browser.post("/login", {"username": "alice", "password": PASSWORD}, content_type="application/json")
    assert browser.get("/settings/appids").status_code == 200


EXPENSIVE = [
    GOOD.replace("m=64", "m=4194304"),
    GOOD.replace("m=64", "m=999999999"),
    GOOD.replace("t=1", "t=1000000"),
    GOOD.replace("t=1", "t=99999"),
    GOOD.replace("m=64,t=1", "m=262144,t=64"),
    GOOD.replace("p=1", "p=255"),
    GOOD.replace("p=1", "p=16777215"),
    wrapped(GOOD.replace("m=64", "m=4194304")),
    pbkdf2().replace("i=100", "i=1000000000"),
    pbkdf2().replace("i=100", "i=99999999"),
    pbkdf2().replace("l=32", "l=4294967295"),
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
# These look like hashes, and no password could ever be verified against them.
BROKEN = [
    GOOD.replace("t=1", "t=0"),
    GOOD.replace("p=1", "p=0"),
    GOOD.replace("m=64", "m=7"),
    GOOD.replace("v=19", "v=99"),
    "$argon2id$v=19$m=64,t=1,p=1$" + "A" * 13 + "$" + "A" * 43,
    "$argon2id$v=19$m=64,t=1,p=1$" + "A" * 22 + "$" + "A" * 41,
    pbkdf2().replace("i=100", "i=0"),
    pbkdf2().replace("l=32", "l=0"),
    pbkdf2().replace("l=32", "l=31"),
    "$pbkdf2-sha256$i=100,l=32$" + "A" * 13 + "$" + "A" * 43,
    "$pbkdf2-sha256$i=100,l=32$" + "A" * 22 + "$" + "A" * 41,
]


@pytest.mark.parametrize("hashed", [*EXPENSIVE, *UNUSABLE, *BROKEN])
def test_hash_that_does_not_serve_is_refused(file: Path, hashed: str) -> None:
    with pytest.raises(CommandError, match=r"^Line 2: password_hash: .*\. Nothing was imported\.$"):
        run_lines(file, import_line(), import_line("bob", password_hash=hashed))
    assert not User.objects.exists()


def test_refused_hash_is_not_printed(file: Path) -> None:
    with pytest.raises(CommandError) as refused:
        run_lines(file, import_line(password_hash="hunter22"))
    assert "hunter22" not in str(refused.value)


# --- The other fields --------------------------------------------------------------------------------------------


def test_account_is_as_it_was(file: Path) -> None:
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


def test_name_and_hash_are_enough(file: Path) -> None:
    run_lines(file, import_line())
    user = User.objects.get()
    assert (user.email, user.email_verified_at, roles.list_roles(user)) == ("", None, [])
    assert (user.is_active, user.is_staff, user.is_superuser) == (True, False, False)


def test_administrator_stays_one(file: Path) -> None:
    run_lines(file, import_line(is_admin=True))
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser, roles.is_administrator(user)) == (True, True, True)


def test_role_is_known_in_both_of_its_spellings(file: Path) -> None:
    run_lines(file, import_line(roles=["userManager", "usersManager"]))
    assert roles.list_roles(User.objects.get()) == ["usersManager"]


def test_closed_account_stays_closed(file: Path) -> None:
    run_lines(file, import_line(is_active=False))
    with pytest.raises(WrongPassword):
        login.authenticate("alice", PASSWORD)


@pytest.mark.parametrize(("verified", "status"), [(True, 200), (False, 403)])
def test_address_counts_as_it_did(file: Path, settings: Any, verified: bool, status: int) -> None:
    settings.EMAIL_VERIFICATION = True
    run_lines(file, import_line(email="alice@example.org", email_verified=verified))
    body = {"login": "alice@example.org", "password": PASSWORD}
    assert Client().post("/v1/user/login", body, content_type="application/json").status_code == status


def test_import_is_recorded_as_the_operators(file: Path) -> None:
    run_lines(file, import_line(), import_line("bob", is_admin=True))
    recorded = AuditEvent.objects.filter(action="user.import").order_by("pk")
    assert [(event.actor_name, event.actor, event.target) for event in recorded] == [
        ("operator", None, "alice"),
        ("operator", None, "bob"),
    ]
    assert GOOD not in repr(list(AuditEvent.objects.values()))


# --- Lines that are refused --------------------------------------------------------------------------------------

FIELDS = "created_at, email, email_verified, is_active, is_admin, password_hash, roles, username"
TIME = "created_at: a time such as 2026-01-31T12:00:00Z is needed"
NAME = "is not allowed: use 1 to 63 of A-Z, a-z, 0-9, - and _, and begin with a letter or a digit"
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


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES, ids=[reason[:40] for _, reason in BAD_LINES])
def test_bad_line_is_named_and_nothing_is_imported(file: Path, bad: str, reason: str) -> None:
    assert_refused(file, import_line(), "", bad, import_line("charlie"), because=f"Line 3: {reason}.")


@pytest.mark.parametrize("broken", ["{", "alice", '{"username": "bob"', "\ufeff{}", "{} {}", "username,password"])
def test_line_that_is_no_json_is_named(file: Path, broken: str) -> None:
    with pytest.raises(CommandError, match=r"^Line 2: The JSON cannot be read: "):
        run_lines(file, import_line(), broken)
    assert not User.objects.exists()


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_name_stands_in_a_file_once(file: Path, name: str) -> None:
    because = f"Line 3: the name {name} is taken."
    assert_refused(file, import_line(), import_line("bob"), import_line(name), because=because)


def test_address_stands_in_a_file_once(file: Path) -> None:
    lines = [import_line(email="alice@example.org"), import_line("bob", email="Alice@Example.ORG")]
    assert_refused(file, *lines, because="Line 2: the address Alice@example.org is taken.")


def test_name_of_an_account_is_taken(file: Path) -> None:
    registration.register("alice", PASSWORD)
    assert_refused(file, import_line("bob"), import_line("Alice"), because="Line 2: the name Alice is taken.")
    assert login.authenticate("alice", PASSWORD).username == "alice"


def test_former_name_of_an_account_is_taken(file: Path) -> None:
    profiles.update_profile(
        Principal(registration.register("alice", PASSWORD)), None, profiles.ProfileChanges(username="alicia")
    )
    assert_refused(file, import_line("alice"), because="Line 1: the name alice is taken.")


def test_same_file_is_not_imported_twice(file: Path) -> None:
    run_lines(file, import_line(), import_line("bob"))
    assert_refused(file, import_line(), import_line("bob"), because="Line 1: the name alice is taken.")


# --- Files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "\n", "\n  \n\t\n"])
def test_empty_file_imports_nobody(file: Path, content: str) -> None:
    file.write_text(content)
    assert run(file) == "Imported 0 accounts.\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_lines_end_in_each_way(file: Path, end: str) -> None:
    file.write_bytes((import_line() + "\r\n" + import_line("bob") + end).encode())
    assert run(file) == "Imported 2 accounts.\n"


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", import_line().encode() + b"\n\xff\n", import_line().encode("utf-16")]
)
def test_binary_file_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(CommandError, match=r"cannot be read: .*\. Nothing was imported\.$"):
        run(file)
    assert not User.objects.exists()


@pytest.mark.parametrize("content", [b"\0" * 5000, b"\x1f\x8b\x08\0", b"x" * 1_000_000])
def test_junk_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(CommandError, match=r"Nothing was imported\.$"):
        run(file)


def test_missing_file_and_directory_are_told(tmp_path: Path) -> None:
    for name in (tmp_path / "missing", tmp_path):
        with pytest.raises(CommandError, match=r"cannot be read: .*\. Nothing was imported\.$"):
            run(name)


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
