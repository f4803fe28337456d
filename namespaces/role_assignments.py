"""Roles in a namespace or a package: add, change and remove them, and keep at least one owner.

Members of namespaces and collaborators of packages share these rules; `RoleAssignment` is the base of both models.
The caller has locked the subject, a namespace or a package, and decides who may give which role.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Case, Model, QuerySet, When

from accounts import names as account_names
from accounts.models import User
from namespaces.models import Role, RoleAssignment
from namespaces.signals import role_removed
from registry_site import audit
from registry_site.errors import Conflict, Invalid, NotFound
from registry_site.models import AuditEvent

MAX_NEW_ROLES = 50  # keeps the transaction, and its locks, short

Assignment = TypeVar("Assignment", bound=RoleAssignment)


@dataclass(frozen=True)
class NewRole:
    """An account, and the role that it receives."""

    username: str
    role: Role


def add(model: type[RoleAssignment], subject: Model, new_roles: Sequence[NewRole], *, actor: User) -> None:
    """Give several accounts a role in `subject`, all or none.

    Raises `Invalid` for an unknown or closed account, and `Conflict` for an account that has a role already.
    """
    users = open_accounts([new_role.username for new_role in new_roles])
    if model.in_subject(subject).filter(user__in=users).exists():
        raise Conflict(f"One of them is a {model.noun} already.", code=f"already_{model.noun}")
    model._default_manager.bulk_create(
        model(**{model.subject_field: subject}, user=user, role=new_role.role, added_by=actor)
        for user, new_role in zip(users, new_roles, strict=True)
    )
    added = {new_role.username: new_role.role.value for new_role in new_roles}
    action = audit.Action(f"{model.subject_field}.add_{model.noun}s")
    audit.record(actor, action, subject, **{f"{model.noun}s": added})


def owners_first(model: type[Assignment], subject: Model) -> QuerySet[Assignment]:
    """Select the owners, then all others, each group in the order of joining, with their users."""
    return model.in_subject(subject).order_by(Case(When(role=Role.OWNER, then=0), default=1), "pk")


def get(model: type[Assignment], subject: Model, username: str) -> Assignment:
    """Return the assignment of one account; raises `NotFound`."""
    name = account_names.canonical(username)
    assignment = model.in_subject(subject).filter(user__reservation__name=name).first()
    if assignment is None:
        raise NotFound(f"{username[:80]!r} is no {model.noun} of {subject}.", code=f"{model.noun}_missing")
    setattr(assignment, model.subject_field, subject)  # the locked row instead of a second copy
    return assignment


def change_role(assignment: RoleAssignment, role: Role, *, actor: User) -> None:
    """Give an account another role; raises `Conflict` if no open account would be left as owner."""
    was_owner = assignment.role == Role.OWNER
    assignment.role = role
    assignment.save(update_fields=["role"])
    if was_owner:
        require_owner(type(assignment), assignment.subject)
    _record(actor, "change_role", assignment, role=role.value)


def remove(assignment: RoleAssignment, *, actor: User) -> None:
    """Remove an account and announce it; raises `Conflict` if no open account would be left as owner."""
    _delete(assignment, actor=actor)
    role_removed.send(sender=type(assignment), assignment=assignment, actor=actor)


def set_by_staff(
    model: type[RoleAssignment],
    subject: Model,
    saved: Sequence[RoleAssignment],
    removed: Sequence[RoleAssignment],
    *,
    actor: User,
) -> None:
    """Save new and changed assignments, then remove others, without a check of ranks.

    Raises `Conflict` if no open account would be left as owner.
    """
    keys = [assignment.pk for assignment in saved if assignment.pk]
    former_roles = dict(model.in_subject(subject).filter(pk__in=keys).values_list("pk", "role"))
    for assignment in saved:
        action = "change_role" if assignment.pk else f"add_{assignment.noun}"
        of_undo = {"former": former_roles.get(assignment.pk, ""), "user_id": assignment.user_id}
        assignment.added_by = assignment.added_by or actor
        assignment.save()
        _record(actor, action, assignment, role=assignment.role, **of_undo)
    for assignment in removed:
        remove(assignment, actor=actor)
    require_owner(model, subject)


def give_by_staff(model: type[RoleAssignment], subject: Model, user: User, role: Role, *, actor: User) -> bool:
    """Give an account this role, whether it has another one or none; return False if it has the role already.

    Raises `Invalid` for a closed account without a role, and `Conflict` if no open account would be left as owner.
    """
    assignment = model.in_subject(subject).filter(user=user).first()
    if assignment is None:
        open_accounts([user.username])
        assignment = model(**{model.subject_field: subject}, user=user)
    elif assignment.role == role:
        return False
    assignment.role = role
    set_by_staff(model, subject, [assignment], [], actor=actor)
    return True


def undo_by_staff(model: type[RoleAssignment], subject: Model, events: Sequence[AuditEvent], *, actor: User) -> bool:
    """Undo roles that staff have given in `subject`, by their events; raises `Conflict` if one has changed since.

    Nothing else changes: roles in packages and invitations stay, as the run has made none.
    """
    changes = {event.detail["user_id"]: event.detail for event in events if "former" in event.detail}
    rows = {row.user_id: row for row in model.in_subject(subject).filter(user__in=changes).select_related("user")}
    for key, change in changes.items():
        if key not in rows or rows[key].role != change["role"]:
            raise Conflict(f"The role of {change[model.noun]} in {subject} has changed since.")
    saved = [rows[key] for key, change in changes.items() if change["former"]]
    removed = [rows[key] for key, change in changes.items() if not change["former"]]
    for row in saved:
        row.role = Role(changes[row.user_id]["former"])
    set_by_staff(model, subject, saved, [], actor=actor)
    for row in removed:
        _delete(row, actor=actor)  # without `role_removed`, whose receivers end what the account had before, too
    return bool(changes)


def require_owner(model: type[RoleAssignment], subject: Model) -> None:
    """Raise `Conflict` if no open account owns `subject`.

    Called after the change: the transaction that holds the lock on `subject` is rolled back. A banned or closed owner
    does not count, as that account could not let anybody in.
    """
    owners = model.in_subject(subject).filter(role=Role.OWNER, user__in=User.objects.in_good_standing())
    if not owners.exists():
        raise Conflict(f"{subject} would be left without an owner; make somebody else one first.", code="last_owner")


def open_accounts(usernames: Sequence[str]) -> list[User]:
    """Return the open accounts of these names in their order.

    Raises `Invalid` for a name without an open account, for one that stands twice, and for none or too many names.
    """
    if not 0 < len(usernames) <= MAX_NEW_ROLES:
        raise Invalid(f"Name 1 to {MAX_NEW_ROLES} accounts.")
    names = [account_names.canonical(username) for username in usernames]
    users = User.objects.in_good_standing().filter(reservation__name__in=names).select_related("reservation")
    user_by_name = {user.reservation.name: user for user in users}
    if unknown := [name for name in names if name not in user_by_name]:
        raise Invalid(f"There is no open account {unknown[0][:80]!r}.", code="user_missing")
    if len(user_by_name) < len(names):
        raise Invalid("An account is named twice.")
    return [user_by_name[name] for name in names]


def _delete(assignment: RoleAssignment, *, actor: User) -> None:
    assignment.delete()
    if assignment.role == Role.OWNER:
        require_owner(type(assignment), assignment.subject)
    _record(actor, f"remove_{assignment.noun}", assignment)


def _record(actor: User, action: str, assignment: RoleAssignment, **detail: str | int) -> None:
    audit.record(
        actor,
        audit.Action(f"{assignment.subject_field}.{action}"),
        assignment.subject,
        **{assignment.noun: str(assignment.user)},
        **detail,
    )
