"""Names that staff reserve: no new crate, account or namespace may have them."""

import re
from collections.abc import Callable
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from hypothesis import given
from hypothesis.strategies import text
from pytest_django import DjangoAssertNumQueries

from accounts import name_patterns, registration, reserved_names
from accounts.models import NameReservation, ReservedName, User
from accounts.name_patterns import NameKind
from accounts.oidc import identities
from accounts.principals import Principal
from namespaces import membership
from registry_site.errors import Conflict, Invalid, PermissionDenied
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.admin import FormFields, new_user_form, run_action
from tests.support.browser import Browser
from tests.support.cast import PASSWORD, CargoClient
from tests.support.migrations import migrate
from tests.support.user_import import import_line

CRATE, ACCOUNT, NAMESPACE = NameKind
PAGE = "/admin/accounts/reservedname/"
HTTP = Client(raise_request_exception=False)
REASON = "It is ours."


def publish(client: CargoClient, name: str, version: str = "1.0.0") -> tuple[int, str]:
    response = client.publish(packing.body(name, version))
    return response.status_code, "" if response.status_code == 200 else response.json()["errors"][0]["detail"]


# --- Doors ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def doors(as_alice: CargoClient, alice: User, as_root: Client, tmp_path: Path, settings: Any) -> dict[str, Any]:
    """All ways to a new account of the name, or a rename to it: each returns the status and the text of its answer."""
    settings.OIDC_ALLOWED_GROUPS = settings.OIDC_ALLOWED_USERS = settings.OIDC_ADMIN_GROUPS = []
    browser = Browser(alice)

    def answer(response: Any) -> tuple[int, str]:
        return response.status_code, response.content.decode()

    def post(path: str, **body: str) -> tuple[int, str]:
        return answer(HTTP.post(path, body, content_type="application/json"))

    def run(*arguments: str, **options: Any) -> tuple[int, str]:
        try:
            call_command(*arguments, stdout=StringIO(), stderr=StringIO(), **options)
        except CommandError as error:
            return 1, str(error)
        return 0, ""

    def import_one(name: str) -> tuple[int, str]:
        (tmp_path / "accounts").write_text(import_line(name))
        return run("importusers", str(tmp_path / "accounts"))

    return {
        "ktra": lambda name: post(f"/ktra/api/v1/new_user/{name}", password=PASSWORD),
        "torrust": lambda name: post("/v1/user/register", username=name, password=PASSWORD, confirm_password=PASSWORD),
        "yapkg": lambda name: answer(
            browser.send("POST", "/register", username=name, password=PASSWORD, email=f"{name}@example.com")
        ),
        "page": lambda name: answer(
            HTTP.post("/sign-up", {"username": name, "password": PASSWORD, "confirmation": PASSWORD})
        ),
        "admin": lambda name: answer(as_root.post("/admin/accounts/user/add/", new_user_form(username=name))),
        "rename": lambda name: answer(browser.change(username=name)),
        "createuser": lambda name: run("createuser", name, password=PASSWORD),
        "createsuperuser": lambda name: run("createsuperuser", "--no-input", username=name),
        "importusers": import_one,
    }


# The status of a refusal; the commands fail, and the admin shows its form again.
REFUSED = {
    "ktra": 400,
    "torrust": 400,
    "yapkg": 400,
    "page": 400,
    "admin": 200,
    "rename": 400,
    "createuser": 1,
    "createsuperuser": 1,
    "importusers": 1,
}


def test_each_door_refuses_reserved_accounts(doors: dict[str, Callable[[str], tuple[int, str]]]) -> None:
    for kind, name in ((ACCOUNT, "acme"), (NAMESPACE, "tool-*")):
        reserved_names.reserve(kind, name, REASON, actor=None)
    before = NameReservation.objects.count()
    for name in ("acme", "Acrne", "tool-x", "T00l_y"):
        answers = {door: create(name) for door, create in doors.items()}
        assert {door: status for door, (status, _) in answers.items()} == REFUSED, name
        assert [door for door, (_, text) in answers.items() if "is reserved" not in text or REASON in text] == []
    assert NameReservation.objects.count() == before
    for number, create in enumerate(doors.values()):
        create(f"acme{number}")
    assert NameReservation.objects.count() == before + len(doors)


def test_provider_gets_another_name_or_none(settings: Any, db: None) -> None:
    settings.OIDC_ALLOWED_GROUPS = settings.OIDC_ALLOWED_USERS = settings.OIDC_ADMIN_GROUPS = []
    settings.OIDC_USERNAME_CLAIM = ["nickname"]
    claims = {"sub": "42", "nickname": "acme"}
    first = identities.sign_in("https://id.example.com", {**claims, "sub": "41"})
    reserved_names.reserve(ACCOUNT, "*:acme*", REASON, actor=None)
    assert identities.sign_in("https://id.example.com", claims).username == "id.example.com:42"
    assert identities.sign_in("https://id.example.com", {**claims, "sub": "41"}) == first
    reserved_names.reserve(ACCOUNT, "id.example.com:*", REASON, actor=None)
    with pytest.raises(PermissionDenied, match=r"id\.example\.com:43 is reserved here"):
        identities.sign_in("https://id.example.com", {**claims, "sub": "43"})


