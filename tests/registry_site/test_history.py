"""The history of a row in the admin site: all of its events, whatever made the change."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.test import Client

from accounts import bans
from accounts.models import Ban, User
from crates.mirror import overrides
from crates.mirror.models import Override
from registry_site.models import AuditEvent, StaffRun
from tests.support.admin import hire, run_action, sign_in_to_admin

USERS = "/admin/accounts/user/"


def history_of(client: Client, user: User, query: str = "") -> str:
    response = client.get(f"{USERS}{user.pk}/history/{query}")
    assert response.status_code == 200
    return response.content.decode()


def test_history_has_actions_commands_and_own_changes(as_root: Client, alice: User) -> None:
    run_action(as_root, USERS, "ban", alice, reason="spam")
    call_command("unbanuser", "alice", verbosity=0)
    page = history_of(as_root, alice)
    sentences = ("The ban of alice was lifted.", "The account alice was banned.", "The account alice was opened.")
    positions = [page.index(sentence) for sentence in sentences]
    assert positions == sorted(positions)
    assert "Reason: spam" in page
    assert f'<a href="/admin/registry_site/staffrun/{StaffRun.objects.get().pk}/">Run</a>' in page
    assert "<td>operator</td>" in page


def test_history_shows_no_log_of_forms(as_root: Client, root: User, alice: User) -> None:
    LogEntry.objects.log_actions(root.pk, [alice], 2, "a message of Django")
    assert "a message of Django" not in history_of(as_root, alice)


def test_long_history_has_pages(
    as_root: Client, alice: User, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    of_alice = {"action": "user.ban", "object_type": "accounts.user", "object_id": alice.pk}
    AuditEvent.objects.bulk_create(AuditEvent(target=f"n{number:03}", **of_alice) for number in range(150))
    with django_assert_max_num_queries(12):
        first = history_of(as_root, alice)
    last = min(AuditEvent.objects.filter(target__startswith="n").order_by("-pk")[:100], key=lambda event: event.pk)
    assert (first.count(" was banned."), f'href="?before={last.pk}">Older' in first) == (100, True)
    second = history_of(as_root, alice, f"?before={last.pk}")
    assert (second.count(" was banned."), ">Older" in second) == (50, False)
    assert "There are no older events." in history_of(as_root, alice, "?before=1")
    assert history_of(as_root, alice, "?before=junk").count(" was banned.") == 100


def test_bans_and_overrides_have_a_history(as_root: Client, root: User, alice: User) -> None:
    bans.ban(alice, actor=root, reason="spam")
    override = overrides.create_override(Override.Kind.BLOCKED, "demo", "*", actor=root, reason="It steals.")
    overrides.end_override(override, actor=root)
    page = as_root.get(f"/admin/accounts/ban/{Ban.objects.get().pk}/history/").content.decode()
    assert "The account alice was banned." in page
    page = as_root.get(f"/admin/mirror/override/{override.pk}/history/").content.decode()
    assert page.index("The mirrored crate demo@* is no longer blocked.") < page.index("demo@* was blocked.")


def test_history_needs_the_right_to_view(alice: User) -> None:
    onlooker = hire("onlooker")
    assert sign_in_to_admin(onlooker).get(f"{USERS}{alice.pk}/history/").status_code == 403


def test_history_of_no_row_leads_home(as_root: Client) -> None:
    offenders = []
    for model in admin.site._registry:
        path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/999999/history/"
        response = as_root.get(path)
        if (response.status_code, response.get("Location")) != (302, "/admin/"):
            offenders.append((path, response.status_code))
    assert offenders == []
