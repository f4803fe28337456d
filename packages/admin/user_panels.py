"""What the page of a user in the admin site shows of namespaces and packages, and what was published in these."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, OuterRef, QuerySet, Subquery, Sum, TextField, Value
from django.db.models.functions import Cast, Coalesce, Concat
from django.http import HttpRequest

from accounts.models import User
from namespaces.models import Membership, Namespace, Role
from packages.models import Collaboration, Package, Release
from registry_site.admin.object_pages import (
    MAX_ROWS,
    CountedFact,
    Link,
    Panel,
    add_fact,
    add_panel,
    list_url,
    object_url,
    panel_of,
)
from registry_site.templatetags import figures
from registry_site.unions import first_rows


@dataclass(frozen=True)
class OwnRole:
    """A role of a user in a namespace or a package, which is its subject."""

    subject_type: str
    subject_id: int
    name: str
    role: str
    added_by: str
    added_at: datetime
    removed_at: datetime | None


COLUMNS = {
    "Name": lambda row: Link(row.name, object_url(row.subject_type, row.subject_id)),
    "Role": lambda row: Role(row.role).label,
    "Since": lambda row: row.added_at,
    "By": lambda row: row.added_by,
    "In the trash since": lambda row: row.removed_at,
}


def role_panels(request: HttpRequest, user: User) -> Iterator[Panel]:
    """Yield the namespaces and the packages of a user, which one query reads."""
    namespaces = select_roles(Membership, user, Namespace, F("namespace__name"))
    name = Concat("package__namespace__name", Value("/"), "package__name")
    roles = [OwnRole(*row) for row in namespaces.union(select_roles(Collaboration, user, Package, name), all=True)]
    roles.sort(key=lambda row: row.name)
    for title, model in (("Namespaces", Namespace), ("Packages", Package)):
        rows = [row for row in roles if row.subject_type == model._meta.label_lower]
        more = Link(f"{title} named after the user", list_url(model, q=user.username))
        yield panel_of(title, COLUMNS, rows, more=more)


def select_roles(assignments: Any, user: User, subject: Any, name: Any) -> QuerySet[Any]:
    """Select the columns of `OwnRole`, of the newest roles of a user."""
    newest = first_rows(assignments.objects.filter(user=user).order_by("-pk"), MAX_ROWS + 1)
    field = assignments.subject_field
    columns = {
        "subject_type": Value(subject._meta.label_lower, TextField()),
        "subject_key": F(f"{field}_id"),
        "subject_name": Cast(name, TextField()),
        "own_role": F("role"),
        "giver": Coalesce("added_by__username", Value("")),
        "given_at": F("added_at"),
        "trashed_at": F(f"{field}__removed_at"),
    }
    roles: QuerySet[Any] = newest.annotate(**columns).values_list(*columns)
    return roles


def stored_releases() -> dict[str, Any]:
    """Return the number of releases that a user has published, and the bytes of their archives."""
    published = Release.objects.filter(publisher=OuterRef("pk")).order_by().values("publisher")
    return {
        "release_number": Coalesce(Subquery(published.annotate(number=Count("pk")).values("number")), 0),
        "release_bytes": Coalesce(Subquery(published.annotate(bytes=Sum("size")).values("bytes")), 0),
    }


def show_releases(user: Any) -> str:
    return f"{figures.size(user.release_bytes)} in {figures.counted(user.release_number, 'release')} of packages"


add_panel(User, Membership, role_panels)
add_fact(User, CountedFact("Stored in packages", stored_releases, show_releases))