def test_reserved_namespace_is_refused(alice: User) -> None:
    browser = Browser(alice)
    reserved_names.reserve(NAMESPACE, "acme", REASON, actor=None)
    reserved_names.reserve(ACCOUNT, "team", REASON, actor=None)
    for name in ("acme", "ACME", "acrne"):
        response = browser.send("POST", "/namespaces", namespace=name)
        message = f"The name {name!r} is reserved; choose another."
        assert (response.status_code, response.json()) == (400, {"error": "name_invalid", "message": message})
    assert browser.send("POST", "/namespaces", namespace="team").status_code == 200


def test_reserved_crate_is_refused_with_the_reason(as_alice: CargoClient) -> None:
    reserved_names.reserve(CRATE, "Acme-Core", "Ask the core team.", actor=None)
    reserved_names.reserve(ACCOUNT, "other", REASON, actor=None)
    for name in ("acme-core", "ACME_core"):
        assert publish(as_alice, name) == (403, f"The crate name {name} is reserved here: Ask the core team.")
    assert [publish(as_alice, name)[0] for name in ("acme-core2", "other")] == [200, 200]


def test_pattern_reserves_all_that_match(as_alice: CargoClient) -> None:
    reserved_names.reserve(CRATE, "acme-*", REASON, actor=None)
    statuses = {"acme-a": 403, "Acme_b-c": 403, "acme-": 403, "acme": 200, "xacme-a": 200}
    assert {name: publish(as_alice, name)[0] for name in statuses} == statuses


def test_what_exists_stays_usable(as_alice: CargoClient, alice: User) -> None:
    publish(as_alice, "acme-a")
    membership.create_namespace(Principal(alice), "acme-team")
    browser = Browser(alice)
    assert browser.change(username="acme-alice").status_code == 200
    for kind in NameKind:
        reserved_names.reserve(kind, "acme-*", REASON, actor=None)
        reserved_names.reserve(kind, "alice", REASON, actor=None)
    assert publish(as_alice, "acme-a", "2.0.0") == (200, "")
    assert as_alice.delete("/api/v1/crates/acme-a/1.0.0/yank").status_code == 200
    assert browser.get("/namespaces/acme-team").status_code == 200
    names = ("ACME-Alice", "alice", "acme-alice")  # in another case, the former name, and back
    assert [browser.change(username=name).status_code for name in names] == [200, 200, 200]
    assert browser.change(username="acme-other").status_code == 400


# --- Patterns ------------------------------------------------------------------------------------------------------

BAD_PATTERNS = {
    CRATE: ("", "*", "**", "*-*", "a b", "é", "a?", "[ab]", "x" * 65, "a/b", "a\nb", "a*b*c*d*e*f*g", "a.b"),
    ACCOUNT: ("", "*", "*.*", "a b", "é", "x" * 256, "a/b"),
    NAMESPACE: ("", "-*", "a:b", "x" * 64),
}
SAME = {CRATE: ("a-*", "A_**"), ACCOUNT: ("a.l-*", "A_1.**"), NAMESPACE: ("corn", "c0m")}


def test_bad_patterns_are_refused(db: None) -> None:
    for kind, patterns in BAD_PATTERNS.items():
        for pattern in patterns:
            with pytest.raises(Invalid):
                reserved_names.reserve(kind, pattern, "no", actor=None)
    for kind, (once, twice) in SAME.items():
        reserved_names.reserve(kind, once, "once", actor=None)
        with pytest.raises(Conflict):
            reserved_names.reserve(kind, twice, "twice", actor=None)


def test_look_alikes_match() -> None:
    cases = {
        (ACCOUNT, "r*", "rnary"): True,
        (ACCOUNT, "m*", "rnary"): True,
        (ACCOUNT, "*.acme", "x_ACME"): True,
        (ACCOUNT, "acme*", "acm"): False,
        (NAMESPACE, "bill", "B1LL"): True,
        (CRATE, "bill", "b1ll"): False,  # crates may look alike
        (CRATE, "a_b", "A-B"): True,
    }
    assert {case: ReservedName(kind=case[0], pattern=case[1]).matches(case[2]) for case in cases} == cases


@given(name=text("ab", max_size=8), pattern=text("ab*", min_size=1, max_size=8))
def test_stars_stand_for_any_characters(name: str, pattern: str) -> None:
    regex = pattern.replace("*", ".*")
    assert name_patterns.fits(name, pattern) == (re.fullmatch(regex, name) is not None)


def test_databases_read_patterns_alike(db: None) -> None:
    names = ["".join(letters) for letters in product("ab_", repeat=4)]
    NameReservation.objects.bulk_create(NameReservation(name=name, skeleton=name) for name in names)
    for pattern in ("aab_", "a*", "*a", "a*b", "a_*", "*_*", "*a*b*", "a*a*a*b", "*.*"):
        fitting = NameReservation.objects.filter(name__fits=pattern).values_list("name", flat=True)
        assert set(fitting) == {name for name in names if name_patterns.fits(name, pattern)}, pattern


