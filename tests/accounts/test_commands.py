"""`manage.py createuser`, `createtoken`, `banuser` and `unbanuser`."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import bans
from accounts.credentials import cargo_tokens
from accounts.models import Ban, NameReservation, User
from accounts.passwords import login
from accounts.scopes import Scope
from registry_site.errors import PermissionDenied
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD
from tests.support.user_import import import_line

pytestmark = pytest.mark.django_db


def run(*arguments: str, **options: Any) -> tuple[str, str]:
    """Run a command and return its standard output and standard error."""
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO())


# --- createuser --------------------------------------------------------------------------------------------------


def test_random_password_is_printed_and_works() -> None:
    out, err = run("createuser", "alice")
    created, password = out.splitlines()
    assert (created, err) == ("Created alice.", "")
    assert login.authenticate("alice", password.removeprefix("Password: ")).username == "alice"


def test_password_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, end in enumerate(("", "\n", "\r\n", "\nmore\n")):
        name = f"user-{number}"
        monkeypatch.setattr("sys.stdin", StringIO(f"correct horse{end}"))
        assert run("createuser", name, "--password-stdin") == (f"Created {name}.\n", "")
        assert login.authenticate(name, "correct horse").username == name


def test_empty_standard_input_is_refused() -> None:
    with pytest.raises(CommandError, match="the password has 0"):
        run("createuser", "alice", "--password-stdin")
    assert not User.objects.exists()


def test_password_is_no_command_line_option() -> None:
    with pytest.raises(CommandError, match="--password-stdin: ignored explicit argument"):
        run("createuser", "alice", "--password=correct horse")
    assert not User.objects.exists()


def test_standard_output_is_the_token_alone() -> None:
    out, err = run("createuser", "alice", "--token")
    assert cargo_tokens.authenticate(out.removesuffix("\n")).user.username == "alice"
    assert [line.split(" ")[0] for line in err.splitlines()] == ["Created", "Password:"]


def test_passed_password_is_not_printed() -> None:
    out, err = run("createuser", "alice", "--token", password=PASSWORD)
    assert PASSWORD not in out + err


@pytest.fixture
def provider_only(settings: Any) -> str:
    """Sign-in at a provider alone; return the sentence for an account without an identity there."""
    settings.PASSWORD_LOGIN, settings.OIDC_LOGIN, settings.OIDC_ISSUER = False, True, "https://id.example.com"
    return (
        "alice cannot sign in yet: passwords are good nowhere (REGISTRY_LOGIN=oidc). Link its identity at "
        "https://id.example.com: manage.py linkidentity alice SUBJECT\n"
    )


def test_account_of_a_provider_needs_its_identity(provider_only: str) -> None:
    assert run("createuser", "alice", "--admin") == (f"Created alice.\n{provider_only}", "")
    assert not User.objects.get().has_usable_password()
    assert not User.objects.able_to_sign_in().exists()
    run("linkidentity", "alice", "4711")
    assert User.objects.able_to_sign_in().get().username == "alice"


def test_token_stays_alone_beside_the_hint(provider_only: str) -> None:
    out, err = run("createuser", "alice", "--token")
    assert cargo_tokens.authenticate(out.removesuffix("\n")).user.username == "alice"
    assert err == f"Created alice.\n{provider_only}"


def test_new_password_is_no_way_in(provider_only: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run("createuser", "alice")
    for number in range(2):
        monkeypatch.setattr("sys.stdin", StringIO(f"correct horse {number}\n"))
        hint = "" if number else provider_only
        assert run("changepassword", "alice", "--password-stdin")[0] == f"Changed the password of alice.\n{hint}"
        run("linkidentity", "alice", "4711")


def test_imported_passwords_are_no_way_in(provider_only: str, tmp_path: Path) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text(import_line())
    assert "Passwords are good nowhere (REGISTRY_LOGIN=oidc)" in run("importusers", str(file))[0]


def test_admin_option_creates_an_administrator() -> None:
    run("createuser", "alice", "--admin", "--email", "alice@example.com")
    alice = User.objects.get()
    assert (alice.is_staff, alice.is_superuser, alice.email) == (True, True, "alice@example.com")


def test_user_without_options_has_no_rights() -> None:
    run("createuser", "alice")
    alice = User.objects.get()
    assert (alice.is_staff, alice.is_superuser, alice.role_grants.count()) == (False, False, 0)


def test_roles_are_granted() -> None:
    run("createuser", "alice", "--role", "collectionManager", "--role", "userManager", "--role", "collectionManager")
    assert {grant.role for grant in User.objects.get().role_grants.all()} == {"collectionManager", "usersManager"}
    assert AuditEvent.objects.filter(action="role.grant", actor=None).count() == 2


BAD_USERS = [
    (["a/b"], "The user name 'a/b' is not allowed"),
    (["alice", "--role", "king"], "There is no role 'king'; there are: collectionManager, usersManager,"),
    (["alice", "--role", "systemAdmin", "--role", ""], "There is no role ''"),
    (["alice", "--email", "nonsense"], "The e-mail address is not valid: 'nonsense'."),
]


def test_refused_user_leaves_no_rows() -> None:
    for arguments, reason in BAD_USERS:
        with pytest.raises(CommandError, match=reason):
            run("createuser", *arguments, "--token")
    assert not any(model.objects.exists() for model in (User, NameReservation, AuditEvent))


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_user_is_created_once(alice: User, name: str) -> None:
    with pytest.raises(CommandError, match=f"the user identified 'ktra-secure-auth:{name}' already exists"):
        run("createuser", name, "--admin")
    alice.refresh_from_db()
    assert (User.objects.count(), alice.is_staff) == (1, False)
    assert login.authenticate("alice", PASSWORD) == alice


def test_operator_may_use_a_reserved_name() -> None:
    assert run("createuser", "support")[0].startswith("Created support.\n")


# --- createtoken -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alice", "ALICE", "ktra-secure-auth:alice"])
def test_token_is_printed_alone(alice: User, name: str) -> None:
    out, err = run("createtoken", name, "--name", "ci")
    assert (cargo_tokens.authenticate(out.removesuffix("\n")).user, err) == (alice, "")


def test_default_token_stays(alice: User) -> None:
    default = cargo_tokens.rotate_default(alice).text
    run("createtoken", "alice", "--name", "ci")
    assert cargo_tokens.authenticate(default).user == alice


def test_token_has_the_requested_scopes(alice: User) -> None:
    out, _ = run("createtoken", "alice", "--name", "ci", "--scope", "read", "--scope", "publish")
    principal = cargo_tokens.authenticate(out.strip())
    principal.require(Scope.PUBLISH_UPDATE, crate="demo")
    with pytest.raises(PermissionDenied, match="lacks the scope yank; it has: read publish-new publish-update"):
        principal.require(Scope.YANK, crate="demo")


def test_token_is_limited_to_crates(alice: User) -> None:
    out, _ = run("createtoken", "alice", "--name", "ci", "--crate", "demo", "--crate", "serde*")
    principal = cargo_tokens.authenticate(out.strip())
    principal.require(Scope.YANK, crate="serde_json")
    with pytest.raises(PermissionDenied, match="allows yank for demo, serde\\* alone, and 'other' is not among these"):
        principal.require(Scope.YANK, crate="other")


def test_token_expires_after_its_days(alice: User) -> None:
    out, _ = run("createtoken", "alice", "--name", "ci", "--days", "30")
    credential = cargo_tokens.authenticate(out.strip()).credential
    assert credential is not None
    assert credential.expires_at is not None
    assert timedelta(days=29) < credential.expires_at - timezone.now() <= timedelta(days=30)


def test_bad_token_is_refused(alice: User) -> None:
    cases = [
        (["nobody", "--name", "ci"], "There is no user 'nobody'."),
        (["alice"], "the following arguments are required: --name"),
        (["alice", "--name", " "], "Give the token a name of 1 to 64 characters."),
        (["alice", "--name", "x" * 65], "Give the token a name of 1 to 64 characters."),
        (["alice", "--name", "ci", "--scope", "everything"], "invalid choice: 'everything'"),
        (["alice", "--name", "ci", "--crate", "*serde"], "'\\*serde' is no crate pattern"),
        (["alice", "--name", "c\ni"], "control characters"),
        (["alice", "--name", "ci", "--days", "0"], "Give --days from 1 to 36500."),
        (["alice", "--name", "ci", "--days", "-1"], "Give --days from 1 to 36500."),
        (["alice", "--name", "ci", "--days", "99999999999999999999"], "Give --days from 1 to 36500."),
        (["alice", "--name", "ci", "--days", "soon"], "invalid int value: 'soon'"),
    ]
    for arguments, reason in cases:
        with pytest.raises(CommandError, match=reason):
            run("createtoken", *arguments)
    assert not alice.credentials.exists()


def test_token_name_is_unique(alice: User) -> None:
    run("createtoken", "alice", "--name", "ci")
    with pytest.raises(CommandError, match="alice has a token named 'ci' already; revoke it first"):
        run("createtoken", "alice", "--name", "ci")


def test_banned_user_gets_no_token(alice: User) -> None:
    bans.ban(alice, actor=None)
    with pytest.raises(CommandError, match="The account is closed"):
        run("createtoken", "alice", "--name", "ci")


# --- banuser and unbanuser ---------------------------------------------------------------------------------------


def test_ban_without_an_end_stays(alice: User) -> None:
    assert run("banuser", "alice", "--reason", "spam") == ("Banned alice until it is lifted.\n", "")
    ban = Ban.objects.in_force().get(user=alice)
    assert (ban.reason, ban.until, ban.created_by) == ("spam", None, None)


def test_ban_ends_at_the_time(alice: User) -> None:
    cases = [
        ("2999-01-31", datetime(2999, 1, 31, tzinfo=UTC)),
        ("2999-01-31T12:30", datetime(2999, 1, 31, 12, 30, tzinfo=UTC)),
        ("2999-01-31 12:30:15", datetime(2999, 1, 31, 12, 30, 15, tzinfo=UTC)),
        ("2999-01-31T12:30+02:00", datetime(2999, 1, 31, 10, 30, tzinfo=UTC)),
        ("2999-01-31T12:30Z", datetime(2999, 1, 31, 12, 30, tzinfo=UTC)),
    ]
    for text, until in cases:
        out, _ = run("banuser", "alice", "--until", text)
        assert out.startswith("Banned alice until 2999-01-31 ")
        assert Ban.objects.in_force().get().until == until, text


def test_bad_ban_is_refused(alice: User) -> None:
    cases = [
        (["nobody"], "There is no user 'nobody'."),
        (["alice", "--until", "2020-01-31"], "The end of the ban has passed already."),
        (["alice", "--until", "2999-02-30"], "There is no such date: 2999-02-30."),
        (["alice", "--until", "2999-01-31T25:00"], "There is no such date: 2999-01-31T25:00."),
        (["alice", "--until", "tomorrow"], "The date 'tomorrow' is not understood: write 2027-01-31 or"),
        (["alice", "--until", ""], "The date '' is not understood"),
        (["alice", "--until", "9999-12-31T23:59-23:00"], "date.* 9999-12-31T23:59-23:00"),
        (["alice", "--reason", "x" * 501], "Give a reason of at most 500 characters."),
    ]
    for arguments, reason in cases:
        with pytest.raises(CommandError, match=reason):
            run("banuser", *arguments)
    assert not Ban.objects.exists()


def test_second_ban_replaces_the_first(alice: User) -> None:
    run("banuser", "alice")
    run("banuser", "ALICE", "--reason", "again")
    assert Ban.objects.in_force().get().reason == "again"


def test_user_is_unbanned(alice: User) -> None:
    run("banuser", "alice")
    assert run("unbanuser", "alice") == ("Unbanned alice.\n", "")
    assert not Ban.objects.in_force().exists()


def test_unban_without_a_ban_says_so(alice: User) -> None:
    assert run("unbanuser", "alice") == ("alice was not banned.\n", "")


def test_unban_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        run("unbanuser", "nobody")
