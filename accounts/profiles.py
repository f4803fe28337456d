"""Profiles: users change name, password, e-mail address and picture of their own account; who sees the address."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts import email_verification, emails, names, roles
from accounts.models import Credential, NameReservation, User
from accounts.passwords.change import store_password, validate_password
from accounts.principals import Principal
from accounts.scopes import Scope
from accounts.second_factor import proofs
from accounts.signals import account_renamed, co_members_wanted
from registry_site import audit
from registry_site.errors import Conflict, Invalid, PermissionDenied
from registry_site.http import client_address
from registry_site.models import AuditEvent
from registry_site.rate_limits import RateLimit

MAX_FORMER_NAMES = 10  # a former name stays reserved for ever
# Of addresses that nothing proves: each change is mailed to both, so a user could have strangers flooded.
EMAIL_LIMIT = RateLimit(
    "unproven-emails", 5, timedelta(hours=1), "You changed your e-mail address 5 times within an hour; wait."
)


@dataclass(frozen=True)
class ProfileChanges:
    """New values for an account; None leaves a value as it is."""

    username: str | None = None
    password: str | None = None
    email: str | None = None
    avatar_uri: str | None = None

    @property
    def has_login_data(self) -> bool:
        """Return whether they change anything that the user logs in with."""
        return not (self.username is None and self.password is None and self.email is None)


def update_profile(principal: Principal, user_id: int | None, changes: ProfileChanges) -> User:
    """Change the principal's own account, all of it or nothing; a new password ends their other sessions.

    Where addresses are verified, a new address counts from the visit of its link on. Raises `PermissionDenied` for
    the account of another user and for login data by an app key, `ConfirmationRequired` for login data, `Invalid`,
    `Conflict` for what is taken, and `TooManyRequests`.
    """
    principal.require(Scope.ACCOUNT)
    user = principal.user
    if user_id not in (None, user.pk):
        raise PermissionDenied("You can change your own account only.")
    is_app_key = principal.credential is not None and principal.credential.kind == Credential.Kind.APP_KEY
    if is_app_key and changes.has_login_data:
        raise PermissionDenied("An app key cannot change the name, the password or the e-mail address; log in.")
    if changes.has_login_data:
        proofs.require_recent(principal)
    changes = _validated(user, changes)
    # Hashing is slow: it comes before the transaction, which other writers wait for.
    encoded = None if changes.password is None else make_password(changes.password)
    with transaction.atomic():
        principal.revalidate_and_lock()
        user.refresh_from_db(fields=["username", "reservation", "email"])
        if changes.username is not None:
            _rename(user, changes.username)
        if changes.email and settings.EMAIL_VERIFICATION:
            email_verification.send_for_change(user, changes.email)
        elif changes.email:
            _set_email(user, changes.email)
        if changes.avatar_uri is not None:
            former, user.avatar_uri = user.avatar_uri, changes.avatar_uri
            user.save(update_fields=["avatar_uri"])
            audit.record(user, audit.Action.USER_CHANGE_AVATAR, user, former=former, avatar_uri=user.avatar_uri)
        if changes.password is not None and encoded is not None:
            store_password(user, changes.password, encoded, actor=user)
    return user


def _validated(user: User, changes: ProfileChanges) -> ProfileChanges:
    """Return the changes in normal form, without values that the account already has."""
    username = None if changes.username == user.username else changes.username
    if username is not None:
        names.validate_for_signup(username)
        _require_free_name(user, username)
    if changes.password is not None:
        validate_password(changes.password, User(username=username or user.username))
    email = None if changes.email is None else emails.normalize(changes.email)
    if email == user.email:
        email = None
    if email and User.objects.with_claim_to_email(email).exclude(pk=user.pk).exists():
        raise emails.taken(email)
    if changes.avatar_uri:
        try:
            User._meta.get_field("avatar_uri").clean(changes.avatar_uri, None)
        except ValidationError as error:
            raise Invalid(f"avatar_uri: {' '.join(error.messages)}") from error
    avatar_uri = None if changes.avatar_uri == user.avatar_uri else changes.avatar_uri
    return ProfileChanges(username, changes.password, email, avatar_uri)


def _rename(user: User, username: str) -> None:
    former = user.username
    if names.canonical(username) != user.reservation.name:
        # Names in old links, Cargo.toml files and audit rows must never lead to another person: the former name
        # stays reserved for this user, and only this user can take it back.
        _require_free_name(user, username)
        reservation = _own_reservation(user, username) or NameReservation.objects.reserve(username, user)
        NameReservation.objects.filter(pk=user.reservation_id).update(former_user=user)
        NameReservation.objects.filter(pk=reservation.pk).update(former_user=None)
        user.reservation = reservation
    user.username = username
    user.save(update_fields=["username", "reservation"])
    account_renamed.send(sender=User, user=user)
    audit.record(user, audit.Action.USER_RENAME, user, former=former)


def _require_free_name(user: User, username: str) -> None:
    if _own_reservation(user, username) is None:
        NameReservation.objects.require_free(username, user)
        if user.former_names.count() >= MAX_FORMER_NAMES:
            raise Conflict(
                f"You have {MAX_FORMER_NAMES} former names already; you can take one of them again.", code="name_taken"
            )


def _own_reservation(user: User, username: str) -> NameReservation | None:
    """Return the reservation of a name that the user has or had."""
    return NameReservation.objects.of(user).filter(name=names.canonical(username)).first()


def _set_email(user: User, email: str) -> None:
    own_changes = AuditEvent.objects.filter(actor=user, action=audit.Action.USER_CHANGE_EMAIL, object_id=user.pk)
    EMAIL_LIMIT.check_rows(own_changes)
    former = user.email
    user.email, user.email_verified_at, user.verification_sent_at = email, None, None
    try:
        with transaction.atomic():
            user.save(update_fields=["email", "email_verified_at", "verification_sent_at"])
    except IntegrityError as error:
        raise emails.taken(email) from error
    audit.record(user, audit.Action.USER_CHANGE_EMAIL, user, former=former, email=email)


def require_own_network(user: User) -> None:
    """Raise `Conflict` if the networks of the user's account leave out the address of this request, and so the user."""
    if not user.is_allowed_from(client_address.client_ip()):
        raise Conflict("These networks leave out your own address: you would be signed out at once, and for good.")


def visible_emails(viewer: User | None, users: Sequence[User]) -> dict[int, str | None]:
    """Return the e-mail addresses of users by primary key: None where the viewer may not see one.

    Users see their own, those of people who have worked in the same namespace or on the same crate, and all of them as
    staff or by `REGISTRY_SHOW_EMAILS`.
    """
    visible = set() if viewer is None else {viewer.pk}
    others = [user for user in users if user.pk not in visible]
    if viewer is not None and others:
        if settings.SHOW_EMAILS or viewer.is_staff or roles.may_manage_users(viewer):
            visible.update(user.pk for user in others)
        else:
            answers: list[tuple[Any, Any]] = co_members_wanted.send(User, viewer=viewer, users=others)
            for _, co_members in answers:
                visible.update(co_members)
    return {user.pk: user.email if user.pk in visible else None for user in users}
