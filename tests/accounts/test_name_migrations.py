"""Migration of names to skeletons: no name is lost, and those that look alike are reported."""

import pytest
from django.contrib.auth.hashers import make_password
from django.core.management import call_command

from accounts import names, registration
from accounts.models import NameReservation, User
from accounts.passwords import login
from registry_site.errors import Conflict
from tests.support.cast import PASSWORD
from tests.support.migrations import migrate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("newest_state")]

BEFORE = ("accounts", "0012_unverified_addresses")
NAMES = ("john-doe", "john_doe", "a11", "all", "Ail", "mary", "rnary", "x", "-x", "gitlab.com:john.doe")
LOOK_ALIKES = {"john_doe", "all", "ail", "rnary", "tools.rs"}
REPORT = """\
The names 'a11' and 'all' look alike. Both work as before.
The names 'a11' and 'ail' look alike. Both work as before.
The names 'john-doe' and 'john_doe' look alike. Both work as before.
The names 'mary' and 'rnary' look alike. Both work as before.
The names 'tools-rs' and 'tools.rs' look alike. Both work as before.
"""


def create_colliding_names() -> None:
    """Store users, two names without an owner, and a former name of a user, as the version before did."""
    apps = migrate(BEFORE)
    reservations, users = (apps.get_model("accounts", model).objects for model in ("NameReservation", "User"))
    password = make_password(PASSWORD)
    for name in NAMES:
        reservation = reservations.create(name=names.canonical(name))
        user = users.create(username=name, reservation=reservation, password=password)
    reservations.create(name="gitlab.com:john-doe", former_user=user)
    for name in ("tools-rs", "tools.rs"):
        reservations.create(name=name)


def test_colliding_names_go_on_working(capsys: pytest.CaptureFixture[str]) -> None:
    create_colliding_names()
    migrate()
    assert capsys.readouterr().out == REPORT
    reservations = NameReservation.objects.filter(is_look_alike=True)
    assert set(reservations.values_list("name", flat=True)) == {*LOOK_ALIKES, "gitlab.com:john-doe"}
    assert [name for name in NAMES if login.authenticate(name, PASSWORD).username != name] == []


def test_colliding_names_are_not_free() -> None:
    create_colliding_names()
    migrate()
    User.objects.get_named("john-doe").delete()
    NameReservation.objects.get(name="john-doe").delete()
    for name in ("john.doe", "John-Doe", "A1L", "RNARY", "tools_rs", "_x"):
        with pytest.raises(Conflict):
            registration.sign_up(name, PASSWORD)
    assert User.objects.count() == len(NAMES) - 1


def test_check_lists_colliding_names(capsys: pytest.CaptureFixture[str]) -> None:
    create_colliding_names()
    migrate()
    call_command("check", databases=["default"])
    err = capsys.readouterr().err
    assert [line for line in REPORT.splitlines() if line.removesuffix(" Both work as before.") not in err] == []
    assert err.count("accounts.W001") == len(LOOK_ALIKES)


def test_names_survive_the_way_back() -> None:
    create_colliding_names()
    migrate()
    apps = migrate(BEFORE)
    assert apps.get_model("accounts", "NameReservation").objects.count() == len(NAMES) + 3
