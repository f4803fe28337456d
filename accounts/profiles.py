"""What an account says about its holder, and how they change it."""

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts import audit, email_verification, emails, names, registration
from accounts.models import Credential, NameReservation, User
from accounts.principals import Principal
from accounts.scopes import Scope
from accounts.signals import account_renamed
from registry_site.errors import Conflict, Invalid, NotFound, PermissionDenied

MOST_FORMER_NAMES = 10  # each stays reserved for good


@dataclass(frozen=True)
class Change:
    """What is to be changed; None leaves it as it is."""

    username: str | None = None
    password: str | None = None
    email: str | None = None
    avatar_uri: str | None = None

    @property
    def proves_identity(self) -> bool:
        """Does it touch what one signs in with?"""
        return not (self.username is None and self.password is None and self.email is None)


def get_user(username: str) -> User:
    """The user of this name; raises `NotFound`."""
    user: User | None = User.objects.named(username).first()
    if user is None:
        raise NotFound("There is no user of this name.", code="user_missing")
    return user


def change(principal: Principal, user_id: int | None, wanted: Change) -> User:
    """Change the principal's own account, all of it or nothing; a new password ends their other sessions.

    Where addresses are verified, another address counts from when the link to it is followed. Raises
    `PermissionDenied` for the account of another and for an app key that would change what one signs in with,
    `Invalid`, `Conflict` for what is taken, and `Unavailable` when the mail cannot be sent.
    """
    principal.require(Scope.ACCOUNT)
    user = principal.user
    if user_id not in (None, user.pk):
        raise PermissionDenied("You can change your own account only.")
    kind = principal.credential.kind if principal.credential else None
    if wanted.proves_identity and kind == Credential.Kind.APP_KEY:
        raise PermissionDenied("An app key cannot change the name, the password or the e-mail address; log in.")
    return _apply(principal, _checked(user, wanted))


def _checked(user: User, wanted: Change) -> Change:
    """In normal form and without what is so already; whatever takes time is done here, before the transaction."""
    username = None if wanted.username == user.username else wanted.username
    if username is not None:
        names.validate_for_signup(username)
        _refuse_taken(user, username)
    if wanted.password is not None:
        registration.validate_password(wanted.password, User(username=username or user.username))
    email = None if wanted.email is None else emails.normalized(wanted.email)
    if email == user.email:
        email = None
    if email and User.objects.with_email(email).exclude(pk=user.pk).exists():
        raise Conflict(f"The address {email} belongs to an account already.", code="email_taken")
    if wanted.avatar_uri:
        _validate_avatar(wanted.avatar_uri)
    return Change(username, wanted.password, email, wanted.avatar_uri)


def _apply(principal: Principal, checked: Change) -> User:
    user = principal.user
    encoded = make_password(checked.password) if checked.password is not None else None
    if checked.email and settings.EMAIL_VERIFICATION:
        email_verification.send_for_change(user, checked.email)
    with transaction.atomic():
        principal.revalidate_and_lock()
        user.refresh_from_db(fields=["username", "reservation", "email"])
        if checked.username is not None:
            _rename(user, checked.username)
        if checked.email and not settings.EMAIL_VERIFICATION:
            _set_email(user, checked.email)
        if checked.avatar_uri is not None:
            user.avatar_uri = checked.avatar_uri
            user.save(update_fields=["avatar_uri"])
        if checked.password is not None and encoded is not None:
            registration.store_password(user, checked.password, encoded, actor=user)
    return user


def _rename(user: User, username: str) -> None:
    """The former name stays reserved: nobody else is ever taken for who was called so."""
    former = user.username
    name = names.canonical(username)
    if name != user.reservation.name:
        reservation, _ = NameReservation.objects.get_or_create(name=name, defaults={"former_user": user})
        _refuse_taken(user, username)
        NameReservation.objects.filter(pk=user.reservation_id).update(former_user=user)
        NameReservation.objects.filter(pk=reservation.pk).update(former_user=None)
        user.reservation = reservation
    user.username = username
    user.save(update_fields=["username", "reservation"])
    account_renamed.send(sender=User, user=user)
    audit.record(user, "user.rename", str(user), former=former)


def _refuse_taken(user: User, username: str) -> None:
    if user.former_names.count() >= MOST_FORMER_NAMES:
        raise Conflict(f"You have changed your name {MOST_FORMER_NAMES} times already.", code="name_taken")
    reserved = NameReservation.objects.filter(name=names.canonical(username))
    if reserved.exclude(former_user=user).exclude(user=user).exists():
        raise Conflict(f"The name {username!r} is taken.", code="name_taken")


def _set_email(user: User, email: str) -> None:
    former = user.email
    user.email, user.email_verified_at = email, None
    try:
        with transaction.atomic():
            user.save(update_fields=["email", "email_verified_at"])
    except IntegrityError as error:
        raise Conflict(f"The address {email} belongs to an account already.", code="email_taken") from error
    audit.record(user, "user.change_email", str(user), former=former, email=email)


def _validate_avatar(uri: str) -> None:
    try:
        User._meta.get_field("avatar_uri").clean(uri, None)
    except ValidationError as error:
        raise Invalid(f"avatar_uri: {' '.join(error.messages)}") from error
