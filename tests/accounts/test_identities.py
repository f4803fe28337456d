"""Identities at an OpenID provider: their accounts, names, links and rights."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client

from accounts import bans, profiles, registration, roles
from accounts.credentials import cargo_tokens
from accounts.models import Identity, Role, User
from accounts.oidc import identities
from accounts.passwords import login
from accounts.principals import Principal
from namespaces import membership
from registry_site.errors import Conflict, Invalid, NotFound, PermissionDenied, Unauthenticated, WrongPassword
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.cast import PASSWORD, CargoClient

ISSUER = "https://gitlab.com"
GAGBO = "127.0.0.1:gagbo"
KTRAS_PASSWORD = "passphrases are unsupported with openid feature"
NOT_ALLOWED_MESSAGE = "Openid error: Unauthorized user for publishing/owning rights: "
HTTP = Client(raise_request_exception=False)


@pytest.fixture(autouse=True)
def default_settings(settings: Any, db: None) -> None:
    """Allow everybody and make nobody an administrator, unless a test changes these settings."""
    settings.OIDC_ALLOWED_GROUPS = settings.OIDC_ALLOWED_USERS = settings.OIDC_ADMIN_GROUPS = []
    settings.OIDC_USERNAME_CLAIM = ["nickname", "preferred_username"]
    settings.OIDC_GROUPS_CLAIM = "groups"
    settings.OIDC_LOGIN = True  # default tokens are stored encrypted, so that they can be shown


def claims(sub: str = "42", **others: Any) -> dict[str, Any]:
    return {"sub": sub, "nickname": "gagbo", **others}


@contextmanager
def rolled_back() -> Iterator[None]:
    """Undo the changes to the database of one case of a loop."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def sign_in(sub: str = "42", issuer: str = ISSUER, **others: Any) -> User:
    return identities.sign_in(issuer, claims(sub, **others))


@pytest.fixture
def gagbo(db: None) -> User:
    """A user of a provider on this machine, without a password."""
    return sign_in("42", "http://127.0.0.1:9999")


def audit_targets(action: str) -> list[str]:
    return list(AuditEvent.objects.filter(action=action).order_by("pk").values_list("target", flat=True))


def rights(user: User) -> tuple[bool, bool]:
    row = User.objects.get(pk=user.pk)
    return row.is_staff, row.is_superuser


# --- One account for one identity --------------------------------------------------------------------------------


def test_first_sign_in_opens_an_account() -> None:
    user = sign_in()
    assert (user.username, user.login, user.email) == ("gitlab.com:gagbo", "gitlab.com:gagbo", "")
    assert rights(user) == (False, False)
    assert not user.has_usable_password()
    assert audit_targets("user.register") == ["gitlab.com:gagbo"]


def test_second_sign_in_returns_the_same_account() -> None:
    assert sign_in() == sign_in()
    assert (User.objects.count(), Identity.objects.count()) == (1, 1)


def test_account_keeps_its_name_when_the_nickname_changes() -> None:
    assert sign_in() == sign_in(nickname="somebody")
    assert User.objects.get().username == "gitlab.com:gagbo"


def test_sign_in_updates_last_seen() -> None:
    sign_in()
    assert Identity.objects.get().last_seen_at is not None


def test_issuers_have_their_own_subjects() -> None:
    assert sign_in() != sign_in(issuer="https://example.com")


def test_subjects_are_compared_exactly() -> None:
    subjects = ["42", "43", "042", "42 ", "४२", "abc", "ABC"]
    assert len({sign_in(subject).pk for subject in subjects}) == len(subjects)


