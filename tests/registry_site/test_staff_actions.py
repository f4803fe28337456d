"""Actions of staff: their pages, and the runs that they make."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import bans, closing
from accounts.models import Ban, Credential, LoginFailure, User
from files.models import Client as Machine
from registry_site import staff_runs
from registry_site.admin.actions import StaffAction
from registry_site.errors import Unavailable
from registry_site.http import client_address
from registry_site.models import AuditEvent, StaffRun
from tests.support.admin import FormFields, hire, open_action, run_action, sign_in_to_admin, undo_run, undo_url
from tests.support.authenticator_apps import add_app

USERS, FAILURES = "/admin/accounts/user/", "/admin/accounts/loginfailure/"
MACHINES = "/admin/files/client/"
SPAM = {"reason": "It sends spam."}


def fail_often(number: int) -> None:
    network = client_address.network_of("192.0.2.1")
    LoginFailure.objects.bulk_create(LoginFailure(name=f"n{count}", network=network) for count in range(number))


def begin(root: User, total: int) -> StaffRun:
    columns = {"model": "accounts.user", "action": "ban", "label": "Ban", "done": "banned"}
    return staff_runs.begin(uuid4(), actor=root, total=total, reason="spam", **columns)


# --- The page ------------------------------------------------------------------------------------------------------


def test_page_tells_rows_and_refusals(as_root: Client, root: User, alice: User, bob: User) -> None:
    page = open_action(as_root, USERS, "ban", root, alice, bob)
    assert "<h1>Ban: 3 users</h1>" in page
    assert "<h2>2 users</h2>" in page
    assert "<li>alice</li>\n<li>bob</li>" in page
    assert "<strong>root</strong>: Your own account is left out" in page
    assert not Ban.objects.exists()


def test_page_names_the_first_twenty_rows(as_root: Client) -> None:
    fail_often(23)
    page = open_action(as_root, FAILURES, "unlock", *LoginFailure.objects.all())
    assert (page.count("<li>n"), "<li>and 3 more</li>" in page) == (20, True)


def test_other_pages_lead_to_one_row(as_root: Client, alice: User) -> None:
    form = FormFields(as_root.get(f"{USERS}act/ban/?pk={alice.pk}").content.decode()).values
    as_root.post(f"{USERS}act/ban/", {**form, **SPAM})
    assert Ban.objects.get().user == alice


def test_refused_input_stays_in_the_form(as_root: Client, alice: User) -> None:
    form = FormFields(open_action(as_root, USERS, "ban", alice)).values
    sent = {**form, **SPAM, "until_0": "someday"}
    response = as_root.post(f"{USERS}act/ban/", sent)
    again = FormFields(response.content.decode()).values
    sent["csrfmiddlewaretoken"] = again["csrfmiddlewaretoken"]
    assert (response.status_code, {name: again[name] for name in sent}) == (400, sent)
    assert not StaffRun.objects.exists()


def test_impossible_selections_are_refused(as_root: Client, alice: User) -> None:
    cases = {
        "": "Choose rows first.",
        "?pk=junk": "The selection names a row that no list has",
        "?pk=99999": "None of the chosen rows exist any more.",
        "?undo=junk": "The form lacks the id of its run",
        f"?undo={uuid4()}": "There is no such run.",
        f"?pk={','.join(map(str, range(1001)))}": "Ban: choose at most 1,000 rows at once.",
    }
    offenders = []
    for query, message in cases.items():
        response = as_root.get(f"{USERS}act/ban/{query}", follow=True)
        if response.redirect_chain != [(USERS, 302)] or message not in response.content.decode():
            offenders.append(query)
    form = FormFields(open_action(as_root, USERS, "ban", alice)).values
    page = as_root.post(f"{USERS}act/ban/", {**form, **SPAM, "run": "junk"}, follow=True).content.decode()
    assert (offenders, "The form lacks the id of its run" in page) == ([], True)


def test_all_rows_of_a_list_are_bounded(as_root: Client, root: User, alice: User) -> None:
    fail_often(1001)
    chosen = {"action": "unlock", "select_across": "1", "_selected_action": LoginFailure.objects.all()[0].pk}
    page = as_root.post(FAILURES, chosen, follow=True).content.decode()
    assert "Unlock: choose at most 1,000 rows at once." in page
    LoginFailure.objects.all()[0].delete()
    page = as_root.post(FAILURES, chosen, follow=True).content.decode()
    as_root.post(f"{FAILURES}act/unlock/", FormFields(page).values)
    assert StaffRun.objects.get().total == 1000


def test_action_needs_its_right_and_the_list(alice: User, root: User) -> None:
    onlooker = hire("onlooker")
    client = sign_in_to_admin(onlooker)
    assert client.get(f"{USERS}act/ban/?pk={alice.pk}").status_code == 403
    assert sign_in_to_admin(root).get(f"{USERS}act/nothing/?pk={alice.pk}").status_code == 404
    assert Client().get(f"{USERS}act/ban/?pk={alice.pk}")["Location"].startswith("/admin/login/")


def test_stale_proof_leads_to_the_confirmation(as_root: Client, root: User, alice: User) -> None:
    add_app(alice)
    form = FormFields(open_action(as_root, USERS, "remove_second_factor", alice)).values
    add_app(root)
    Credential.objects.filter(user=root).update(proven_at=None)
    url = f"/admin/accounts/user/act/remove_second_factor/?pk={alice.pk}"
    chosen = {"action": "remove_second_factor", "_selected_action": [alice.pk]}
    for response in (as_root.get(url), as_root.post(USERS, chosen)):
        assert response["Location"].startswith("/account/confirm?next=%2Fadmin%2Faccounts%2Fuser%2Fact")
    page = as_root.post(f"{USERS}act/remove_second_factor/", {**form, **SPAM}).content.decode()
    assert ("Confirm in a new tab" in page, FormFields(page).values["reason"]) == (True, SPAM["reason"])
    assert alice.authenticators.count() == 1


def every_action() -> list[tuple[type[Model], StaffAction]]:
    pages: dict[Any, Any] = admin.site._registry
    return [(model, action) for model, page in pages.items() for action in getattr(page, "staff_actions", ())]


def test_names_in_the_menu_are_those_of_actions() -> None:
    offenders = []
    for model, page in admin.site._registry.items():
        actions: Any = getattr(page, "staff_actions", ())
        names = [action.name for action in actions]
        offenders += [f"{model._meta.label} {name} twice" for name in names if names.count(name) > 1]
        of_others = {f"{other._meta.label_lower} {action.name}" for other, action in every_action()}
        undone = {action.undo for action in actions if action.undo}
        offenders += [f"{model._meta.label} {name}" for name in undone - set(names) - of_others]
    assert offenders == []


# --- The run -------------------------------------------------------------------------------------------------------


def test_run_tells_its_changes(as_root: Client, alice: User, bob: User) -> None:
    bans.ban(alice, actor=None)
    page = run_action(as_root, USERS, "unban", alice, bob, reason="A mistake.")
    run = StaffRun.objects.get()
    assert (run.changed, run.unchanged, run.actor_name, run.reason) == (1, 1, "root", "A mistake.")
    assert run.ended_at is not None
    assert "1 unbanned, 1 unchanged." in page
    assert "The ban of alice was lifted." in page
    assert str(run.pk) in page
    assert list(AuditEvent.objects.filter(run=run.pk).values_list("action", "target")) == [("user.unban", "alice")]
    assert AuditEvent.objects.get(action="user.ban").run is None


def test_form_that_is_sent_twice_runs_once(as_root: Client, alice: User) -> None:
    form = {**FormFields(open_action(as_root, USERS, "ban", alice)).values, **SPAM}
    first, second = (as_root.post(f"{USERS}act/ban/", form) for _ in range(2))
    assert first["Location"] == second["Location"] == f"/admin/registry_site/staffrun/{form['run']}/"
    assert (StaffRun.objects.count(), Ban.objects.count()) == (1, 1)
    assert "This form was sent before" in as_root.get(second["Location"]).content.decode()


def test_run_key_counts_in_any_spelling(as_root: Client, alice: User) -> None:
    form = {**FormFields(open_action(as_root, USERS, "ban", alice)).values, **SPAM}
    spellings = (form["run"], form["run"].upper(), form["run"].replace("-", ""))
    pages = {as_root.post(f"{USERS}act/ban/", {**form, "run": run})["Location"] for run in spellings}
    assert (pages, StaffRun.objects.count()) == ({f"/admin/registry_site/staffrun/{form['run']}/"}, 1)


def test_failures_stop_no_other_row(root: User, alice: User, bob: User, charlie: User) -> None:
    failures = {"alice": Unavailable("The disk is full."), "bob": RuntimeError("a fault")}

    def change(user: User) -> bool:
        if user.username in failures:
            raise failures[user.username]
        return bool(bans.ban(user, actor=root))

    run = begin(root, 4)
    staff_runs.change_rows(run, [alice, bob, root, charlie], change, {root.pk: "It is you."})
    run.refresh_from_db()
    assert (run.changed, run.failed, run.refused) == (1, 2, 1)
    assert run.problems == [
        ["failed", "alice", "The disk is full."],
        ["failed", "bob", "The registry failed; the log has the reason."],
        ["refused", "root", "It is you."],
    ]
    assert Ban.objects.get().user == charlie


def test_killed_run_tells_how_far_it_came(as_root: Client, root: User, alice: User, bob: User) -> None:
    def change(user: User) -> bool:
        if user == bob:
            raise SystemExit
        return bool(bans.ban(user, actor=root))

    run = begin(root, 2)
    with pytest.raises(SystemExit):
        staff_runs.change_rows(run, [alice, bob], change, {})
    page = as_root.get(f"/admin/registry_site/staffrun/{run.pk}/").content.decode()
    assert "it was cut off. 1 change of 2 chosen rows is recorded below" in page
    assert "The account alice was banned." in page
    bans.ban(bob, actor=root)  # the id of the run has ended with it
    assert AuditEvent.objects.get(action="user.ban", target="bob").run is None


def test_run_is_undone_by_its_id(as_root: Client, alice: User, bob: User, charlie: User) -> None:
    bans.ban(charlie, actor=None)
    run_action(as_root, USERS, "ban", alice, bob, **SPAM)
    run = StaffRun.objects.get()
    path = f"/admin/registry_site/staffrun/{run.pk}/"
    undo = f"/admin/accounts/user/act/undo_ban/?undo={run.pk}"
    assert f'href="{undo}">Undo</a>' in as_root.get(path).content.decode()
    page = as_root.get(undo).content.decode()
    assert "This undoes the run “Ban”" in page
    as_root.post(f"{USERS}act/undo_ban/", FormFields(page).values)
    assert [ban.user.username for ban in Ban.objects.in_force()] == ["charlie"]
    assert StaffRun.objects.get(undoes=run).changed == 2
    assert "Undone by" in as_root.get(path).content.decode()


def test_undoing_acts_on_the_rows_of_the_run(as_root: Client, alice: User, bob: User) -> None:
    bans.ban(bob, actor=None)
    run_action(as_root, USERS, "ban", alice, **SPAM)
    undo = {"undo": StaffRun.objects.get().pk, "pk": bob.pk, "run": uuid4()}
    as_root.post(f"{USERS}act/undo_ban/", undo)
    assert [ban.user.username for ban in Ban.objects.in_force()] == ["bob"]


def test_undoing_a_ban_puts_the_former_back(as_root: Client, alice: User) -> None:
    former = bans.ban(alice, actor=None, reason="spam", until=timezone.now() + timedelta(days=3))
    run_action(as_root, USERS, "ban", alice, reason="More spam.")
    undo_run(as_root)
    (ban,) = Ban.objects.in_force()
    assert (ban.pk, ban.reason, ban.until) == (former.pk, "spam", former.until)


def test_undoing_an_end_restores_the_ban(as_root: Client, alice: User) -> None:
    ban = bans.ban(alice, actor=None)
    for path, action, row in ((USERS, "unban", alice), (f"{USERS[:-5]}ban/", "lift", ban)):
        run_action(as_root, path, action, row)
        undo_run(as_root)
        assert [row.pk for row in Ban.objects.in_force()] == [ban.pk], action


def test_undoing_leaves_what_has_changed_since(as_root: Client, root: User, alice: User, bob: User) -> None:
    run_action(as_root, USERS, "ban", alice, bob, **SPAM)
    anew = bans.ban(alice, actor=root, reason="It steals.")
    run = StaffRun.objects.get()
    page = as_root.get(f"{USERS}act/undo_ban/?undo={run.pk}").content.decode()
    assert "Since then: The account alice was banned. By root, " in page
    page = undo_run(as_root)
    assert ("1 as before, 1 refused." in page, "alice was banned anew" in page) == (True, True)
    assert list(Ban.objects.in_force()) == [anew]


def test_changes_during_a_run_are_later_ones(as_root: Client, root: User, alice: User, bob: User) -> None:
    def change(user: User) -> bool:
        return bool(bans.ban(user, actor=root))

    run = begin(root, 2)
    staff_runs.change_rows(run, [alice], change, {})
    bans.ban(alice, actor=root)
    staff_runs.change_rows(run, [bob], change, {})
    page = as_root.get(f"{USERS}act/undo_ban/?undo={run.pk}").content.decode()
    assert "Since then: The account alice was banned. By root, " in page
    assert "Since then: The account bob" not in page


def test_events_since_a_run_need_their_right(as_root: Client, root: User, alice: User) -> None:
    run_action(as_root, USERS, "ban", alice, **SPAM)
    bans.unban(alice, actor=root)
    url = undo_url(as_root, StaffRun.objects.get())
    users = hire("auditor", "view_user", "ban_user", "view_auditevent"), hire("supporter", "view_user", "ban_user")
    pages = [sign_in_to_admin(user).get(url).content.decode() for user in users]
    assert ["Since then: The ban of alice was lifted." in page for page in pages] == [True, False]
    assert "<li>alice" in pages[1]


def test_bans_without_their_key_are_not_undone(as_root: Client, alice: User) -> None:
    for action in ("ban", "unban"):
        run_action(as_root, USERS, action, alice, **SPAM)
        bans_before = list(Ban.objects.in_force())
        AuditEvent.objects.update(detail={})  # as an older release recorded them
        assert "This run is too old to be undone" in undo_run(as_root), action
        assert list(Ban.objects.in_force()) == bans_before, action


def test_what_was_done_anew_is_not_undone(as_root: Client, root: User, alice: User, bob: User) -> None:
    run_action(as_root, USERS, "close", alice, bob, **SPAM)
    closing.reopen(alice, actor=root)
    closing.close_as_staff(alice, reason="It spreads malware.", actor=root)
    run = StaffRun.objects.get()
    assert f"<strong>alice</strong>: {staff_runs.DONE_ANEW}" in as_root.get(undo_url(as_root, run)).content.decode()
    assert f"<strong>alice</strong> (refused): {staff_runs.DONE_ANEW}" in undo_run(as_root)
    assert list(User.objects.filter(is_active=False)) == [alice]


def test_undoing_names_rows_that_are_gone(as_root: Client, alice: User, bob: User) -> None:
    run_action(as_root, USERS, "ban", alice, bob, **SPAM)
    AuditEvent.objects.filter(target="bob").update(object_id=99_999)
    run = StaffRun.objects.get()
    assert "<strong>bob</strong>: It does not exist" in as_root.get(undo_url(as_root, run)).content.decode()
    assert "<strong>bob</strong> (refused): It does not exist any more." in undo_run(as_root)


def test_nothing_left_to_undo_is_said(as_root: Client) -> None:
    machine = Machine.objects.create(name="harwich")
    run_action(as_root, MACHINES, "disable", machine)
    run_action(as_root, MACHINES, "enable", machine)
    undone = StaffRun.objects.get(action="disable")
    assert "Nothing is left to undo: it was changed since." in undo_run(as_root, undone)


def test_undoing_is_in_no_menu(as_root: Client, alice: User) -> None:
    bans.ban(alice, actor=None)
    assert "undo_ban" not in as_root.get(USERS).content.decode()
    assert "undo_ban" not in as_root.get(f"{USERS}{alice.pk}/").content.decode()
    page = as_root.get(f"{USERS}act/undo_ban/?pk={alice.pk}", follow=True).content.decode()
    assert "This only undoes runs" in page


def test_only_the_inverse_undoes_a_run(as_root: Client, alice: User) -> None:
    run_action(as_root, USERS, "ban", alice, **SPAM)
    run = StaffRun.objects.get()
    form = {"undo": run.pk, "pk": alice.pk, "run": uuid4()}
    page = as_root.post(f"{USERS}act/revoke_tokens/", form, follow=True).content.decode()
    assert ("This action does not undo that run." in page, run.undone_by.exists()) == (True, False)


def test_junk_in_place_of_a_run_leads_on(as_root: Client) -> None:
    response = as_root.get("/admin/registry_site/staffrun/junk/change/")
    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_runs_are_for_their_actors_and_auditors(as_root: Client, alice: User) -> None:
    run_action(as_root, USERS, "ban", alice, **SPAM)
    run = StaffRun.objects.get()
    onlooker = hire("onlooker")
    client, path = sign_in_to_admin(onlooker), f"/admin/registry_site/staffrun/{run.pk}/"
    assert (client.get(path).status_code, as_root.get(path).status_code) == (403, 200)
    StaffRun.objects.update(actor=onlooker)
    assert client.get(path).status_code == 200
    assert as_root.get(f"/admin/registry_site/staffrun/{run.pk}/change/")["Location"] == path
    assert as_root.get("/admin/registry_site/staffrun/").status_code == 200


def test_rank_over_many_accounts_needs_few_queries(as_root: Client, alice: User, bob: User, charlie: User) -> None:
    counts = []
    for users in ([alice], [alice, bob, charlie]):
        keys = ",".join(str(bans.ban(user, actor=None).pk) for user in users)
        with CaptureQueriesContext(connection) as queries:
            as_root.get(f"/admin/accounts/ban/act/lift/?pk={keys}")
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_pages_need_few_queries(
    as_root: Client, alice: User, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    fail_often(1000)
    chosen = {"action": "unlock", "select_across": "1", "_selected_action": LoginFailure.objects.all()[0].pk}
    with django_assert_max_num_queries(12):
        as_root.post(FAILURES, chosen)
    run = begin(alice, 200)
    of_run = {"action": "user.ban", "object_type": "accounts.user", "object_id": 1, "run": run.pk}
    AuditEvent.objects.bulk_create(AuditEvent(target=f"n{number}", **of_run) for number in range(200))
    with django_assert_max_num_queries(12):
        page = as_root.get(f"/admin/registry_site/staffrun/{run.pk}/?page=2").content.decode()
    assert "Page 2 of 2" in page
