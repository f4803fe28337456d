"""Invitations to namespaces and packages: a person becomes a member or a collaborator only by accepting one.

yapkg's API adds members at once, as its document has it; the forms of our pages invite. Rank and state are checked
twice: when an invitation is made, and when it is accepted, for the inviter may have lost the right in between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.dispatch import receiver
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from accounts.second_factor import proofs
from namespaces import membership, role_assignments
from namespaces.models import MemberInvitation, Membership, Namespace, Role, RoleAssignment, RoleInvitation
from namespaces.signals import role_removed
from registry_site import audit
from registry_site.errors import Conflict, NotFound, PermissionDenied, RegistryError
from registry_site.models import AuditEvent
from registry_site.rate_limits import RateLimit
from registry_site.signals import purge_requested

LIFETIME = timedelta(days=30)
PAUSE_AFTER_DECLINE = timedelta(days=30)
MAX_OPEN = 100  # to one subject, and in the list of one account

INVITE_ACTIONS = (audit.Action.NAMESPACE_INVITE, audit.Action.PACKAGE_INVITE)


@dataclass(frozen=True)
class RoleKind:
    """What differs between roles in namespaces and in packages: the models, and the verbs of the room."""

    assignments: type[RoleAssignment]
    invitations: type[RoleInvitation]
    abilities: Mapping[Role, str]  # sentences about what each role may do
    present: Q  # the condition that the subject of an invitation is not in the trash
    related: tuple[str, ...]  # what a list of invitations shows of their subjects
    deferred: tuple[str, ...]  # large columns of these
    lock_named: Callable[..., Any]  # a principal, and the names of a subject → the subject, locked
    lock: Callable[[Any], Any]  # a subject → its current row, locked
    givable_roles: Callable[[Any, User | None], Sequence[Role]]  # in a subject, by a user
    change_role: Callable[..., RoleAssignment]  # a principal, the names of a subject, a user name, a role
    remove: Callable[..., None]  # a principal, the names of a subject, a user name

    @property
    def subject_field(self) -> str:
        return self.invitations.subject_field

    @property
    def noun(self) -> str:
        return self.assignments.noun


def invite(kind: RoleKind, principal: Principal, names: Sequence[str], username: str, role: Role) -> RoleInvitation:
    """Invite an account to the subject of these names, or renew its invitation with this role.

    Raises `NotFound`, `PermissionDenied` if the principal may not give the role, `Invalid` for an unknown or closed
    account, `Conflict` for one that has a role already or has declined lately and for too many open invitations,
    `TooManyRequests` and `ConfirmationRequired`.
    """
    principal.require(Scope.MANAGE)
    proofs.require_recent(principal)
    with transaction.atomic():
        subject = kind.lock_named(principal, *names)
        _require_givable(kind, subject, principal.user, role)
        [user] = role_assignments.open_accounts([username])
        if kind.assignments.in_subject(subject).filter(user=user).exists():
            raise Conflict(f"{user} is a {kind.noun} of {subject} already.", code=f"already_{kind.noun}")
        _require_no_refusal(kind, subject, user)
        if open_in_subject(kind, subject).exclude(user=user).count() >= MAX_OPEN:
            raise Conflict(
                f"{subject} has {MAX_OPEN} open invitations; withdraw one, or wait for an answer.",
                code="too_many_invitations",
            )
        _check_rate(principal.user)
        now = timezone.now()
        invitation, _ = kind.invitations._default_manager.update_or_create(
            **{kind.subject_field: subject},
            user=user,
            defaults={
                "role": role,
                "inviter": principal.user,
                "invited_at": now,
                "ends_at": now + LIFETIME,
                "declined_at": None,
            },
        )
        _record(kind, principal.user, "invite", invitation, subject)
    return invitation


def withdraw(kind: RoleKind, principal: Principal, names: Sequence[str], key: int) -> RoleInvitation:
    """Withdraw an open invitation to the subject of these names.

    Raises `NotFound`, and `PermissionDenied` if the principal may not take the role.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        subject = kind.lock_named(principal, *names)
        invitation = open_in_subject(kind, subject).filter(pk=key).first()
        if invitation is None:
            raise no_such_invitation()
        _require_givable(kind, subject, principal.user, Role(invitation.role))
        invitation.delete()
        _record(kind, principal.user, "withdraw", invitation, subject)
    return invitation