def test_e_mail_address_identifies_no_account(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    user = sign_in(nickname="alice", email="alice@example.org", email_verified=True)
    assert user != alice
    assert user.email == ""


def test_unusable_subject_is_refused() -> None:
    subjects: list[Any] = [None, "", 42, ["42"], "a\nb", "x" * 256]
    for subject in subjects:
        with pytest.raises(PermissionDenied, match="it does not say who you are"):
            sign_in(subject)
    assert not User.objects.exists()


# --- Names -------------------------------------------------------------------------------------------------------


def test_name_is_host_and_nickname() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"nickname": "bob"}, "gitlab.com:bob"),
        ({"nickname": " bob "}, "gitlab.com:bob"),
        ({"nickname": "Bob.B-b_B@x+y"}, "gitlab.com:Bob.B-b_B@x+y"),
        ({"nickname": "bob the builder"}, "gitlab.com:bob-the-builder"),
        ({"nickname": "../../admin"}, "gitlab.com:..-..-admin"),
        ({"nickname": "bob:x/y?z#\0\n"}, "gitlab.com:bob-x-y-z"),
        ({"nickname": "bøb\u202e<b>"}, "gitlab.com:b-b-b"),
        ({"nickname": "admin"}, "gitlab.com:admin"),
        ({"nickname": "", "preferred_username": "bob"}, "gitlab.com:bob"),
        ({"nickname": " ", "preferred_username": "bob"}, "gitlab.com:bob"),
        ({"nickname": None, "preferred_username": "bob"}, "gitlab.com:bob"),
        ({"nickname": 5, "preferred_username": "bob"}, "gitlab.com:bob"),
        ({"nickname": ["bob", "rob"]}, "gitlab.com:bob"),
        ({"nickname": "bob", "preferred_username": "rob"}, "gitlab.com:bob"),
        ({"nickname": "john.doe"}, "gitlab.com:john.doe"),
        ({"nickname": "_x"}, "gitlab.com:_x"),
        ({"nickname": "-x"}, "gitlab.com:-x"),
        ({"nickname": "/x/"}, "gitlab.com:x"),
        ({"nickname": "x" * 300}, f"gitlab.com:{'x' * 244}"),
    ]
    offenders = []
    for changes, name in cases:
        with rolled_back():
            username = sign_in(**changes).username
        if username != name:
            offenders.append((changes, username))
    assert offenders == []


@pytest.mark.parametrize("issuer", ["https://GitLab.com/realms/x", "https://gitlab.com:8443"])
def test_name_has_only_the_issuers_host(issuer: str) -> None:
    assert sign_in(issuer=issuer).username == "gitlab.com:gagbo"


def test_first_sign_in_needs_a_nickname() -> None:
    nicknames: list[Any] = [None, "", "  ", 5, [], [""], {}, {"a": 1}, True]
    message = (
        "Openid error: No nickname available for registration: the provider sends no nickname or preferred_username."
    )
    for nickname in nicknames:
        with pytest.raises(PermissionDenied) as refused:
            sign_in(nickname=nickname)
        assert refused.value.message == message, nickname
    assert not User.objects.exists()


def test_subject_replaces_an_unusable_nickname() -> None:
    for nickname in ("---", "øøø", "\0", "\ud800", "李"):
        with rolled_back():
            assert sign_in(nickname=nickname).username == "gitlab.com:42"
            assert sign_in("李", nickname=nickname).username == "gitlab.com:user"


def test_existing_account_needs_no_nickname() -> None:
    assert sign_in() == sign_in(nickname=None)


def test_username_claim_is_a_setting(settings: Any) -> None:
    settings.OIDC_USERNAME_CLAIM = ["user.short"]
    assert sign_in(user={"short": "bob"}).username == "gitlab.com:bob"


def test_taken_name_gets_a_number_in_any_case() -> None:
    sign_in("1")
    assert sign_in("2", nickname="gagbo").username == "gitlab.com:gagbo-2"
    assert sign_in("3", nickname="GAGBO").username == "gitlab.com:GAGBO-3"


def test_taken_look_alike_gets_a_number() -> None:
    sign_in("1", nickname="john.doe")
    assert sign_in("2", nickname="John-D0e").username == "gitlab.com:John-D0e-2"


def test_taken_long_name_gets_a_number() -> None:
    sign_in("1", nickname="x" * 300)
    assert sign_in("2", nickname="x" * 300).username == f"gitlab.com:{'x' * 242}-2"


