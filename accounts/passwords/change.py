"""Passwords: validate, hash and change them."""

from django.conf import settings
from django.contrib.auth import password_validation
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import names, roles
from accounts.models import User
from accounts.passwords import login
from accounts.principals import Principal
from accounts.second_factor import proofs
from registry_site import audit
from registry_site.errors import Invalid, WrongPassword


def validate_password(password: str, user: User) -> None:
    """Raise `Invalid` with everything that is wrong with a new password of this user."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), code=error.error_list[0].code or "invalid") from error


def encode_password(user: User, password: str) -> str:
    """Validate a new password and return its hash; raises `Invalid`.

    Hashing is slow on purpose: call it before a transaction begins, or other writers wait for it.
    """
    validate_password(password, user)
    return make_password(password)


def change_password(
    principal: Principal, username: str, current_password: str, new_password: str, confirmation: str
) -> User:
    """Change the password of `username`, which ends all other sessions of that user.

    Administrators may change the passwords of others. The current password is always the principal's own.
    Raises `PermissionDenied`, `ConfirmationRequired`, `NotFound`, `Invalid` for the new password, and what
    `login.authenticate_password` raises.
    """
    own = principal.user
    proofs.require_recent(principal)
    is_own = names.canonical(username) == names.canonical(own.username)
    if not is_own:
        roles.require_administrator(own, "You can change your own password only.")
    # `authenticate_password` may replace an outdated hash; `store_password` compares with the new one.
    own.password = login.authenticate_password(own.username, current_password).password
    user = own if is_own else User.objects.get_named(username)
    if new_password != confirmation:
        raise Invalid("The two passwords differ.", code="passwords_differ")
    encoded = encode_password(user, new_password)
    with transaction.atomic():
        principal.revalidate_and_lock(user)
        store_password(user, new_password, encoded, actor=own)
    return user


def set_password_as_staff(user: User, password: str | None, *, actor: User) -> None:
    """Set a password that a form has validated, or disable the password (None); this ends the user's sessions.

    Raises `PermissionDenied` for a user with more rights, `Conflict` when the only administrator could not sign in any
    more, and `WrongPassword` as `store_password` does.
    """
    roles.require_may_act_on(actor, user)
    encoded = make_password(password)
    with transaction.atomic():
        if password is None:
            require_other_way_in(user)
        store_password(user, password, encoded, actor=actor)


def require_other_way_in(user: User) -> None:
    """Raise `Conflict` for the only administrator, unless an identity lets them sign in without a password."""
    has_identity = settings.OIDC_LOGIN and user.identities.filter(issuer=settings.OIDC_ISSUER, refused_at=None).exists()
    if not has_identity:
        roles.require_other_administrator(user, actor=user)


def store_password(user: User, password: str | None, encoded: str, *, actor: User | None, **detail: str | bool) -> None:
    """Store the hash of a new password, or of none (None), and end all other sessions of the user.

    The event has `detail`. Raises `WrongPassword` when the password changed since `user` was loaded.
    """
    # Compare and swap: of two concurrent changes that began with the same password, one wins.
    unchanged = User.objects.filter(pk=user.pk, password=user.password)
    with transaction.atomic():
        if not unchanged.update(password=encoded):
            raise WrongPassword("The password has changed meanwhile.")
        user.password = encoded
        password_validation.password_changed(password, user)  # type: ignore[arg-type]
        if password is None:
            detail["disabled"] = True
        audit.record(actor, audit.Action.USER_CHANGE_PASSWORD, user, **detail)
