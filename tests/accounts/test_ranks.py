"""Ranks of staff: ready-made groups, and the rights of each."""

from collections.abc import Iterator
from io import StringIO

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts import registration, roles
from accounts.models import Role, User
from accounts.ranks import RIGHTS, Rank, keep_rights, set_rank
from registry_site.errors import Conflict, PermissionDenied
from tests.support.admin import run_action
from tests.support.cast import PASSWORD
from tests.support.migrations import migrate

pytestmark = pytest.mark.django_db

GROUPS = "/admin/auth/group/"


def names_of(permissions: Iterator[Permission]) -> set[str]:
    return {f"{permission.content_type.app_label}.{permission.codename}" for permission in permissions}


def rights_of(rank: Rank) -> set[str]:
    return names_of(Group.objects.get(name=rank).permissions.select_related("content_type").iterator())


def keep_all() -> None:
    for app in apps.get_app_configs():
        keep_rights(sender=app, using="default", apps=apps)


def test_each_rank_has_its_rights() -> None:
    looks = names_of(Permission.objects.filter(codename__startswith="view_").select_related("content_type").iterator())
    assert [rank for rank in Rank if rights_of(rank) != looks | RIGHTS[rank]] == []


def test_start_mends_the_rights_of_ranks() -> None:
    support = Group.objects.get(name=Rank.SUPPORT)
    support.permissions.remove(Permission.objects.get(codename="ban_user"))
    support.permissions.add(Permission.objects.get(codename="delete_crate"))
    Group.objects.get(name=Rank.AUDITOR).delete()
    before = {rank: rights_of(rank) for rank in (Rank.CURATOR, Rank.SECURITY)}
    keep_all()
    assert {rank: rights_of(rank) for rank in before} == before
    assert {"accounts.ban_user", "crates.delete_crate"} & rights_of(Rank.SUPPORT) == {"accounts.ban_user"}
    assert rights_of(Rank.AUDITOR) == {right for right in rights_of(Rank.CURATOR) if ".view_" in right}


def test_rank_replaces_another_one(alice: User, root: User) -> None:
    own = Group.objects.create(name="own")
    alice.groups.add(own)
    for rank in (Rank.SUPPORT, Rank.SECURITY):
        assert set_rank(alice, rank, actor=root)
    assert not set_rank(alice, Rank.SECURITY, actor=root)
    alice.refresh_from_db()
    assert (sorted(alice.groups.values_list("name", flat=True)), alice.is_staff) == (["own", "security"], True)
    assert set_rank(alice, None, actor=root)
    alice.refresh_from_db()
    assert (list(alice.groups.all()), alice.is_staff) == ([own], False)


def test_only_superusers_set_ranks(alice: User, bob: User, root: User) -> None:
    roles.grant(alice, Role.SYSTEM_ADMIN, actor=None)
    for actor, user in ((alice, bob), (alice, alice), (root, root)):
        with pytest.raises(PermissionDenied):
            set_rank(user, Rank.SUPPORT, actor=actor)
    with pytest.raises(Conflict):
        set_rank(root, Rank.SUPPORT, actor=None)
    assert not User.objects.filter(groups__name__in=Rank.values).exists()


def test_action_refuses_ranks_of_administrators(as_root: Client, root: User) -> None:
    registration.register("other", PASSWORD, admin=True)
    for name, words in (("other", "An administrator has every right."), ("root", "by another administrator")):
        user = User.objects.get(username=name)
        assert words in run_action(as_root, "/admin/accounts/user/", "set_rank", user, rank="support"), name
        assert not user.groups.exists(), name


def test_action_takes_no_rank_unasked(as_root: Client, alice: User, root: User) -> None:
    set_rank(alice, Rank.SUPPORT, actor=root)
    for fields, names in (({}, ["support"]), ({"rank": "none"}, [])):
        run_action(as_root, "/admin/accounts/user/", "set_rank", alice, **fields)
        assert list(alice.groups.values_list("name", flat=True)) == names, fields


def test_createuser_gives_a_rank() -> None:
    call_command("createuser", "dora", "--rank", "curator", password=PASSWORD, stdout=StringIO())
    assert User.objects.get(is_staff=True, groups__name="curator").username == "dora"
    with pytest.raises(CommandError, match="every right"):
        call_command("createuser", "emil", "--rank", "curator", "--admin", password=PASSWORD, stdout=StringIO())
    assert not User.objects.filter(username="emil").exists()


def test_ready_made_groups_are_not_changed(as_root: Client) -> None:
    group = Group.objects.get(name=Rank.SUPPORT)
    assert as_root.get(f"{GROUPS}{group.pk}/change/").status_code == 200
    for path in (f"{group.pk}/change/", f"{group.pk}/delete/"):
        assert as_root.post(f"{GROUPS}{path}", {"name": "others", "post": "yes"}).status_code == 403, path
    selected = {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
    as_root.post(GROUPS, selected)
    assert Group.objects.filter(name=Rank.SUPPORT).exists()


@pytest.mark.django_db(transaction=True)
def test_own_groups_of_these_names_are_renamed() -> None:
    before = migrate(("accounts", "0023_invitation_choice"))
    before.get_model("auth", "Group").objects.all().delete()
    before.get_model("auth", "Permission").objects.filter(codename="ban_user").delete()
    own = before.get_model("auth", "Group").objects.create(name="support")
    user = before.get_model("accounts", "User").objects.create(
        username="dora", reservation=before.get_model("accounts", "NameReservation").objects.create(name="dora")
    )
    user.groups.add(own.pk)
    migrate()
    keep_all()
    assert list(User.objects.get(username="dora").groups.values_list("name", flat=True)) == ["support (own)"]
    assert Group.objects.get(name="support").pk != own.pk


def test_permissions_of_staff_cost_one_query(alice: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    alice.groups.add(Group.objects.get(name=Rank.SUPPORT))
    alice.user_permissions.add(Permission.objects.get(codename="delete_crate"))
    with django_assert_num_queries(1):
        assert alice.has_perms(["accounts.ban_user", "crates.delete_crate", "crates.view_crate"])
        assert not alice.has_perm("crates.delete_version")


def test_closed_accounts_have_no_permissions(alice: User, root: User) -> None:
    alice.groups.add(Group.objects.get(name=Rank.SUPPORT))
    User.objects.update(is_active=False)
    users = User.objects.filter(pk__in=(alice.pk, root.pk))
    assert [user.get_all_permissions() for user in users] == [set(), set()]