def test_number_in_a_name_is_unique() -> None:
    sign_in("1", nickname="gagbo-2")
    sign_in("2")
    assert sign_in("3").username == "gitlab.com:gagbo-3"


def test_former_name_stays_reserved() -> None:
    first = sign_in("1")
    changes = profiles.ProfileChanges(username="gagbo")
    profiles.update_profile(Principal(first), None, changes)
    assert User.objects.get().username == "gagbo"
    assert sign_in("2").username == "gitlab.com:gagbo-2"


def test_local_user_may_have_the_same_nickname(alice: User) -> None:
    assert sign_in(nickname="alice").username == "gitlab.com:alice"


def test_local_name_has_no_colon() -> None:
    for name in ("gitlab.com:bob", "ktra-secure-auth:bob", "127.0.0.1:bob", ":bob", "bob:"):
        with pytest.raises(Invalid, match="is not allowed"):
            registration.sign_up(name, PASSWORD)
        with pytest.raises(Invalid, match="is not allowed"):
            registration.register(name, PASSWORD)
    assert not User.objects.exists()


def test_local_user_cannot_take_a_providers_name(alice: User) -> None:
    with pytest.raises(Invalid, match="is not allowed"):
        profiles.update_profile(Principal(alice), None, profiles.ProfileChanges(username="gitlab.com:bob"))


# --- Linking -----------------------------------------------------------------------------------------------------


def test_linked_account_is_signed_in_to(alice: User) -> None:
    assert identities.link_to_account(Principal(alice), ISSUER, claims()) == alice
    assert sign_in() == alice
    assert audit_targets("identity.link") == ["alice"]


def test_linking_twice_changes_nothing(alice: User) -> None:
    for _ in range(2):
        identities.link_identity(alice, ISSUER, "42", actor=None)
    assert Identity.objects.count() == 1
    assert audit_targets("identity.link") == ["alice"]


def test_account_may_have_several_identities(alice: User) -> None:
    identities.link_identity(alice, ISSUER, "42", actor=None)
    identities.link_identity(alice, "https://example.com", "42", actor=None)
    assert sign_in() == sign_in(issuer="https://example.com") == alice


def test_identity_of_another_account_cannot_be_linked(alice: User) -> None:
    owner = sign_in()
    with pytest.raises(Conflict, match=r"^This identity belongs to the account gitlab.com:gagbo already.$"):
        identities.link_to_account(Principal(alice), ISSUER, claims())
    assert Identity.objects.get().user == owner
    assert audit_targets("identity.link") == []


