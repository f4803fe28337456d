"""Whose account it is that signs in at the provider, and what the provider decides over it."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
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
KTRAS_CONSTANT = "passphrases are unsupported with openid feature"
NOT_LET_IN = "Openid error: Unauthorized user for publishing/owning rights: "
HTTP = Client(raise_request_exception=False)


@pytest.fixture(autouse=True)
def no_lists(settings: Any, db: None) -> None:
    """Everybody is let in, and nobody administers, until a test says otherwise."""
    settings.OIDC_ALLOWED_GROUPS = settings.OIDC_ALLOWED_USERS = settings.OIDC_ADMIN_GROUPS = []
    settings.OIDC_USERNAME_CLAIM = ["nickname", "preferred_username"]
    settings.OIDC_GROUPS_CLAIM = "groups"
    settings.OIDC_LOGIN = True  # default tokens are kept so that they can be shown


def claims(sub: str = "42", **others: Any) -> dict[str, Any]:
    return {"sub": sub, "nickname": "gagbo", **others}


def sign_in(sub: str = "42", issuer: str = ISSUER, **others: Any) -> User:
    return identities.sign_in(issuer, claims(sub, **others))


@pytest.fixture
def gagbo(db: None) -> User:
    """Came by a provider on this machine, and has no password."""
    return sign_in("42", "http://127.0.0.1:9999")


def deeds(action: str) -> list[str]:
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
    assert deeds("user.register") == ["gitlab.com:gagbo"]


def test_second_sign_in_finds_it() -> None:
    assert sign_in() == sign_in()
    assert (User.objects.count(), Identity.objects.count()) == (1, 1)


def test_account_keeps_its_name_when_the_nickname_changes() -> None:
    assert sign_in() == sign_in(nickname="somebody")
    assert User.objects.get().username == "gitlab.com:gagbo"


def test_sign_in_is_remembered() -> None:
    sign_in()
    assert Identity.objects.get().last_seen_at is not None


def test_same_subject_of_another_issuer_is_somebody_else() -> None:
    assert sign_in() != sign_in(issuer="https://example.com")


@pytest.mark.parametrize("other", ["43", "042", "42 ", "४२"])
def test_other_subject_is_somebody_else(other: str) -> None:
    assert sign_in() != sign_in(other)


def test_subjects_differ_by_case() -> None:
    assert sign_in("abc") != sign_in("ABC")


def test_account_is_never_found_by_e_mail_address(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    user = sign_in(nickname="alice", email="alice@example.org", email_verified=True)
    assert user != alice
    assert user.email == ""


@pytest.mark.parametrize("sub", [None, "", 42, ["42"], "a\nb", "x" * 256])
def test_nobody_is_nobody(sub: Any) -> None:
    with pytest.raises(PermissionDenied, match="it does not say who you are"):
        sign_in(sub)
    assert not User.objects.exists()


# --- Names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "name"),
    [
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
        ({"nickname": "x" * 300}, f"gitlab.com:{'x' * 89}"),
    ],
)
def test_name_is_host_and_nickname(said: dict[str, Any], name: str) -> None:
    assert sign_in(**said).username == name


@pytest.mark.parametrize("issuer", ["https://GitLab.com/realms/x", "https://gitlab.com:8443"])
def test_of_the_issuer_only_the_host_is_in_the_name(issuer: str) -> None:
    assert sign_in(issuer=issuer).username == "gitlab.com:gagbo"


@pytest.mark.parametrize("nickname", [None, "", "  ", 5, [], [""], {}, {"a": 1}, True])
def test_without_a_nickname_no_account_is_opened(nickname: Any) -> None:
    with pytest.raises(PermissionDenied) as refused:
        sign_in(nickname=nickname)
    assert refused.value.message == (
        "Openid error: No nickname available for registration: the provider sends no nickname or preferred_username."
    )
    assert not User.objects.exists()


@pytest.mark.parametrize("nickname", ["---", "øøø", "\0", "\ud800", "李"], ids=repr)
def test_nickname_that_no_name_can_be_made_of_gives_way_to_the_subject(nickname: str) -> None:
    assert sign_in(nickname=nickname).username == "gitlab.com:42"
    assert sign_in("李", nickname=nickname).username == "gitlab.com:user"


def test_account_that_is_there_needs_no_nickname() -> None:
    assert sign_in() == sign_in(nickname=None)


def test_claim_of_the_name_is_a_setting(settings: Any) -> None:
    settings.OIDC_USERNAME_CLAIM = ["user.short"]
    assert sign_in(user={"short": "bob"}).username == "gitlab.com:bob"


@pytest.mark.parametrize("nickname", ["gagbo", "GAGBO", "Gagbo"])
def test_name_that_is_taken_gets_a_number(nickname: str) -> None:
    sign_in("1")
    assert sign_in("2", nickname=nickname).username == f"gitlab.com:{nickname}-2"
    assert sign_in("3", nickname=nickname).username == f"gitlab.com:{nickname}-3"


def test_long_name_that_is_taken_gets_a_number() -> None:
    sign_in("1", nickname="x" * 300)
    assert sign_in("2", nickname="x" * 300).username == f"gitlab.com:{'x' * 89}-2"


def test_number_is_not_given_twice() -> None:
    sign_in("1", nickname="gagbo-2")
    sign_in("2")
    assert sign_in("3").username == "gitlab.com:gagbo-3"


def test_former_name_stays_reserved() -> None:
    first = sign_in("1")
    changes = profiles.ProfileChanges(username="gagbo")
    profiles.update_profile(Principal(first), None, changes)
    assert User.objects.get().username == "gagbo"
    assert sign_in("2").username == "gitlab.com:gagbo-2"


def test_local_name_is_no_obstacle(alice: User) -> None:
    assert sign_in(nickname="alice").username == "gitlab.com:alice"


@pytest.mark.parametrize("name", ["gitlab.com:bob", "ktra-secure-auth:bob", "127.0.0.1:bob", ":bob", "bob:"])
def test_local_user_cannot_be_called_so(name: str) -> None:
    with pytest.raises(Invalid, match="is not allowed"):
        registration.sign_up(name, PASSWORD)
    with pytest.raises(Invalid, match="is not allowed"):
        registration.register(name, PASSWORD)
    assert not User.objects.exists()


def test_local_user_cannot_be_renamed_so(alice: User) -> None:
    with pytest.raises(Invalid, match="is not allowed"):
        profiles.update_profile(Principal(alice), None, profiles.ProfileChanges(username="gitlab.com:bob"))


# --- Linking -----------------------------------------------------------------------------------------------------


def test_local_account_is_linked_and_signed_in_to(alice: User) -> None:
    assert identities.link_to_account(Principal(alice), ISSUER, claims()) == alice
    assert sign_in() == alice
    assert deeds("identity.link") == ["alice"]


def test_linking_twice_changes_nothing(alice: User) -> None:
    for _ in range(2):
        identities.link_identity(alice, ISSUER, "42", actor=None)
    assert Identity.objects.count() == 1
    assert deeds("identity.link") == ["alice"]


def test_account_can_have_several_identities(alice: User) -> None:
    identities.link_identity(alice, ISSUER, "42", actor=None)
    identities.link_identity(alice, "https://example.com", "42", actor=None)
    assert sign_in() == sign_in(issuer="https://example.com") == alice


def test_identity_of_another_account_is_not_taken_over(alice: User) -> None:
    owner = sign_in()
    with pytest.raises(Conflict, match=r"^This identity belongs to the account gitlab.com:gagbo already.$"):
        identities.link_to_account(Principal(alice), ISSUER, claims())
    assert Identity.objects.get().user == owner
    assert deeds("identity.link") == []


def test_who_is_not_let_in_links_nothing(alice: User, settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    with pytest.raises(PermissionDenied, match=NOT_LET_IN):
        identities.link_to_account(Principal(alice), ISSUER, claims())
    assert not Identity.objects.exists()


def test_who_is_not_let_in_any_more_is_out_after_linking_again_too(alice: User, settings: Any) -> None:
    identities.link_to_account(Principal(alice), ISSUER, claims())
    token = cargo_tokens.rotate_default(alice).text
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    with pytest.raises(PermissionDenied, match=NOT_LET_IN):
        identities.link_to_account(Principal(alice), ISSUER, claims())
    assert not is_good(token)


def test_banned_user_links_nothing(alice: User) -> None:
    bans.ban(alice, actor=None)
    with pytest.raises(Unauthenticated):
        identities.link_to_account(Principal(alice), ISSUER, claims())
    assert not Identity.objects.exists()


def test_identity_that_is_taken_away_opens_the_account_no_more(alice: User) -> None:
    identities.link_identity(alice, ISSUER, "42", actor=None)
    identities.unlink_identity(alice, ISSUER, "42", actor=None)
    assert sign_in() != alice
    assert deeds("identity.unlink") == ["alice"]


def test_identity_that_is_taken_away_during_a_sign_in_opens_nothing(alice: User) -> None:
    class SaidMeanwhile(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            if name == "groups":
                identities.unlink_identity(alice, ISSUER, "42", actor=None)
            return super().get(name, default)

    identities.link_identity(alice, ISSUER, "42", actor=None)
    with pytest.raises(PermissionDenied, match="has just been taken from its account"):
        identities.sign_in(ISSUER, SaidMeanwhile(claims()))


def test_identity_of_another_is_not_taken_away(alice: User, bob: User) -> None:
    identities.link_identity(alice, ISSUER, "42", actor=None)
    with pytest.raises(NotFound, match=r"^bob has no such identity.$"):
        identities.unlink_identity(bob, ISSUER, "42", actor=None)
    assert Identity.objects.get().user == alice


def test_rights_of_an_identity_end_with_it(alice: User, settings: Any) -> None:
    settings.OIDC_ADMIN_GROUPS = ["ops"]
    identities.link_to_account(Principal(alice), ISSUER, claims(groups=["ops"]))
    assert rights(alice) == (True, True)
    identities.unlink_identity(alice, ISSUER, "42", actor=None)
    assert rights(alice) == (False, False)


def test_account_that_was_turned_away_stays_closed_without_its_identity(settings: Any) -> None:
    user = sign_in()
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    with pytest.raises(PermissionDenied):
        sign_in()
    identities.unlink_identity(user, ISSUER, "42", actor=None)
    assert User.objects.get().is_active is False


def run(*arguments: str) -> str:
    said = StringIO()
    call_command("linkidentity", *arguments, stdout=said)
    return said.getvalue().strip()


def test_operator_links_and_unlinks(alice: User) -> None:
    where = ["--issuer", ISSUER]
    assert run("alice", "42", *where) == f"alice has the identity 42 at {ISSUER}."
    assert Identity.objects.get().user == alice
    assert run("alice", "42", *where, "--remove") == f"alice no longer has the identity 42 at {ISSUER}."
    assert not Identity.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["nobody", "42", "--issuer", ISSUER], "There is no user 'nobody'."),
        (["alice", "42"], "Give --issuer, or set REGISTRY_OIDC_ISSUER."),
        (["alice", "42", "--issuer", ISSUER, "--remove"], "alice has no such identity."),
    ],
)
def test_operator_is_told_why_not(alice: User, arguments: list[str], refusal: str) -> None:
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert str(refused.value) == refusal


# --- Who is let in -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {"groups": ["devs"]},
        {"groups": ["others", "two words"]},
        {"groups": "devs"},
        {"groups": [], "nickname": "boss"},
        {"nickname": "boss"},
    ],
)
def test_who_is_in_one_of_the_lists_is_let_in(settings: Any, said: dict[str, Any]) -> None:
    settings.OIDC_ALLOWED_GROUPS, settings.OIDC_ALLOWED_USERS = ["devs", "two words"], ["boss"]
    assert sign_in(**said).username.startswith("gitlab.com:")


@pytest.mark.parametrize(
    "said",
    [
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
    ],
)
def test_who_is_in_neither_list_is_not_let_in(settings: Any, said: dict[str, Any]) -> None:
    settings.OIDC_ALLOWED_GROUPS, settings.OIDC_ALLOWED_USERS = ["devs", "two words"], ["boss"]
    with pytest.raises(PermissionDenied) as refused:
        sign_in(**said)
    assert (refused.value.message, refused.value.code) == (identities.NOT_ALLOWED, "not_authorized")
    assert not User.objects.exists()


@pytest.mark.parametrize("verified", [False, "false", 0, "no"])
def test_listed_address_that_is_not_verified_lets_nobody_in(settings: Any, verified: Any) -> None:
    settings.OIDC_USERNAME_CLAIM, settings.OIDC_ALLOWED_USERS = ["email"], ["boss@example.org"]
    with pytest.raises(PermissionDenied, match=NOT_LET_IN):
        sign_in(email="boss@example.org", email_verified=verified)


@pytest.mark.parametrize("verified", [{"email_verified": True}, {"email_verified": "true"}, {}], ids=str)
def test_listed_address_lets_in(settings: Any, verified: dict[str, Any]) -> None:
    settings.OIDC_USERNAME_CLAIM, settings.OIDC_ALLOWED_USERS = ["email"], ["boss@example.org"]
    assert sign_in(email="boss@example.org", **verified).username == "gitlab.com:boss@example.org"


def test_claim_of_the_groups_is_a_setting(settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS, settings.OIDC_GROUPS_CLAIM = ["devs"], "realm_access.roles"
    assert sign_in(realm_access={"roles": ["devs"]})
    with pytest.raises(PermissionDenied):
        sign_in(groups=["devs"])


def is_good(token: str) -> bool:
    return CargoClient(token=token).get("/api/v1/crates/none/owners").status_code == 404


def test_refusal_closes_every_door_and_the_next_sign_in_opens_them(settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    user = sign_in(groups=["devs"])
    ours = [cargo_tokens.rotate_default(user).text, cargo_tokens.create(user, "ci")]
    assert [is_good(token) for token in ours] == [True, True]
    for _ in range(2):
        with pytest.raises(PermissionDenied):
            sign_in(groups=[])
        assert [is_good(token) for token in ours] == [False, False]
    assert deeds("identity.refuse") == ["gitlab.com:gagbo"]
    sign_in(groups=["devs"])
    assert [is_good(token) for token in ours] == [True, True]


def test_refusal_of_one_leaves_the_others(settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    token = cargo_tokens.rotate_default(sign_in("1", groups=["devs"])).text
    sign_in("2", groups=["devs"])
    with pytest.raises(PermissionDenied):
        sign_in("2", groups=[])
    assert is_good(token)


def test_local_account_is_closed_too_when_its_identity_is_refused(alice: User, settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["devs"]
    identities.link_to_account(Principal(alice), ISSUER, claims(groups=["devs"]))
    with pytest.raises(PermissionDenied):
        sign_in()
    with pytest.raises(WrongPassword):
        login.authenticate("alice", PASSWORD)


# --- Who administers ---------------------------------------------------------------------------------------------


@pytest.fixture
def ops(settings: Any) -> None:
    settings.OIDC_ADMIN_GROUPS = ["ops"]


def test_rights_follow_the_groups(ops: None) -> None:
    user = sign_in(groups=["ops"])
    assert rights(user) == (True, True)
    sign_in(groups=["ops"])
    assert deeds("user.promote") == ["gitlab.com:gagbo"]
    assert rights(sign_in(groups=["devs"])) == (False, False)
    sign_in(groups=[])
    assert deeds("user.demote") == ["gitlab.com:gagbo"]


def test_rights_come_back_with_the_group(ops: None) -> None:
    for groups, expected in [(["ops"], True), ([], False), (["ops"], True)]:
        assert rights(sign_in(groups=groups)) == (expected, expected)


def test_without_the_setting_nobody_administers_by_a_group() -> None:
    assert rights(sign_in(groups=["ops", "", "admin"])) == (False, False)


@pytest.mark.parametrize("groups", [{"ops": False}, {"ops": True}, 5, True, "opsx", ["OPS"], [["ops"]], None])
def test_junk_makes_nobody_an_administrator(ops: None, groups: Any) -> None:
    assert rights(sign_in(groups=groups)) == (False, False)


def test_who_is_not_let_in_any_more_has_no_rights_left(ops: None, settings: Any) -> None:
    settings.OIDC_ALLOWED_GROUPS = ["ops"]
    user = sign_in(groups=["ops"])
    with pytest.raises(PermissionDenied):
        sign_in(groups=[])
    assert rights(user) == (False, False)


@pytest.mark.parametrize("given", [(True, True), (True, False)])
def test_rights_that_staff_gave_by_hand_stay(ops: None, given: tuple[bool, bool]) -> None:
    user = sign_in(groups=[])
    User.objects.filter(pk=user.pk).update(is_staff=given[0], is_superuser=given[1])
    assert rights(sign_in(groups=[])) == given


def test_rights_by_hand_outlast_those_of_a_group(ops: None, root: User) -> None:
    identities.link_to_account(Principal(root), ISSUER, claims(groups=["ops"]))
    sign_in(groups=[])
    assert rights(root) == (True, True)


def test_group_of_one_identity_counts_beside_another_without_it(ops: None, alice: User) -> None:
    identities.link_identity(alice, ISSUER, "1", actor=None)
    identities.link_identity(alice, ISSUER, "2", actor=None)
    sign_in("1", groups=["ops"])
    sign_in("2", groups=["ops"])
    sign_in("2", groups=[])
    assert rights(alice) == (True, True)
    sign_in("1", groups=[])
    assert rights(alice) == (False, False)


@pytest.mark.parametrize("groups", [["ops"], []])
def test_rights_that_a_former_provider_gave_end_when_the_present_one_gives_none(
    ops: None, alice: User, groups: list[str]
) -> None:
    for issuer in ("https://former.example", ISSUER):
        identities.link_identity(alice, issuer, "42", actor=None)
    sign_in(issuer="https://former.example", groups=["ops"])
    assert rights(sign_in(groups=groups)) == (bool(groups), bool(groups))
    assert rights(sign_in(groups=[])) == (False, False)


# --- Such an account in every dialect ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password", [KTRAS_CONSTANT, "", "!", "gagbo", "42", GAGBO, "None"], ids=lambda text: text or "nothing"
)
def test_no_password_opens_it(gagbo: User, password: str) -> None:
    with pytest.raises(WrongPassword) as refused:
        login.authenticate(GAGBO, password)
    with pytest.raises(WrongPassword) as unknown:
        login.authenticate("127.0.0.1:nobody", password)
    assert refused.value.message == unknown.value.message


def test_stored_password_opens_nothing(gagbo: User) -> None:
    for password in (gagbo.password, gagbo.password[1:]):
        with pytest.raises(WrongPassword):
            login.authenticate(GAGBO, password)


def log_in(path: str, **body: str) -> tuple[int, Any]:
    response = HTTP.post(path, body, content_type="application/json")
    return response.status_code, response.json()


@pytest.mark.parametrize("password", [PASSWORD, KTRAS_CONSTANT])
def test_log_in_fails_as_for_an_unknown_name_at_every_door(gagbo: User, password: str) -> None:
    def answers(name: str) -> list[tuple[int, Any]]:
        return [
            log_in(f"/ktra/api/v1/login/{name}", password=password),
            log_in("/api/stable/auth/login", username=name, password=password),
            log_in("/v1/user/login", login=name, password=password),
            log_in("/login", username=name, password=password),
        ]

    refusals = answers(GAGBO)
    assert refusals == answers("127.0.0.1:nobody")
    assert [status for status, _ in refusals] == [401, 401, 403, 401]


def test_name_cannot_be_signed_up_again(gagbo: User) -> None:
    status, body = log_in(f"/ktra/api/v1/new_user/{GAGBO}", password=PASSWORD)
    assert status == 400
    assert "is not allowed" in body["errors"][0]["detail"]


def test_users_page_shows_it(gagbo: User) -> None:
    ids = {"user_id": str(gagbo.pk), "userid": str(gagbo.pk)}
    assert HTTP.get(f"/users/{GAGBO}").json() == {**ids, "username": GAGBO, "avatar_uri": "", "email": None}


@pytest.mark.parametrize("name", [GAGBO, GAGBO.upper(), "127.0.0.1%3Agagbo"])
def test_packages_are_published_into_its_own_namespace(gagbo: User, name: str) -> None:
    browser = Client(raise_request_exception=False, headers={"Origin": "http://testserver"})
    browser.force_login(gagbo, "accounts.credentials.browser_sessions.PasswordBackend")
    package = {"package_name": "tool", "version": "1.0.0", "status": "RELEASE", "type": "PUBLIC", "field": "java"}
    created = browser.post(f"/namespaces/{name}/packages", package, content_type="application/json")
    assert created.status_code == 200
    (listed,) = HTTP.get(f"/namespaces/{GAGBO}/packages").json()
    assert (listed["namespace"], listed["publisher"], listed["package_name"]) == (GAGBO, GAGBO, "tool")
    assert HTTP.get(f"/namespaces/{GAGBO}/packages/tool").json()["namespace"] == GAGBO


def test_it_publishes_and_is_shown_as_an_owner(gagbo: User) -> None:
    cargo = CargoClient(gagbo)
    assert cargo.publish(packing.body()).status_code == 200
    assert cargo.get("/api/v1/crates/demo/owners").json() == {
        "users": [{"id": gagbo.pk, "login": GAGBO, "name": GAGBO, "email": None}]
    }


@pytest.mark.parametrize("login", [GAGBO, GAGBO.upper()])
def test_it_is_added_to_the_owners_and_removed(gagbo: User, as_alice: CargoClient, login: str) -> None:
    as_alice.publish(packing.body())
    added = as_alice.put_json("/api/v1/crates/demo/owners", {"users": [login]})
    assert added.json() == {"ok": True, "msg": f"user {GAGBO} has been added to the owners list of crate demo"}
    assert as_alice.delete_json("/api/v1/crates/demo/owners", {"users": [login]}).json()["ok"] is True
    owners = as_alice.get("/api/v1/crates/demo/owners").json()["users"]
    assert [owner["name"] for owner in owners] == ["alice"]


def bearer(door: str, **log_in_as: str) -> dict[str, str]:
    answer = HTTP.post(door, {**log_in_as, "password": PASSWORD}, content_type="application/json").json()
    return {"Authorization": f"Bearer {answer['data']['token']}"}


def test_it_is_banned_over_the_api_of_torrust(gagbo: User, root: User) -> None:
    token = cargo_tokens.rotate_default(gagbo).text
    response = HTTP.delete(f"/v1/user/ban/{GAGBO}", headers=bearer("/v1/user/login", login="root"))
    assert (response.status_code, json.loads(response.content)) == (200, {"data": f"Banned user: {GAGBO}"})
    assert not is_good(token)


def test_it_is_looked_up_over_the_api_of_backup_repository(gagbo: User, root: User) -> None:
    roles.grant(gagbo, Role.USERS_MANAGER, actor=root)
    headers = bearer("/api/stable/auth/login", username="root")
    response = HTTP.get(f"/api/stable/auth/user/{GAGBO}", headers=headers)
    assert response.json() == {"status": True, "data": {"email": "", "permissions": ["usersManager"]}}


def test_it_is_invited_into_a_namespace(gagbo: User, alice: User) -> None:
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


def test_staff_sees_it_and_its_identity(gagbo: User, root: User) -> None:
    browser = Client()
    browser.force_login(root)
    page = browser.get(f"/admin/accounts/user/{gagbo.pk}/change/").content.decode()
    assert GAGBO in page
    assert "http://127.0.0.1:9999" in page


def test_commands_know_its_name(gagbo: User) -> None:
    token = cargo_tokens.rotate_default(gagbo).text
    call_command("banuser", GAGBO, stdout=StringIO())
    assert not is_good(token)
    call_command("unbanuser", GAGBO, stdout=StringIO())
    assert is_good(token)
