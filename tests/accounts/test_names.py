"""Names of users: the same rule at each door, and only one of those that look alike."""

from collections.abc import Callable
from io import StringIO
from itertools import combinations, product
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import bans, names, profiles, registration
from accounts.checks import check_names
from accounts.models import NameReservation, User
from accounts.passwords import login
from accounts.principals import Principal
from namespaces.models import Namespace
from registry_site.errors import Conflict, WrongPassword
from registry_site.management.commands import serve
from tests.support import packing
from tests.support.admin import new_user_form, sign_in_to_admin
from tests.support.browser import Browser
from tests.support.cast import PASSWORD, CargoClient
from tests.support.database import rolled_back
from tests.support.user_import import import_line

pytestmark = pytest.mark.django_db

Door = Callable[[str], str]


def sign_up_at_ktra(name: str) -> str:
    path = "/ktra/api/v1/new_user/" + "".join(f"%{byte:02x}" for byte in name.encode())
    response = Client().post(path, {"password": PASSWORD}, content_type="application/json")
    return "" if response.status_code == 200 else str(response.json()["errors"][0]["detail"])


def sign_up_at_torrust(name: str) -> str:
    fields = {"username": name, "password": PASSWORD, "confirm_password": PASSWORD}
    return str(Browser().send("POST", "/v1/user/register", **fields).json().get("error", ""))


def sign_up_at_yapkg(name: str) -> str:
    fields = {"username": name, "password": PASSWORD, "email": "dora@example.org"}
    return str(Browser().send("POST", "/register", **fields).json().get("message", ""))


def rename_at_yapkg(name: str) -> str:
    dora = registration.register("somebody", PASSWORD)
    return str(Browser(dora).send("PATCH", "/settings/profile", username=name).json().get("message", ""))


def add_in_the_admin(name: str) -> str:
    client = sign_in_to_admin(registration.register("chief", PASSWORD, admin=True))
    response = client.post("/admin/accounts/user/add/", new_user_form(username=name))
    return "" if response.status_code == 302 else " ".join(response.context["adminform"].form.errors["username"])


def run(*arguments: str, **options: Any) -> str:
    try:
        call_command(*arguments, **options, stdout=StringIO(), stderr=StringIO())
    except CommandError as error:
        return str(error)
    return ""


def run_createuser(name: str) -> str:
    return run("createuser", "--", name, password=PASSWORD)


def run_createsuperuser(name: str) -> str:
    return run("createsuperuser", interactive=False, username=name)


