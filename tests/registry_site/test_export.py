"""Lists of the admin site as CSV and JSON files."""

import csv
import io
import json
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Ban, User
from crates.mirror.models import CachedCrate
from registry_site.admin import export
from registry_site.audit import Action
from registry_site.models import AuditEvent, AuditSeal
from tests.support.admin import hire, sign_in_to_admin

USERS = "/admin/accounts/user/"
BANS = "/admin/accounts/ban/"
PUBLIC = {"admin:registry_site_auditseal": {"digest"}}  # which the log and backups have, too


def fetch(client: Client, path: str) -> str:
    """Return an exported file."""
    response: Any = client.post(path)
    assert response.status_code == 200, path
    return b"".join(response.streaming_content).decode()


def table(client: Client, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(fetch(client, path))))


def test_files_have_the_rows_of_the_list(as_root: Client, alice: User) -> None:
    query = "?is_staff__exact=0&q=ali"
    [row] = table(as_root, f"{USERS}export.csv{query}")
    assert (row["key"], row["username"], row["active"]) == (str(alice.pk), "alice", "True")
    [as_object] = json.loads(fetch(as_root, f"{USERS}export.json{query}"))
    assert (as_object["key"], as_object["username"], as_object["active"]) == (alice.pk, "alice", True)
    assert json.loads(fetch(as_root, f"{USERS}export.json?q=nobody")) == []


def test_no_cell_begins_a_formula(as_root: Client, alice: User) -> None:
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"):
        Ban.objects.create(user=alice, reason=text)
    rows = table(as_root, f"{BANS}export.csv")
    assert len(rows) == 7
    assert [row["reason"] for row in rows if not row["reason"].startswith("'")] == []
    assert {row["reason"] for row in json.loads(fetch(as_root, f"{BANS}export.json"))} >= {"=1+1", "@SUM(A1)"}


def test_text_of_links_is_plain(as_root: Client) -> None:
    AuditEvent.objects.create(actor_name="operator", action=Action.FILE_ADD, target='<b>R&D\'s "plan"')
    [row] = table(as_root, "/admin/registry_site/auditevent/export.csv?action__exact=file.add")
    assert row["target"] == '<b>R&D\'s "plan"'


def test_values_are_whole(as_root: Client) -> None:
    """Lists cut long texts and digests, name characters that turn text around, and round sizes."""
    target, digest = "=" + "x" * 300 + "\u202egpj.exe", "0123456789abcdef" * 4
    AuditEvent.objects.create(actor_name="operator", action=Action.FILE_ADD, target=target)
    numbers = dict.fromkeys(("number", "format", "first_event", "last_event", "count"), 1)
    AuditSeal.objects.create(**numbers, digest=digest, last_at=timezone.now())
    CachedCrate.objects.create(name="a", version="1.0.0", sha256=digest, size=1_234_567)
    exported = {
        ("registry_site/auditevent", "target", "action__exact=file.add"): target,
        ("registry_site/auditseal", "digest", ""): digest,
        ("mirror/cachedcrate", "size", ""): 1_234_567,
    }
    for (path, column, query), value in exported.items():
        [as_object] = json.loads(fetch(as_root, f"/admin/{path}/export.json?{query}"))
        [row] = table(as_root, f"/admin/{path}/export.csv?{query}")
        in_table = f"'{value}" if value == target else str(value)
        assert (as_object[column], row[column]) == (value, in_table), path


def test_rows_are_read_in_pieces_in_their_order(as_root: Client, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PIECE", 3)
    Ban.objects.bulk_create(Ban(user=alice, reason=f"case {number}") for number in range(8))
    with CaptureQueriesContext(connection) as queries:
        rows = table(as_root, f"{BANS}export.csv?o=2")
    assert [row["reason"] for row in rows] == [f"case {number}" for number in range(8)]
    assert sum("LIMIT" not in query["sql"] and '"reason"' in query["sql"] for query in queries) == 3


def test_export_stands_in_the_audit_log(as_root: Client, root: User) -> None:
    fetch(as_root, f"{USERS}export.csv?q=root")
    event = AuditEvent.objects.get(action=Action.REGISTRY_EXPORT)
    assert (event.actor, event.target) == (root, "users")
    assert event.detail == {"format": "csv", "rows": 1, "query": "q=root"}


def test_second_export_waits_for_the_first(as_root: Client) -> None:
    first: Any = as_root.post(f"{USERS}export.csv")
    page = as_root.post(f"{BANS}export.json?q=x", follow=True)
    assert page.redirect_chain == [(f"{BANS}?q=x", 302)]
    assert "Another export of yours is not ready yet" in page.content.decode()
    assert b"root" in b"".join(first.streaming_content)
    assert fetch(as_root, f"{BANS}export.json") == "[\n]\n"


def test_export_needs_the_right_to_view(alice: User, as_root: Client) -> None:
    onlooker = hire("onlooker", "view_ban")
    client = sign_in_to_admin(onlooker)
    assert client.post(f"{USERS}export.csv").status_code == 403
    assert fetch(client, f"{BANS}export.csv").startswith("key,user,")
    assert client.get(f"{BANS}export.csv").status_code == 405
    assert "/admin/login/" in Client().post(f"{BANS}export.csv")["Location"]


def test_odd_filters_export_nothing(as_root: Client) -> None:
    for query in ("junk=1", "password__startswith=a", "created_at__gte=junk", f"q={'a+' * 99}"):
        response = as_root.post(f"{BANS}export.csv?{query}")
        assert response.status_code in {302, 400}, query
        assert "attachment" not in response.get("Content-Disposition", ""), query


def test_every_list_has_both_files(as_root: Client) -> None:
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        page = as_root.get(reverse(f"{name}_changelist")).content.decode()
        for kind in export.WRITERS:
            headings = exported_headings(as_root, reverse(f"{name}_export_{kind}"), kind)
            assert headings[:1] in (["key"], []), (name, kind)
            secret = {"secret", "password", "body"} | ({"digest"} - PUBLIC.get(name, set()))
            assert not secret.intersection(headings), name
            assert f'formaction="export.{kind}?' in page, name


def exported_headings(client: Client, path: str, kind: str) -> list[str]:
    text = fetch(client, path)
    rows: Any = json.loads(text) if kind == "json" else list(csv.reader(io.StringIO(text)))
    return list(rows[0]) if rows else []