def test_number_of_patterns_is_limited(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserved_names, "MAX_PATTERNS", 2)
    for pattern in ("a*", "b*", "exact"):
        reserved_names.reserve(CRATE, pattern, REASON, actor=None)
    with pytest.raises(Conflict, match="2 patterns already"):
        reserved_names.reserve(CRATE, "c*", REASON, actor=None)
    reserved_names.reserve(ACCOUNT, "c*", REASON, actor=None)


def test_check_takes_one_query(db: None, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(5):
        reserved_names.reserve(ACCOUNT, f"name{number}-*", "no", actor=None)
    with django_assert_num_queries(1):
        assert ReservedName.objects.matching("free", ACCOUNT, NAMESPACE) is None


@pytest.mark.only_sqlite
def test_check_reads_an_index(db: None) -> None:
    plan = ReservedName.objects.candidates({ACCOUNT: "acme", NAMESPACE: "acme"}).explain()
    assert ("SCAN" in plan, "reserved_patterns" in plan) == (False, True), plan


# --- Staff ---------------------------------------------------------------------------------------------------------


def test_staff_reserve_and_release_a_name(as_root: Client, root: User) -> None:
    fields = {"kind": "crate", "pattern": "Acme-*", "reason": REASON}
    assert as_root.post(f"{PAGE}add/", fields).status_code == 302
    reserved = ReservedName.objects.get()
    assert (reserved.kind, reserved.pattern, reserved.form, reserved.reserved_by) == (CRATE, "Acme-*", "acme_*", root)
    for pattern in ("acme_*", "*", "a b"):
        page = as_root.post(f"{PAGE}add/", {**fields, "pattern": pattern})
        assert page.context["adminform"].form.errors.keys() == {"pattern"}, pattern
        assert FormFields(page.content.decode()).values["reason"] == REASON
    assert "1 released" in run_action(as_root, PAGE, "release", reserved)
    events = AuditEvent.objects.filter(action__startswith="name.").order_by("pk")
    detail = {"kind": "crate", "reason": REASON}
    assert list(events.values_list("action", "target", "detail")) == [
        ("name.reserve", "Acme-*", detail),
        ("name.release", "Acme-*", detail),
    ]


def test_staff_see_what_a_pattern_matches(as_root: Client, as_alice: CargoClient, alice: User) -> None:
    publish(as_alice, "acme-a")
    registration.register("acrne-bot", PASSWORD)
    membership.create_namespace(Principal(alice), "acme-team")
    for number in range(25):
        registration.register(f"bot{number:02}", None)
    twenty = ", ".join(f"bot{number:02}" for number in range(20))
    cases = {
        ("crate", "acme-*"): "1 name matches today, and stays usable: acme-a.",
        ("account", "acme*"): "1 name matches today, and stays usable: acrne-bot.",
        ("namespace", "acme-*"): "2 names match today, and stay usable: acme-team, acrne-bot.",
        ("account", "b*"): f"25 names match today, and stay usable: {twenty} and 5 more.",
        ("crate", "x"): "No name of today matches.",
    }
    for (kind, pattern), matches in cases.items():
        fields = {"kind": kind, "pattern": pattern, "reason": "", "_preview": "1"}
        page = as_root.post(f"{PAGE}add/", fields)
        assert matches in page.content.decode(), pattern
        assert FormFields(page.content.decode()).values["pattern"] == pattern
    assert not ReservedName.objects.exists()
    fields = {"kind": "crate", "pattern": "acme-*", "reason": REASON}
    page = as_root.post(f"{PAGE}add/", fields, follow=True)
    assert "stays usable: acme-a." in page.content.decode()
    assert "acme-a." in as_root.get(f"{PAGE}{ReservedName.objects.get().pk}/").content.decode()


# --- Migration -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_reserved_names_of_crates_are_moved() -> None:
    before = (("crates", "0019_published_with"), ("accounts", "0024_ranks"))
    apps = migrate(*before)
    model, users = apps.get_model("crates", "ReservedName"), apps.get_model("accounts", "User")
    reservation = apps.get_model("accounts", "NameReservation").objects.create(name="root", skeleton="root")
    user = users.objects.create(username="root", reservation=reservation)
    rows = [model(pattern=pattern, reason=REASON, reserved_by=user) for pattern in ("acme", "acme_*")]
    times = [row.reserved_at for row in model.objects.bulk_create(rows)]
    columns = ("pattern", "reason", "reserved_at", "reserved_by_id")
    before_rows = [(pattern, REASON, at, user.pk) for pattern, at in zip(("acme", "acme_*"), times, strict=True)]
    migrate()
    assert list(ReservedName.objects.values_list(*columns)) == before_rows
    for name, is_reserved in (("Acme", True), ("acme-x", True), ("acmex", False)):
        assert (ReservedName.objects.matching(name, CRATE) is not None) == is_reserved, name
    ReservedName.objects.update(pattern="Acme")  # as people write it; the former release compares the form
    rows = migrate(*before).get_model("crates", "ReservedName").objects.values_list(*columns)
    assert list(rows) == before_rows