def test_user_who_is_not_allowed_links_nothing(alice: User, settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    with pytest.raises(PermissionDenied, match=NOT_ALLOWED_MESSAGE):
        identities.link_to_account(Principal(alice), ISSUER, claims())
    assert not Identity.objects.exists()


def test_refusal_while_linking_refuses_the_account(alice: User, settings: Any) -> None:
    identities.link_to_account(Principal(alice), ISSUER, claims())
    token = cargo_tokens.rotate_default(alice).text
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    with pytest.raises(PermissionDenied, match=NOT_ALLOWED_MESSAGE):
        identities.link_to_account(Principal(alice), ISSUER, claims())
    assert not is_good(token)


def test_banned_user_links_nothing(alice: User) -> None:
    bans.ban(alice, actor=None)
    with pytest.raises(Unauthenticated):
        identities.link_to_account(Principal(alice), ISSUER, claims())
    assert not Identity.objects.exists()


def test_unlinked_identity_opens_another_account(alice: User) -> None:
    identities.link_identity(alice, ISSUER, "42", actor=None)
    identities.unlink_identity(alice, ISSUER, "42", actor=None)
    assert sign_in() != alice
    assert audit_targets("identity.unlink") == ["alice"]


def test_unlinking_during_a_sign_in_refuses_it(alice: User) -> None:
    class UnlinkingClaims(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            if name == "groups":
                identities.unlink_identity(alice, ISSUER, "42", actor=None)
            return super().get(name, default)

    identities.link_identity(alice, ISSUER, "42", actor=None)
    with pytest.raises(PermissionDenied, match="has just been taken from its account"):
        identities.sign_in(ISSUER, UnlinkingClaims(claims()))


def test_identity_of_another_cannot_be_unlinked(alice: User, bob: User) -> None:
    identities.link_identity(alice, ISSUER, "42", actor=None)
    with pytest.raises(NotFound, match=r"^bob has no such identity.$"):
        identities.unlink_identity(bob, ISSUER, "42", actor=None)
    assert Identity.objects.get().user == alice


def test_unlinking_revokes_the_identitys_rights(alice: User, settings: Any) -> None:
    settings.OIDC_ADMIN_GROUPS = ["ops"]
    identities.link_to_account(Principal(alice), ISSUER, claims(groups=["ops"]))
    assert rights(alice) == (True, True)
    identities.unlink_identity(alice, ISSUER, "42", actor=None)
    assert rights(alice) == (False, False)


def test_refused_account_stays_closed_after_unlinking(settings: Any) -> None:
    user = sign_in()
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    with pytest.raises(PermissionDenied):
        sign_in()
    identities.unlink_identity(user, ISSUER, "42", actor=None)
    assert User.objects.get().is_active is False


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("linkidentity", *arguments, stdout=out)
    return out.getvalue().strip()


def test_command_links_and_unlinks(alice: User) -> None:
    issuer = ["--issuer", ISSUER]
    assert run("alice", "42", *issuer) == f"alice has the identity 42 at {ISSUER}."
    assert Identity.objects.get().user == alice
    assert run("alice", "42", *issuer, "--remove") == f"alice no longer has the identity 42 at {ISSUER}."
    assert not Identity.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["nobody", "42", "--issuer", ISSUER], "There is no user 'nobody'."),
        (["alice", "42"], "Give --issuer, or set REGISTRY_OIDC_ISSUER."),
        (["alice", "42", "--issuer", ISSUER, "--remove"], "alice has no such identity."),
    ],
)
def test_command_explains_its_refusal(alice: User, arguments: list[str], refusal: str) -> None:
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert str(refused.value) == refusal


# --- Allowed users -----------------------------------------------------------------------------------------------


