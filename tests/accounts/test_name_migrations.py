"""Migration of names to skeletons: no name is lost, and those that look alike are reported."""

from contextlib import suppress

import pytest
from django.contrib.auth.hashers import make_password
from django.core.management import call_command

from accounts import names, registration
from accounts.models import NameReservation, User
from accounts.passwords import login
from registry_site.errors import Conflict
from tests.support.cast import PASSWORD
from tests.support.database import rolled_back
from tests.support.migrations import migrate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]

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
    """One way through the migrations, for it takes seconds, and one back."""
    create_colliding_names()
    migrate()
    assert capsys.readouterr().out == REPORT
    reservations = NameReservation.objects.filter(is_look_alike=True)
    assert set(reservations.values_list("name", flat=True)) == {*LOOK_ALIKES, "gitlab.com:john-doe"}
    assert [name for name in NAMES if login.authenticate(name, PASSWORD).username != name] == []
    check_names_are_not_free()
    assert missing_in_check(capsys) == []
    apps = migrate(BEFORE)
    assert apps.get_model("accounts", "NameReservation").objects.count() == len(NAMES) + 3


def check_names_are_not_free() -> None:
    with rolled_back():
        User.objects.get_named("john-doe").delete()
        NameReservation.objects.get(name="john-doe").delete()
        free = []
        for name in ("john.doe", "John-Doe", "A1L", "RNARY", "tools_rs", "_x"):
            with suppress(Conflict):
                free.append(registration.sign_up(name, PASSWORD))
        assert free == []
        assert User.objects.count() == len(NAMES) - 1


def missing_in_check(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of the report that `manage.py check` does not print."""
    call_command("check", databases=["default"])
    err = capsys.readouterr().err
    assert err.count("accounts.W001") == len(LOOK_ALIKES)
    return [line for line in REPORT.splitlines() if line.removesuffix(" Both work as before.") not in err]
