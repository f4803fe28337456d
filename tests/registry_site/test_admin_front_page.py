"""The front page of the admin: what needs somebody, the state of the registry, and the settings in force."""

import tomllib
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import registration
from accounts.models import LoginFailure, User
from accounts.passwords import login_throttle
from registry_site.admin import front_page
from registry_site.admin.front_page import Fact, FrontPage, Notice
from registry_site.environment import Environment
from registry_site.models import AuditEvent, OutboxEntry, StoredBlob
from tests.support.admin import hire, sign_in_to_admin
from tests.support.cast import PASSWORD

MAX_QUERIES = 12


def texts(page: FrontPage) -> list[str]:
    return [f"{notice.number} {notice.text}" for notice in page.notices]


def facts(page: FrontPage) -> dict[str, str]:
    return {fact.label: fact.value for _, section in page.sections for fact in section}


def failed_mail() -> OutboxEntry:
    return OutboxEntry.objects.create(kind="x", state=OutboxEntry.State.FAILED, give_up_at=timezone.now())


def test_quiet_registry_needs_nobody(as_root: Client) -> None:
    page = as_root.get("/admin/")
    assert "Nothing needs anybody" in page.content.decode()
    assert page.context["front_page"].notices == []


def test_front_page_takes_few_queries(as_root: Client) -> None:
    failed_mail()
    with CaptureQueriesContext(connection) as queries:
        page = as_root.get("/admin/").content.decode()
    assert "failed mail or job" in page
    assert len(queries) < MAX_QUERIES, [query["sql"][:90] for query in queries.captured_queries]


def test_front_page_leads_to_failed_mails(as_root: Client) -> None:
    failed_mail()
    notice = as_root.get("/admin/").context["front_page"].notices[0]
    assert (notice.number, notice.text) == (1, "failed mail or job")
    assert as_root.get(notice.url).context["cl"].result_count == 1


def test_urgent_notices_stand_first(root: User, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Notice(1, "later", "/"), Notice(0, "never", "/"), Notice(2, "now", "/", is_urgent=True), Fact("a", "b")]
    monkeypatch.setattr(front_page, "sources", [("accounts.view_user", "Things", lambda: parts)])
    page = front_page.of(root)
    assert (texts(page), facts(page)) == (["2 now", "1 later"], {"a": "b"})


def test_staff_see_only_what_they_may_view(db: None) -> None:
    failed_mail()
    page = sign_in_to_admin(hire("onlooker", "view_user")).get("/admin/")
    assert page.context["front_page"].notices == []
    assert page.context["front_page"].sections == []
    assert "failed mails" not in page.content.decode()


def test_front_page_counts_failed_log_ins(as_root: Client, root: User) -> None:
    for age in (timedelta(), timedelta(hours=23), timedelta(hours=25)):
        LoginFailure.objects.create(name="root", network="192.0.2.1", at=timezone.now() - age)
    fact = dict(front_page.of(root).sections)["Accounts"][0]
    assert (fact.label, fact.value) == ("Failed log-ins of the last day", "2")
    assert as_root.get(fact.url).context["cl"].result_count == 2


def test_front_page_leads_to_locked_accounts(as_root: Client, root: User, settings: Any) -> None:
    registration.register("dora", PASSWORD)
    for name, failures in (("root", settings.MAX_LOGIN_FAILURES), ("dora", settings.MAX_LOGIN_FAILURES - 1)):
        for _ in range(failures):
            LoginFailure.objects.create(name=name, network="192.0.2.1")
    notice = front_page.of(root).notices[0]
    assert (notice.number, notice.text) == (1, "account locked after failed log-ins")
    assert [user.username for user in as_root.get(notice.url).context["cl"].result_list] == ["root"]
    login_throttle.unlock("root", actor=root)
    assert front_page.of(root).notices == []


def test_account_attacked_from_everywhere_is_locked(root: User, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 2
    for number in range(40):
        LoginFailure.objects.create(name="root", network=f"192.0.2.{number}")
    assert [user.username for user in login_throttle.locked_users()] == ["root"]


def test_scarce_disk_is_urgent(root: User, settings: Any) -> None:
    settings.MIN_FREE_SPACE = 10**15
    notice = front_page.of(root).notices[0]
    assert (notice.text.startswith("disk with only "), notice.is_urgent) == (True, True)


def test_front_page_tells_size_of_blobs(root: User) -> None:
    StoredBlob.objects.create(sha256="a" * 64, size=1_500_000)
    assert facts(front_page.of(root))["Blobs"].startswith("1.5 MB in 1 file")


def test_front_page_tells_last_purge(root: User) -> None:
    assert facts(front_page.of(root))["Last purge"].startswith("never")
    call_command("purge", verbosity=0)
    assert f"{timezone.now():%Y-%m-%d}" in facts(front_page.of(root))["Last purge"]
    assert texts(front_page.of(root)) == []
    AuditEvent.objects.filter(action="registry.purge").update(at=timezone.now() - timedelta(days=9))
    assert texts(front_page.of(root)) == ["9 days since the last purge"]


def test_front_page_tells_the_version(root: User) -> None:
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    assert facts(front_page.of(root))["Version"] == project["version"]


def test_misspelt_variables_need_somebody(as_root: Client, settings: Any) -> None:
    settings.REGISTRY = Environment("REGISTRY_", {"REGISTRY_WORKRES": "9"})
    assert "1 variable that nothing reads: REGISTRY_WORKRES" in texts(as_root.get("/admin/").context["front_page"])
    assert "Nothing reads REGISTRY_WORKRES" in as_root.get("/admin/settings/").content.decode()


def test_settings_page_shows_every_variable(as_root: Client) -> None:
    page = as_root.get("/admin/settings/").content.decode()
    assert [name for name in settings.REGISTRY.readings if name not in page] == []


def test_settings_page_hides_secrets(as_root: Client, settings: Any) -> None:
    variables = {
        "X_TOKEN": "sesame1",
        "X_MAIL": "smtp://clerk:sesame2@mail.example.com",
        "X_DB": "postgres://u@db/x?password=sesame3&region=eu",
        "X_PORT": "81",
    }
    settings.REGISTRY = reader = Environment("X_", variables)
    reader.secret("TOKEN")
    reader.text("MAIL", "")
    reader.text("DB", "")
    reader.number("PORT", 80)
    reader.number("SIZE", 7)
    page = as_root.get("/admin/settings/").content.decode()
    assert "sesame" not in page
    for text in ("set, hidden", "smtp://…@mail.example.com", "postgres://…@db/x?password=…&amp;region=eu"):
        assert text in page, text
    rows = {reading.name: (reading.value, reading.source) for reading in reader.readings.values()}
    assert (rows["X_PORT"], rows["X_SIZE"]) == (("81", "environment"), ("7", "default"))


def test_settings_page_names_file_of_a_secret(tmp_path: Any) -> None:
    path = tmp_path / "token"
    path.write_text("sesame")
    reader = Environment("X_", {"X_TOKEN_FILE": str(path)})
    assert reader.secret("TOKEN") == "sesame"
    reading = reader.readings["X_TOKEN"]
    assert (reading.value, reading.source, reading.is_secret) == ("…", f"file {path}", True)


def test_onlooker_gets_no_settings(db: None) -> None:
    assert sign_in_to_admin(hire("onlooker", "view_user")).get("/admin/settings/").status_code == 403