def change_role(
    kind: RoleKind, principal: Principal, names: Sequence[str], username: str, role: Role
) -> RoleAssignment:
    """Give an account another role, like the API, but with a fresh proof. Raises what the verb of the kind raises."""
    proofs.require_recent(principal)
    return kind.change_role(principal, *names, username, role)


def remove(kind: RoleKind, principal: Principal, names: Sequence[str], username: str) -> None:
    """Remove an account, like the API, but with a fresh proof. Raises what the verb of the kind raises."""
    proofs.require_recent(principal)
    kind.remove(principal, *names, username)


def accept(kind: RoleKind, principal: Principal, key: int, role: str) -> RoleInvitation:
    """Give the principal the role of an own invitation; `role` is the one that the principal has seen there.

    Raises `NotFound` for an invitation that was withdrawn or has ended, `PermissionDenied` if the inviter may no longer
    give the role, which ends the invitation, and `Conflict` for another role and for somebody who has one already.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        invitation = _lock_own(kind, principal, key)
        if invitation.role != role:
            raise Conflict(
                f"The invitation is now for the role {Role(invitation.role).label}: read it again.", code="role_changed"
            )
        refusal = _refusal(kind, invitation)
        invitation.delete()
        if refusal is None:
            kind.assignments._default_manager.create(
                **{kind.subject_field: invitation.subject},
                user=principal.user,
                role=invitation.role,
                added_by=invitation.inviter,
            )
        action = "accept" if refusal is None else "withdraw"
        _record(kind, principal.user, action, invitation, invitation.subject)
    if refusal is not None:  # after the commit: a void invitation stays deleted
        raise refusal
    return invitation


def decline(kind: RoleKind, principal: Principal, key: int) -> RoleInvitation:
    """Decline an own invitation; raises `NotFound` for one that was withdrawn or has ended."""
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        invitation = _lock_own(kind, principal, key)
        invitation.declined_at = timezone.now()
        invitation.save(update_fields=["declined_at"])
        _record(kind, principal.user, "decline", invitation, invitation.subject)
    return invitation


def open_in_subject(kind: RoleKind, subject: Any) -> QuerySet[RoleInvitation]:
    """Select the open invitations of one subject, but those of accounts that have got a role in another way."""
    assigned = kind.assignments.in_subject(subject).filter(user=OuterRef("user"))
    invitations = kind.invitations.open_ones().filter(~Exists(assigned), **{kind.subject_field: subject})
    return invitations.select_related("user", "inviter").order_by("-invited_at", "-pk")


def list_own(kind: RoleKind, user: User) -> list[RoleInvitation]:
    """Return the open invitations of one account, the latest first."""
    assigned = kind.assignments._default_manager.filter(user=user, **{kind.subject_field: OuterRef(kind.subject_field)})
    invitations = kind.invitations.open_ones().filter(kind.present, ~Exists(assigned), user=user)
    latest = invitations.select_related("inviter", *kind.related).defer(*kind.deferred).order_by("-invited_at", "-pk")
    return list(latest[:MAX_OPEN])


def no_such_invitation() -> NotFound:
    return NotFound("This invitation is no longer open: it was answered or withdrawn, or has ended.", "no_invitation")


def delete_of(kind: RoleKind, assignment: RoleAssignment) -> None:
    """Delete the invitation of somebody who lost the role in a subject: it must not lead back."""
    kind.invitations.in_subject(assignment.subject).filter(user=assignment.user, declined_at=None).delete()


def purge(kind: RoleKind) -> str:
    """Delete ended invitations, and those that were declined so long ago that they may come again."""
    now = timezone.now()
    ended = Q(declined_at=None, ends_at__lte=now) | Q(declined_at__lte=now - PAUSE_AFTER_DECLINE)
    count, _ = kind.invitations._default_manager.filter(ended).delete()
    return f"{count} invitations to {kind.subject_field}s deleted."


def _lock_own(kind: RoleKind, principal: Principal, key: int) -> RoleInvitation:
    """Lock the users and the subject of an own open invitation; return its current row. Raises `NotFound`."""
    own = kind.invitations.open_ones().filter(user=principal.user).select_related("user", "inviter")
    invitation = own.filter(pk=key).first()
    if invitation is None:
        raise no_such_invitation()
    principal.revalidate_and_lock(invitation.inviter)
    try:
        subject = kind.lock(invitation.subject)
    except NotFound as error:
        raise NotFound(f"{invitation.subject} was removed, and the invitation with it.", "no_invitation") from error
    invitation = own.filter(pk=key).first()  # all changes of it hold the lock on the subject
    if invitation is None:
        raise no_such_invitation()
    setattr(invitation, kind.subject_field, subject)
    return invitation


def _refusal(kind: RoleKind, invitation: RoleInvitation) -> RegistryError | None:
    """Return why a locked invitation cannot be accepted, or None."""
    subject, inviter = invitation.subject, invitation.inviter
    if kind.assignments.in_subject(subject).filter(user=invitation.user).exists():
        return Conflict(f"You are a {kind.noun} of {subject} already.", code=f"already_{kind.noun}")
    if not User.objects.in_good_standing().filter(pk=inviter.pk).exists():
        return PermissionDenied(f"The account of {inviter} is closed, so that the invitation is void.", "void")
    if invitation.role not in kind.givable_roles(subject, inviter):
        return PermissionDenied(f"{inviter} may no longer give this role in {subject}: the invitation is void.", "void")
    return None


def _require_givable(kind: RoleKind, subject: Any, user: User, role: Role) -> None:
    if role not in kind.givable_roles(subject, user):
        raise PermissionDenied(f"You may not give or take the role {role.label} in {subject}.", code="role_denied")


def _require_no_refusal(kind: RoleKind, subject: Any, user: User) -> None:
    """Raise `Conflict` if the account has declined an invitation to the subject lately."""
    since = timezone.now() - PAUSE_AFTER_DECLINE
    declined = kind.invitations.in_subject(subject).filter(user=user, declined_at__gt=since).first()
    if declined is not None and declined.declined_at is not None:
        again = declined.declined_at + PAUSE_AFTER_DECLINE
        raise Conflict(
            f"{user} has declined an invitation to {subject}; invite again after {again:%Y-%m-%d}.",
            code="invitation_declined",
        )


def _check_rate(user: User) -> None:
    """Limit the invitations that a user sends within a day; raises `TooManyRequests`."""
    number = settings.INVITATIONS_PER_DAY
    if number:
        message = f"{user} has sent {number} invitations within a day; wait, or ask the operator."
        limit = RateLimit("invitations", number, timedelta(days=1), message, is_exact=True)
        limit.check_rows(AuditEvent.objects.filter(actor=user, action__in=INVITE_ACTIONS))


def _record(kind: RoleKind, actor: User, action: str, invitation: RoleInvitation, subject: Any) -> None:
    detail = {kind.noun: str(invitation.user), "role": invitation.role}
    audit.record(actor, audit.Action(f"{kind.subject_field}.{action}"), subject, **detail)


# --- Namespaces ------------------------------------------------------------------------------------------------------


def lock_named(principal: Principal, name: str) -> Namespace:
    """Lock a namespace of the principal's; raises `NotFound`, and `PermissionDenied` without a role."""
    namespace, _ = membership.lock_as_member(principal, name)
    return namespace


NAMESPACE = RoleKind(
    assignments=Membership,
    invitations=MemberInvitation,
    abilities={
        Role.OWNER: "manages all packages and members, and may remove the namespace",
        Role.MANAGER: "manages all packages, private ones too, and the members below managers",
        Role.MEMBER: "makes packages, and publishes the public ones",
        Role.READ_ONLY: "is listed as a member; private packages need a role of their own",
    },
    present=Q(namespace__removed_at=None),
    related=("namespace",),
    deferred=(),
    lock_named=lock_named,
    lock=membership.lock_for_update,
    givable_roles=membership.givable_roles,
    change_role=membership.change_role,
    remove=membership.remove_member,
)


@receiver(role_removed, sender=Membership)
def delete_of_former_member(sender: type[Membership], assignment: Membership, **kwargs: Any) -> None:
    delete_of(NAMESPACE, assignment)


@receiver(purge_requested)
def purge_member_invitations(**kwargs: Any) -> str:
    """Delete ended invitations to namespaces."""
    return purge(NAMESPACE)
