"""Closing accounts: what they published stays, their names stay reserved, and staff can open them again."""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, OuterRef, QuerySet, Subquery, When
from django.db.models.fields.json import KT

from accounts import roles
from accounts.models import User
from accounts.passwords import login
from accounts.principals import Principal
from accounts.scopes import Scope
from accounts.second_factor import proofs
from accounts.signals import sole_ownerships_wanted
from registry_site import audit
from registry_site.models import AuditEvent

MAX_LISTED = 100  # of each kind


def needs_password(user: User) -> bool:
    """Return whether the owner proves the account by its password; others by a fresh proof."""
    return settings.PASSWORD_LOGIN and user.has_usable_password()


def list_sole_ownerships(user: User) -> list[str]:
    """Return what nobody could change any more without the account, such as `crate serde`."""
    answers: list[tuple[Any, Any]] = sole_ownerships_wanted.send(User, user=user, limit=MAX_LISTED)
    return [name for _, names in answers for name in names]


def close_account(principal: Principal, password: str = "") -> None:
    """Close the principal's account, which ends all its credentials.

    Raises what `login.authenticate_password` raises, `ConfirmationRequired` with a second factor and where there is no
    password, and `Conflict` for the only administrator.
    """
    principal.require(Scope.ACCOUNT)
    user = principal.user
    proofs.require_recent(principal, always=not needs_password(user))
    if needs_password(user):
        login.authenticate_password(user.username, password)
    with transaction.atomic():
        principal.revalidate_and_lock(*roles.administrators())
        roles.require_other_administrator(user, actor=user)
        User.objects.filter(pk=user.pk).update(is_active=False)
        user.credentials.mark_revoked()
        audit.record(user, audit.Action.USER_CLOSE, user)


def close_as_staff(user: User, *, actor: User, reason: str = "") -> bool:
    """Close an account, which refuses all its credentials until it is opened again; return whether it was open.

    Raises `PermissionDenied` for somebody with more rights, and `Conflict` for the only administrator.
    """
    roles.require_may_act_on(actor, user)
    with transaction.atomic():
        roles.require_other_administrator(user, actor=actor)
        # The lock waits for a publish that is being committed: no publish is acknowledged after the end.
        if not User.objects.select_for_update(no_key=True).get(pk=user.pk).is_active:
            return False
        User.objects.filter(pk=user.pk).update(is_active=False)
        audit.record(actor, audit.Action.USER_CLOSE, user, reason=reason)
    return True


def reopen(user: User, *, actor: User) -> bool:
    """Open a closed account again; return whether it was closed. Raises `PermissionDenied` as `close_as_staff` does."""
    roles.require_may_act_on(actor, user)
    with transaction.atomic():
        is_reopened = bool(User.objects.filter(pk=user.pk, is_active=False).update(is_active=True))
        if is_reopened:
            audit.record(actor, audit.Action.USER_REOPEN, user)
    return is_reopened


def annotate_closing(users: QuerySet[User]) -> QuerySet[User]:
    """Annotate closed accounts with when, by whom and why they were closed, if the audit log has that still."""
    actions = (audit.Action.USER_CLOSE, audit.Action.USER_REOPEN)
    events = AuditEvent.objects.filter(object_type=User._meta.label_lower, object_id=OuterRef("pk"), action__in=actions)
    # An account that was reopened since was closed in another way, such as by its provider.
    newest = events.annotate(reason=KT("detail__reason")).order_by("-pk")
    columns = {"closing": "action", "closed_at": "at", "closed_by": "actor_name", "closing_reason": "reason"}
    rows = {name: newest.values(column)[:1] for name, column in columns.items()}
    return users.annotate(**{name: Case(When(is_active=False, then=Subquery(row))) for name, row in rows.items()})