def run_importusers(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.stdin", StringIO(import_line(name)))
    return run("importusers", "-")


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> dict[str, Door]:
    """All ways to get a name."""
    return {
        "ktra": sign_up_at_ktra,
        "torrust": sign_up_at_torrust,
        "yapkg": sign_up_at_yapkg,
        "rename": rename_at_yapkg,
        "admin": add_in_the_admin,
        "createuser": run_createuser,
        "createsuperuser": run_createsuperuser,
        "importusers": lambda name: run_importusers(name, monkeypatch),
    }


def refusals(doors: dict[str, Door], cases: list[str]) -> dict[tuple[str, str], str]:
    """Return the sentence of each door about each name, or "" where the name was taken with its namespace."""
    answers = {}
    for door, take in doors.items():
        for name in cases:
            with rolled_back():
                answer = take(name)
                if not answer and not Namespace.objects.filter(user__username=name, name=name).exists():
                    answer = "no account"
                answers[door, name] = answer
    return answers


def test_dots_and_leading_signs_are_allowed(doors: dict[str, Door]) -> None:
    cases = ["john.doe", "_x", "-x", "a.b-c_d", "J.R.R", "0", "x" * 255]
    assert {case: refusal for case, refusal in refusals(doors, cases).items() if refusal} == {}


def test_other_names_are_refused_at_each_door(doors: dict[str, Door]) -> None:
    cases = [".", "..", "...", "a.", ".a", "a..b", "-", "a/b", "a:b", "a$b", "a@b", "%2e", "jöhn", "a b", "a\tb"]
    cases.append("x" * 256)
    sentences = (
        "use 1 to 255 of A-Z, a-z, 0-9, -, _ and ., with at least one letter or digit",
        "Ensure this value has at most 255 characters",  # in the forms of Django
        "There is nothing at this path.",  # for a slash in it
    )
    answers = refusals(doors, cases)
    assert {case: answer for case, answer in answers.items() if not any(text in answer for text in sentences)} == {}


def log_in(path: str, **fields: str) -> int:
    return Client().post(path, {**fields, "password": PASSWORD}, content_type="application/json").status_code


def test_odd_names_log_in_and_publish(root: User) -> None:
    for name in ("john.doe", "_x", "-y", "z" * 255):
        user = registration.sign_up(name, PASSWORD)
        logins = (
            log_in(f"/ktra/api/v1/login/{name}"),
            log_in("/api/stable/auth/login", username=name),
            log_in("/v1/user/login", login=name.upper()),
            log_in("/login", username=name),
        )
        assert logins == (200, 200, 200, 200), name
        release = {"package_name": "x" * 63, "version": "1.0.0", "field": "java"}
        assert Browser(user).send("POST", f"/namespaces/{name}/packages", **release).status_code == 200, name
        assert Client().get(f"/namespaces/{name}/packages/{'x' * 63}").json()["namespace"] == name
        assert CargoClient(user).publish(packing.body(f"crate-{user.pk}")).status_code == 200, name
        assert bans.ban_named(Principal(root), name).user == user


def test_look_alike_is_refused_at_each_door(doors: dict[str, Door]) -> None:
    registration.register("john.doe", PASSWORD)
    cases = ["john-doe", "john_doe", "JOHN--DOE", "j0hn.d0e"]
    sentence = "looks too much like one that is taken"
    assert {case: refusal for case, refusal in refusals(doors, cases).items() if sentence not in refusal} == {}


# --- Names that look alike ---------------------------------------------------------------------------------------

ALIKE = (
    ("john.doe", "JOHN.DOE", "john-doe", "john_doe", "john--doe", "j0hn._.doe"),
    ("lilo", "1il0", "LILO", "iIiO"),
    ("mary", "rnary", "MARY", "RNARY"),
    ("_x", "-x", "__x", "_X"),
    ("gitlab.com:al", "gltlab-corn:a1"),
)
DIFFERENT = (
    "john.doe",
    "johndoe",
    "john.doe-",
    "-john.doe",
    "x",
    "x-",
    "-x",
    "x1",
    "x-1",
    "vv",
    "w",
    "cl",
    "d",
    "5",
    "s",
)


def test_names_that_look_alike_share_a_skeleton() -> None:
    assert [group for group in ALIKE if len({names.skeleton(name) for name in group}) > 1] == []
    pairs = combinations([*DIFFERENT, *(group[0] for group in ALIKE[1:3])], 2)
    assert [pair for pair in pairs if names.skeleton(pair[0]) == names.skeleton(pair[1])] == []


def test_skeleton_of_a_skeleton_is_itself() -> None:
    letters = ["r", "n", "m", "rn", "rrn", "rnn", "I", "l", "1", "0", "O", ".", "-", "_", ":", "@", "Z"]
    for name in ("".join(parts) for parts in product(letters, repeat=3)):
        skeleton = names.skeleton(name)
        assert (names.skeleton(skeleton), names.skeleton(name.swapcase())) == (skeleton, skeleton)
        assert len(skeleton) <= len(name)


def test_names_are_not_looked_up_by_their_look() -> None:
    john = registration.sign_up("John.Doe", PASSWORD)
    assert login.authenticate("JOHN.doe", PASSWORD) == john
    for name in ("john-doe", "j0hn.doe", "John..Doe"):
        assert not User.objects.named(name).exists()
        with pytest.raises(WrongPassword):
            login.authenticate(name, PASSWORD)


def test_namespace_may_not_look_like_a_user(alice: User) -> None:
    registration.sign_up("john.doe", PASSWORD)
    response = Browser(alice).send("POST", "/namespace", namespace="john-doe")
    message = "The name 'john-doe' looks too much like one that is taken; choose another."
    assert (response.status_code, response.json()) == (400, {"error": "name_too_similar", "message": message})


def rename(user: User, name: str) -> None:
    profiles.update_profile(Principal(user), None, profiles.ProfileChanges(username=name))


def test_user_may_take_an_own_look_alike(bob: User) -> None:
    john = registration.sign_up("john.doe", PASSWORD)
    for name in ("john-doe", "JOHN_DOE", "j0hn.doe", "john.doe"):
        rename(john, name)
    assert NameReservation.objects.filter(skeleton=names.skeleton("john.doe")).count() == 4
    with pytest.raises(Conflict, match="looks too much like one that is taken"):
        rename(bob, "John--Doe")


@pytest.fixture
def twin() -> User:
    """A user whose name looks like an older one, from before such names were refused."""
    registration.register("john.doe", PASSWORD)
    reservation = NameReservation.objects.create(name="john-doe", is_look_alike=True)
    user: User = User.objects.create(username="john-doe", password=make_password(PASSWORD), reservation=reservation)
    Namespace.objects.create(name="john-doe", reservation=reservation, user=user)
    return user


def test_twin_may_change_its_case_or_return(twin: User) -> None:
    for name in ("John-Doe", "other", "john-doe"):
        rename(twin, name)
    with pytest.raises(Conflict, match="looks too much like one that is taken"):
        rename(twin, "john_doe")


def test_name_stays_taken_while_one_look_alike_exists(twin: User) -> None:
    for name in ("john.doe", "john-doe"):
        with pytest.raises(Conflict):
            registration.sign_up("john_doe", PASSWORD)
        Namespace.objects.filter(name=name).delete()
        User.objects.filter(username=name).delete()
        NameReservation.objects.filter(name=name).delete()
    assert registration.sign_up("john_doe", PASSWORD).username == "john_doe"


def test_check_warns_of_look_alikes_of_others(twin: User) -> None:
    jane = registration.register("jane", PASSWORD)
    rename(jane, "jan3")
    rename(jane, "jAn3-x")
    rename(jane, "jan3_x")
    (warning,) = check_names(databases=["default"])
    assert (warning.msg, warning.id) == ("The names 'john.doe' and 'john-doe' look alike.", "accounts.W001")


def test_first_administrator_avoids_look_alikes() -> None:
    for name in ("adm1n", "admini"):
        registration.register(name, PASSWORD)
    output = StringIO()
    serve.Command(stdout=output).create_first_administrator()
    assert User.objects.get(is_superuser=True).username == "admin2"