def test_listed_group_or_user_is_allowed(settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS, settings.OIDC_ALLOWED_USERS = ["devs", "two words"], ["boss"]
    cases: list[dict[str, Any]] = [
        {"groups": ["devs"]},
        {"groups": ["others", "two words"]},
        {"groups": "devs"},
        {"groups": [], "nickname": "boss"},
        {"nickname": "boss"},
    ]
    for number, changes in enumerate(cases):
        assert sign_in(str(number), **changes).username.startswith("gitlab.com:"), changes


def test_user_outside_the_lists_is_refused(settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS, settings.OIDC_ALLOWED_USERS = ["devs", "two words"], ["boss"]
    cases: list[dict[str, Any]] = [
        {},
        {"groups": []},
        {"groups": ["others", "DEVS", "devs2", ""]},
        {"groups": "two"},
        {"groups": "devs two words"},
        {"groups": {"devs": True}},
        {"groups": 5},
        {"groups": True},
        {"roles": ["devs"]},
        {"nickname": "Boss"},
        {"name": "boss"},
        {"nickname": "rob", "preferred_username": "boss"},
    ]
    for changes in cases:
        with pytest.raises(PermissionDenied) as refused:
            sign_in(**changes)
        assert (refused.value.message, refused.value.code) == (identities.NOT_ALLOWED, "not_authorized"), changes
    assert not User.objects.exists()


def test_listed_address_must_be_verified(settings: Any) -> None:
    settings.OIDC_USERNAME_CLAIM, settings.OIDC_ALLOWED_USERS = ["email"], ["boss@example.org"]
    values: list[Any] = [False, "false", 0, "no"]
    for verified in values:
        with pytest.raises(PermissionDenied, match=NOT_ALLOWED_MESSAGE):
            sign_in(email="boss@example.org", email_verified=verified)


@pytest.mark.parametrize("verified", [{"email_verified": True}, {"email_verified": "true"}, {}], ids=str)
def test_listed_address_is_allowed(settings: Any, verified: dict[str, Any]) -> None:
    settings.OIDC_USERNAME_CLAIM, settings.OIDC_ALLOWED_USERS = ["email"], ["boss@example.org"]
    assert sign_in(email="boss@example.org", **verified).username == "gitlab.com:boss@example.org"


def test_groups_claim_is_a_setting(settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS, settings.OIDC_GROUPS_CLAIM = ["devs"], "realm_access.roles"
    assert sign_in(realm_access={"roles": ["devs"]})
    with pytest.raises(PermissionDenied):
        sign_in(groups=["devs"])


def is_good(token: str) -> bool:
    return CargoClient(token=token).get("/api/v1/crates/none/owners").status_code == 404


def test_refused_tokens_work_again_after_a_sign_in(settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    user = sign_in(groups=["devs"])
    tokens = [cargo_tokens.rotate_default(user).text, cargo_tokens.create(user, "ci")]
    assert [is_good(token) for token in tokens] == [True, True]
    for _ in range(2):
        with pytest.raises(PermissionDenied):
            sign_in(groups=[])
        assert [is_good(token) for token in tokens] == [False, False]
    assert audit_targets("identity.refuse") == ["gitlab.com:gagbo"]
    sign_in(groups=["devs"])
    assert [is_good(token) for token in tokens] == [True, True]


def test_refusal_affects_one_account_only(settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    token = cargo_tokens.rotate_default(sign_in("1", groups=["devs"])).text
    sign_in("2", groups=["devs"])
    with pytest.raises(PermissionDenied):
        sign_in("2", groups=[])
    assert is_good(token)


def test_refused_identity_closes_its_local_account(alice: User, settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    identities.link_to_account(Principal(alice), ISSUER, claims(groups=["devs"]))
    with pytest.raises(PermissionDenied):
        sign_in()
    with pytest.raises(WrongPassword):
        login.authenticate("alice", PASSWORD)


# --- Administrators ----------------------------------------------------------------------------------------------


@pytest.fixture
def ops(settings: Any) -> None:
    settings.OIDC_ADMIN_GROUPS = ["ops"]


def test_rights_follow_the_groups(ops: None) -> None:
    user = sign_in(groups=["ops"])
    assert rights(user) == (True, True)
    sign_in(groups=["ops"])
    assert audit_targets("user.promote") == ["gitlab.com:gagbo"]
    assert rights(sign_in(groups=["devs"])) == (False, False)
    sign_in(groups=[])
    assert audit_targets("user.demote") == ["gitlab.com:gagbo"]


def test_rights_return_with_the_group(ops: None) -> None:
    for groups, expected in [(["ops"], True), ([], False), (["ops"], True)]:
        assert rights(sign_in(groups=groups)) == (expected, expected)


def test_no_group_administers_without_the_setting() -> None:
    assert rights(sign_in(groups=["ops", "", "admin"])) == (False, False)


def test_junk_makes_nobody_an_administrator(ops: None) -> None:
    junk: list[Any] = [{"ops": False}, {"ops": True}, 5, True, "opsx", ["OPS"], [["ops"]], None]
    assert [rights(sign_in(groups=groups)) for groups in junk] == [(False, False)] * len(junk)


def test_refusal_revokes_the_rights(ops: None, settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["ops"]
    user = sign_in(groups=["ops"])
    with pytest.raises(PermissionDenied):
        sign_in(groups=[])
    assert rights(user) == (False, False)


@pytest.mark.parametrize("is_superuser", [True, False])
def test_rights_from_staff_stay(ops: None, is_superuser: bool) -> None:
    user = sign_in(groups=[])
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=is_superuser)
    assert rights(sign_in(groups=[])) == (True, is_superuser)


def test_rights_from_staff_outlast_those_of_a_group(ops: None, root: User) -> None:
    identities.link_to_account(Principal(root), ISSUER, claims(groups=["ops"]))
    sign_in(groups=[])
    assert rights(root) == (True, True)


def test_one_identity_with_the_group_suffices(ops: None, alice: User) -> None:
    identities.link_identity(alice, ISSUER, "1", actor=None)
    identities.link_identity(alice, ISSUER, "2", actor=None)
    sign_in("1", groups=["ops"])
    sign_in("2", groups=["ops"])
    sign_in("2", groups=[])
    assert rights(alice) == (True, True)
    sign_in("1", groups=[])
    assert rights(alice) == (False, False)


@pytest.mark.parametrize("groups", [["ops"], []])
def test_rights_of_a_former_provider_end(ops: None, alice: User, groups: list[str]) -> None:
    for issuer in ("https://former.example", ISSUER):
        identities.link_identity(alice, issuer, "42", actor=None)
    sign_in(issuer="https://former.example", groups=["ops"])
    assert rights(sign_in(groups=groups)) == (bool(groups), bool(groups))
    assert rights(sign_in(groups=[])) == (False, False)


# --- The account in every dialect ----------------------------------------------------------------------------


def test_no_password_logs_in(gagbo: User) -> None:
    for password in (KTRAS_PASSWORD, "", "!", "gagbo", "42", GAGBO, "None"):
        with pytest.raises(WrongPassword) as refused:
            login.authenticate(GAGBO, password)
        with pytest.raises(WrongPassword) as unknown:
            login.authenticate("127.0.0.1:nobody", password)
        assert refused.value.message == unknown.value.message


def test_stored_hash_is_no_password(gagbo: User) -> None:
    for password in (gagbo.password, gagbo.password[1:]):
        with pytest.raises(WrongPassword):
            login.authenticate(GAGBO, password)


def log_in(path: str, **body: str) -> tuple[int, Any]:
    response = HTTP.post(path, body, content_type="application/json")
    return response.status_code, response.json()


@pytest.mark.parametrize("password", [PASSWORD, KTRAS_PASSWORD])
def test_log_ins_fail_as_for_unknown_names(gagbo: User, password: str) -> None:
    def answers(name: str) -> list[tuple[int, Any]]:
        return [
            log_in(f"/ktra/api/v1/login/{name}", password=password),
            log_in("/api/stable/auth/login", username=name, password=password),
            log_in("/v1/user/login", login=name, password=password),
            log_in("/login", username=name, password=password),
        ]

    responses = answers(GAGBO)
    assert responses == answers("127.0.0.1:nobody")
    assert [status for status, _ in responses] == [401, 401, 403, 401]


def test_name_cannot_be_signed_up(gagbo: User) -> None:
    status, body = log_in(f"/ktra/api/v1/new_user/{GAGBO}", password=PASSWORD)
    assert status == 400
    assert "is not allowed" in body["errors"][0]["detail"]


def test_profile_shows_the_users_name(gagbo: User) -> None:
    ids = {"user_id": str(gagbo.pk), "userid": str(gagbo.pk)}
    assert HTTP.get(f"/users/{GAGBO}").json() == {**ids, "username": GAGBO, "avatar_uri": "", "email": None}


@pytest.mark.parametrize("name", [GAGBO, GAGBO.upper(), "127.0.0.1%3Agagbo"])
def test_user_publishes_into_their_own_namespace(gagbo: User, name: str) -> None:
    browser = Client(raise_request_exception=False, headers={"Origin": "http://testserver"})
    browser.force_login(gagbo, "accounts.credentials.browser_sessions.PasswordBackend")
    package = {"package_name": "tool", "version": "1.0.0", "status": "RELEASE", "type": "PUBLIC", "field": "java"}
    created = browser.post(f"/namespaces/{name}/packages", package, content_type="application/json")
    assert created.status_code == 200
    (package_row,) = HTTP.get(f"/namespaces/{GAGBO}/packages").json()
    assert (package_row["namespace"], package_row["publisher"], package_row["package_name"]) == (GAGBO, GAGBO, "tool")
    assert HTTP.get(f"/namespaces/{GAGBO}/packages/tool").json()["namespace"] == GAGBO


def test_publisher_is_shown_as_owner(gagbo: User) -> None:
    cargo = CargoClient(gagbo)
    assert cargo.publish(packing.body()).status_code == 200
    (owner,) = cargo.get("/api/v1/crates/demo/owners").json()["users"]
    expected = {"id": gagbo.pk, "login": GAGBO, "name": GAGBO, "email": None}
    assert {key: owner[key] for key in expected} == expected


@pytest.mark.parametrize("login", [GAGBO, GAGBO.upper()])
def test_user_is_added_and_removed_as_owner(gagbo: User, as_alice: CargoClient, login: str) -> None:
    as_alice.publish(packing.body())
    added = as_alice.put_json("/api/v1/crates/demo/owners", {"users": [login]})
    assert added.json() == {"ok": True, "msg": f"user {GAGBO} has been added to the owners list of crate demo"}
    assert as_alice.delete_json("/api/v1/crates/demo/owners", {"users": [login]}).json()["ok"] is True
    owners = as_alice.get("/api/v1/crates/demo/owners").json()["users"]
    assert [owner["name"] for owner in owners] == ["alice"]


def bearer(path: str, **login_name: str) -> dict[str, str]:
    """Log in at a path and return the header of the session."""
    response = HTTP.post(path, {**login_name, "password": PASSWORD}, content_type="application/json").json()
    return {"Authorization": f"Bearer {response['data']['token']}"}


def test_user_is_banned_over_torrusts_api(gagbo: User, root: User) -> None:
    token = cargo_tokens.rotate_default(gagbo).text
    response = HTTP.delete(f"/v1/user/ban/{GAGBO}", headers=bearer("/v1/user/login", login="root"))
    assert (response.status_code, json.loads(response.content)) == (200, {"data": f"Banned user: {GAGBO}"})
    assert not is_good(token)


def test_user_is_looked_up_over_backup_repositorys_api(gagbo: User, root: User) -> None:
    roles.grant(gagbo, Role.USERS_MANAGER, actor=root)
    headers = bearer("/api/stable/auth/login", username="root")
    response = HTTP.get(f"/api/stable/auth/user/{GAGBO}", headers=headers)
    assert response.json() == {"status": True, "data": {"email": "", "permissions": ["usersManager"]}}


def test_user_joins_a_namespace(gagbo: User, alice: User) -> None:
    browser = Client(raise_request_exception=False, headers={"Origin": "http://testserver"})
    browser.force_login(alice)
    membership.create_namespace(Principal(alice), "acme")
    members = "/namespaces/acme/members"
    invited = browser.post(members, {"username": GAGBO, "role": "MEMBER"}, content_type="application/json")
    assert invited.status_code == 200
    changed = browser.patch(f"{members}/{GAGBO}", {"role": "MANAGER"}, content_type="application/json")
    assert changed.status_code == 200
    assert GAGBO in json.dumps(HTTP.get("/namespaces/acme").json())
    assert browser.delete(f"{members}/{GAGBO}").status_code in (200, 204)
    assert GAGBO not in json.dumps(HTTP.get("/namespaces/acme").json())


def test_admin_site_shows_the_identity(gagbo: User, root: User) -> None:
    browser = Client()
    browser.force_login(root)
    page = browser.get(f"/admin/accounts/user/{gagbo.pk}/").content.decode()
    assert GAGBO in page
    assert "http://127.0.0.1:9999" in page


def test_commands_accept_the_name(gagbo: User) -> None:
    token = cargo_tokens.rotate_default(gagbo).text
    call_command("banuser", GAGBO, stdout=StringIO())
    assert not is_good(token)
    call_command("unbanuser", GAGBO, stdout=StringIO())
    assert is_good(token)
