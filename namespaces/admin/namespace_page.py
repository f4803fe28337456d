"""The page of a namespace in the admin site: whether anybody can use it, members and invitations."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from accounts.models import good_standing
from namespaces import role_assignments
from namespaces.models import MemberInvitation, Membership, Namespace, Role, RoleAssignment, RoleInvitation
from registry_site.admin.object_pages import (
    MAX_ROWS,
    Description,
    Fact,
    Link,
    Panel,
    link_to,
    list_url,
    may_view,
    object_url,
    panel_of,
    trash_fact,
)


def page_queryset() -> QuerySet[Namespace]:
    """Select the namespaces with the number of their members, and whether one of their owners can let others in."""
    members = Membership.objects.filter(namespace=OuterRef("pk")).order_by()
    number = members.values("namespace").annotate(number=Count("pk")).values("number")
    owners = members.filter(good_standing("user__"), role=Role.OWNER)
    namespaces: QuerySet[Namespace] = Namespace.objects.select_related("user").annotate(
        member_count=Coalesce(Subquery(number), 0), has_owner=Exists(owners)
    )
    return namespaces


def describe(request: HttpRequest, namespace: Any) -> Description:
    return Description(list(facts_of(namespace)), list(panels_of(request, namespace)))


def facts_of(namespace: Any) -> Iterator[Fact]:
    if namespace.removed_at:
        yield trash_fact(namespace.removed_at)
    if not namespace.has_owner:
        yield Fact("No owner", "No owner has an open account: nobody can let others in. Make somebody owner.", "bad")
    if not namespace.removed_at and namespace.has_owner:
        yield Fact("Standing", "In use.", "good")
    yield Fact("Kind", "personal" if namespace.user_id else "shared")
    if namespace.user_id:
        yield Fact("User", link_to(namespace.user))
    yield Fact("Members", namespace.member_count)
    yield Fact("Made", namespace.created_at)


def panels_of(request: HttpRequest, namespace: Namespace) -> Iterator[Panel]:
    if may_view(request, Membership):
        yield role_panel("Members", Membership, namespace)
    if may_view(request, MemberInvitation):
        yield invitation_panel(MemberInvitation, namespace)


def role_panel(title: str, model: type[RoleAssignment], subject: Namespace | Any) -> Panel:
    """Return the users with a role in a namespace or a package, owners first."""
    rows = role_assignments.owners_first(model, subject).select_related("added_by")
    rows = rows.annotate(is_open=good_standing("user__"))
    return panel_of(
        title,
        {
            "User": lambda row: link_to(row.user),
            "Role": lambda row: Link(row.get_role_display(), object_url(model, row.pk)),
            "Since": lambda row: row.added_at,
            "By": lambda row: link_to(row.added_by),
            "Account": lambda row: "open" if row.is_open else "closed or banned",
        },
        rows[: MAX_ROWS + 1],
        more=Link(f"All {title.lower()}", list_url(model, **{model.subject_field: str(subject.pk)})),
    )


def invitation_panel(model: type[RoleInvitation], subject: Any) -> Panel:
    """Return the newest invitations to a namespace or a package."""
    rows = model.in_subject(subject).select_related("inviter").order_by("-pk")
    return panel_of(
        "Invitations",
        {
            "User": lambda row: link_to(row.user),
            "Role": lambda row: row.get_role_display(),
            "Invited": lambda row: row.invited_at,
            "By": lambda row: link_to(row.inviter),
            "Ends": lambda row: row.ends_at,
            "Declined": lambda row: row.declined_at,
        },
        rows[: MAX_ROWS + 1],
        more=Link("All invitations", list_url(model)),
        order="newest",
    )
