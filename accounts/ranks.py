"""Ranks: groups of staff that are ready-made, the rights of each, and the verb that sets the rank of an account.

Each start and each `manage.py migrate` keeps them as they stand here: whoever wants other rights makes a further group.
"""

from typing import Any

from django.apps import AppConfig
from django.apps import apps as all_apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import TextChoices
from django.db.models.signals import post_migrate
from django.dispatch import receiver

from accounts.models import User
from registry_site import audit
from registry_site.errors import Conflict, PermissionDenied


class Rank(TextChoices):
    """The names of the groups. Each may look at all rows."""

    SUPPORT = "support"
    CURATOR = "curator"
    SECURITY = "security"
    AUDITOR = "auditor"


# By rank: permissions beside those to look at rows. None may change accounts by the form: the owner of a changed e-mail
# address gets a link for a new password.
RIGHTS: dict[Rank, frozenset[str]] = {
    Rank.SUPPORT: frozenset(
        (
            *("accounts.ban_user", "accounts.reset_user", "accounts.add_ban", "accounts.change_ban"),
            *("accounts.change_loginfailure", "registry_site.change_outboxentry"),
        )
    ),
    Rank.CURATOR: frozenset(
        (
            *("crates.change_crate", "crates.change_version", "crates.change_ownership"),
            *("accounts.add_reservedname", "accounts.change_reservedname"),
            *("registry_site.add_announcement", "registry_site.change_announcement"),
            *("mirror.change_cachedindexfile", "mirror.change_cachedcrate", "mirror.change_incident"),
            *("mirror.add_override", "mirror.change_override", "mirror.add_allowedname", "mirror.change_allowedname"),
            *("namespaces.add_namespace", "namespaces.change_namespace", "namespaces.add_membership"),
            *("namespaces.change_membership", "namespaces.delete_membership"),
            *("packages.change_package", "packages.add_collaboration", "packages.change_collaboration"),
            *("packages.delete_collaboration", "files.add_file", "files.change_file", "files.delete_file"),
        )
    ),
    Rank.SECURITY: frozenset(
        (
            *("accounts.ban_user", "accounts.reset_user", "accounts.add_ban", "accounts.change_ban"),
            *("accounts.add_credential", "accounts.change_credential", "accounts.change_loginfailure"),
            *("crates.delete_crate", "crates.delete_version", "crates.change_crate", "crates.change_version"),
            *("mirror.change_incident", "mirror.add_override", "mirror.change_override"),
            *("files.add_client", "files.change_client", "files.change_session"),
        )
    ),
    Rank.AUDITOR: frozenset(),
}


def has_right(rank: str, app_label: str, codename: str) -> bool:
    """Return whether a rank has a permission on the rows of an app."""
    return codename.startswith("view_") or f"{app_label}.{codename}" in RIGHTS[Rank(rank)]


@receiver(post_migrate, dispatch_uid="accounts.ranks")
def keep_rights(sender: AppConfig, using: str, apps: Any = all_apps, **kwargs: Any) -> None:
    """Give each rank its permissions on the rows of an app, and take others from it."""
    try:
        groups, permissions = (apps.get_model("auth", model).objects.using(using) for model in ("Group", "Permission"))
    except LookupError:  # a migration back to before these tables
        return
    create_permissions(sender, using=using, apps=apps, verbosity=0)  # Django's own receiver may come later
    ranks = {name: groups.get_or_create(name=name)[0] for name in Rank.values}
    of_app = {row.pk: row.codename for row in permissions.filter(content_type__app_label=sender.label)}
    given_to = groups.model.permissions.through.objects.using(using)
    rows = given_to.filter(group__in=ranks.values(), permission__in=of_app)
    present = set(rows.values_list("group__name", "permission"))
    right = {(name, pk) for name in ranks for pk, codename in of_app.items() if has_right(name, sender.label, codename)}
    given_to.bulk_create([given_to.model(group=ranks[name], permission_id=pk) for name, pk in right - present])
    for name, pk in present - right:
        given_to.filter(group=ranks[name], permission=pk).delete()


def set_rank(user: User, rank: Rank | None, *, actor: User | None) -> bool:
    """Give an account a rank instead of those that it has, with the right to enter the admin site; None takes both.

    Other groups and rights stay. Return whether that changed the account. Raises `PermissionDenied` unless a superuser
    or the operator (None) sets the rank of another account, and `Conflict` for a superuser.
    """
    if actor is not None and (actor == user or not actor.is_superuser):
        raise PermissionDenied("Only superusers set the rank of others.", code="not_administrator")
    with transaction.atomic():
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if locked.is_superuser:
            raise Conflict(f"{user} is an administrator, who has every right.", code="administrator")
        former = list(locked.groups.filter(name__in=Rank.values).order_by("name"))
        names = [rank.value] if rank else []
        if [group.name for group in former] == names and locked.is_staff == bool(rank):
            return False
        locked.groups.remove(*former)
        locked.groups.add(*Group.objects.filter(name__in=names))
        User.objects.filter(pk=user.pk).update(is_staff=bool(rank))
        detail = {"former": [group.name for group in former] or "none", "rank": rank or "none"}
        audit.record(actor, audit.Action.USER_CHANGE_RANK, user, **detail)
    return True
