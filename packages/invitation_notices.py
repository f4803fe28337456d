"""Mails to those who are invited to a namespace or a package."""

from datetime import timedelta

from accounts.models import User
from accounts.notifications import Topic, add_topic, notify, on
from namespaces.invitations import INVITE_ACTIONS, LIFETIME, RoleKind
from namespaces.models import Role
from packages.own_roles import KINDS
from registry_site.models import AuditEvent

DAY = timedelta(days=1)

INVITATIONS = add_topic(
    Topic(
        "invitations",
        "you are invited:",
        f"Accept or decline, or do nothing: an invitation ends after {LIFETIME.days} days.",
        "/account/invitations",
        "You get this mail because somebody entered your user name.",
        choice="invitations",
    )
)


@on(*INVITE_ACTIONS)
def tell_of_invitation(event: AuditEvent) -> None:
    """Tell the invited, but not of a second invitation to the same subject within a day."""
    kind = KINDS[event.action.partition(".")[0]]
    name = event.detail[kind.noun]
    if was_invited(kind, event, name):
        return
    invitations = kind.invitations.open_ones().filter(**{kind.subject_field: event.object_id}, user__username=name)
    users = User.objects.filter(pk__in=invitations.values("user"))
    role = Role(event.detail["role"]).label
    line = f"to the {kind.subject_field} {event.target}, as {role}, by {event.actor_name}, {event.at:%Y-%m-%d}"
    notify(INVITATIONS, users, f"{event.actor_name} invites you to {event.target}", line)


def was_invited(kind: RoleKind, event: AuditEvent, name: str) -> bool:
    """Tell whether the same account was invited to the same subject within the day before."""
    earlier = AuditEvent.objects.filter(
        action=event.action,
        object_type=event.object_type,
        object_id=event.object_id,
        at__gt=event.at - DAY,
        pk__lt=event.pk,
    )
    return any(detail[kind.noun] == name for detail in earlier.values_list("detail", flat=True).iterator())
