"""Announcements of staff: on pages, in the admin, and to those who publish."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from registry_site import announcements
from registry_site.errors import Conflict, Invalid
from registry_site.models import Announcement, AuditEvent
from tests.support import packing
from tests.support.admin import FormFields, run_action
from tests.support.cast import CargoClient

pytestmark = pytest.mark.django_db
PAGE = "/admin/registry_site/announcement/"
HTML = {"Accept": "text/html"}
HOSTILE = '<script>alert(1)</script> & "x" https://status.example.com/<b>\nSecond line'


@pytest.fixture(autouse=True)
def reading_each_time(empty_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "CACHE_SECONDS", 0)
    announcements.current.forget()


def announce(text: str = "Maintenance at noon.", **fields: Any) -> Announcement:
    return announcements.announce(announcements.new(text, **fields), actor=None)


def page(path: str = "/", client: Client | None = None) -> str:
    text: str = (client or Client()).get(path, headers=HTML).content.decode()
    return text


def test_pages_show_announcements(as_root: Client) -> None:
    announce()
    announce("The disk is full.", level="warning")
    announce("For cargo alone.", on_pages=False, in_publish_warnings=True)
    paths = ("/", "/search", "/crates/missing", "/keywords", "/admin/", "/admin/accounts/user/", f"{PAGE}add/")
    texts = {path: page(path, as_root) for path in paths}
    texts |= {path: page(path) for path in ("/sign-in", "/admin/login/")}
    assert [path for path, text in texts.items() if "Maintenance at noon." not in text] == []
    assert [path for path, text in texts.items() if "<strong>Warning:</strong> The disk is full." not in text] == []
    assert [path for path, text in texts.items() if "For cargo alone." in text] == []


def test_text_of_staff_is_no_markup(as_root: Client) -> None:
    announce(HOSTILE)
    for text in (page("/"), page(PAGE, as_root)):
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;x&quot;" in text
        assert '<a href="https://status.example.com/" rel="nofollow">' in text
        assert "<br>Second line" in text


def test_pages_without_announcements_have_no_part_for_them() -> None:
    assert "Announcements" not in page("/")


def test_only_what_lasts_is_shown(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    now = timezone.now()
    announce("Now.", starts_at=now - timedelta(days=1), ends_at=now + timedelta(days=1))
    announce("Later.", starts_at=now + timedelta(days=1))
    announcements.withdraw(announce("Withdrawn."), actor=None)
    over = announce("Over.", ends_at=now + timedelta(days=1))
    Announcement.objects.filter(pk=over.pk).update(starts_at=now - timedelta(2), ends_at=now - timedelta(1))
    assert [str(row) for row in announcements.on_pages()] == ["Now."]
    states = {str(row): row.state_at(timezone.now()) for row in Announcement.objects.all()}
    assert states == {"Now.": "shown", "Later.": "to come", "Withdrawn.": "withdrawn", "Over.": "over"}


def test_one_query_serves_many_pages(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    announce()
    monkeypatch.setattr(announcements, "CACHE_SECONDS", 3600)
    with django_assert_num_queries(1):
        for _ in range(3):
            assert "Maintenance at noon." in page("/sign-in")


def test_change_is_shown_after_the_commit(django_capture_on_commit_callbacks: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(announcements, "CACHE_SECONDS", 3600)
    assert announcements.on_pages() == []
    with django_capture_on_commit_callbacks(execute=True):
        announcement = announce()
    assert announcements.on_pages() == [announcement]
    with django_capture_on_commit_callbacks(execute=True):
        assert announcements.withdraw(announcement, actor=None)
        assert not announcements.withdraw(announcement, actor=None)
    assert announcements.on_pages() == []


def test_pages_show_former_ones_without_a_database() -> None:
    announcement = announce()
    assert announcements.on_pages() == [announcement]

    def fail(*arguments: Any) -> Iterator[Any]:
        raise DatabaseError("The database does not answer.")

    with transaction.atomic(), connection.execute_wrapper(fail):
        assert announcements.on_pages() == [announcement]


def test_publish_warns_of_announcements(as_alice: CargoClient) -> None:
    announce("Yank 1.0.\n\nAsk https://example.com.", on_pages=False, in_publish_warnings=True)
    announce("On pages alone.")
    expected = ["Yank 1.0. Ask https://example.com."]
    again = "demo@1.0.0 was published before with the same bytes: nothing changes"
    first, second = (as_alice.publish(packing.body()).json()["warnings"]["other"] for _ in range(2))
    assert (first[-1:], second) == (expected, [again, *expected])


BAD: dict[str, dict[str, Any]] = {
    "text": {"text": " \n "},
    "text: long": {"text": "x" * 1001},
    "text: escape": {"text": "\x1b[31mred"},
    "text: right to left": {"text": "a\u202eb"},
    "ends_at": {"ends_at": datetime(2026, 1, 1, tzinfo=UTC)},
    "ends_at: before": {
        "starts_at": timezone.now() + timedelta(days=2),
        "ends_at": timezone.now() + timedelta(days=1),
    },
    "on_pages": {"on_pages": False},
}


def test_bad_announcements_are_refused() -> None:
    offenders = []
    for name, fields in BAD.items():
        with pytest.raises(Invalid) as refusal:
            announcements.new(**{"text": "Good.", **fields})
        if refusal.value.code != name.partition(":")[0]:
            offenders.append(name)
    assert offenders == []


def test_number_of_announcements_is_limited() -> None:
    for _ in range(announcements.MAX_PENDING):
        announcement = announce()
    with pytest.raises(Conflict):
        announce()
    announcements.withdraw(announcement, actor=None)
    announce()


def test_staff_announce_and_withdraw(as_root: Client, root: User) -> None:
    fields = {
        **FormFields(page(f"{PAGE}add/", as_root)).values,
        "text": "Maintenance at noon.",
        "level": "warning",
        "starts_at_0": "2030-05-01",
        "ends_at_0": "2030-05-02",
        "ends_at_1": "12:30",
        "on_pages": "on",
        "in_publish_warnings": "on",
    }
    refused = {
        "starts_at": {"starts_at_0": "", "starts_at_1": "10:00"},
        "ends_at": {"ends_at_0": "2029-01-01"},
        "text": {"text": "\x07"},
        "on_pages": {"on_pages": "", "in_publish_warnings": ""},
    }
    for name, changes in refused.items():
        response = as_root.post(f"{PAGE}add/", {**fields, **changes})
        assert response.context["adminform"].form.errors.keys() == {name}
        shown = FormFields(response.content.decode()).values
        assert all(shown.get(key, "") == value for key, value in changes.items() if key != "text"), name
    assert as_root.post(f"{PAGE}add/", fields).status_code == 302
    row = Announcement.objects.get()
    assert (row.level, row.starts_at, row.ends_at, row.on_pages, row.in_publish_warnings, row.created_by) == (
        "warning",
        datetime(2030, 5, 1, tzinfo=UTC),
        datetime(2030, 5, 2, 12, 30, tzinfo=UTC),
        True,
        True,
        root,
    )
    assert "Maintenance at noon." in page(f"{PAGE}{row.pk}/", as_root)
    assert "1 withdrawn" in run_action(as_root, PAGE, "withdraw", row)
    events = AuditEvent.objects.filter(action__startswith="announcement.").order_by("pk")
    assert list(events.values_list("action", "target", "object_id")) == [
        ("announcement.add", "Maintenance at noon.", row.pk),
        ("announcement.withdraw", "Maintenance at noon.", row.pk),
    ]
