"""Opening an account, and changing its password."""

from collections.abc import Sequence

from django.conf import settings
from django.contrib.auth import password_validation
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit, email_verification, emails, names, roles
from accounts.credentials import cargo_tokens
from accounts.models import NameReservation, Role, User
from accounts.passwords import login
from accounts.principals import Principal
from registry_site.errors import Conflict, Invalid, NotFound, PermissionDenied, WrongPassword


def sign_up(
    username: str, password: str, email: str = "", *, confirmation: str | None = None, longest_name: int = 63
) -> User:
    """An account that somebody opens for themselves over the web; it never has any right over others.

    Where addresses are verified, the mail is out before the account is there: one that cannot be sent leaves nothing.
    Raises `PermissionDenied` while sign-up is closed, `Invalid` for the name, the password or the e-mail address,
    `Conflict` for a taken name or address, `Unavailable` when the mail cannot be sent.
    """
    if not settings.SIGNUP_OPEN:
        raise PermissionDenied(
            "This registry does not take new accounts over the web; ask its operator for one.", code="signup_closed"
        )
    names.validate_for_signup(username, longest_name)
    email = _wanted(email)
    if confirmation not in (None, password):
        raise Invalid("The two passwords differ.", code="passwords_differ")
    encoded = _encoded(User(username=username), password)
    _refuse_taken(username, email)
    sent_at = None
    if email and settings.EMAIL_VERIFICATION:
        email_verification.send_for_signup(username, email)
        sent_at = timezone.now()
    return _open(username, email, encoded, verification_sent_at=sent_at)


def register(
    username: str,
    password: str,
    email: str = "",
    *,
    admin: bool = False,
    granted: Sequence[Role] = (),
    actor: User | None = None,
) -> User:
    """An account that an operator or staff opens, who vouch for its address; raises `Invalid` and `Conflict`."""
    names.validate(username)
    encoded = _encoded(User(username=username), password)
    email = emails.normalized(email) if email else ""
    verified_at = timezone.now() if email else None
    with transaction.atomic():
        user = _open(username, email, encoded, actor, is_staff=admin, is_superuser=admin, email_verified_at=verified_at)
        for role in granted:
            roles.grant(user, role, actor=actor)
    return user


def log_in_to_cargo(username: str, password: str) -> str:
    """Ktra's log-in: a new default token, in the place of the one before; raises as `credentials.check` does."""
    user = login.authenticate(username, password)
    with transaction.atomic():
        token = cargo_tokens.replace_default(user)
        audit.record(user, "user.log_in", str(user), door="cargo")
        return token


def change_password(username: str, old_password: str, new_password: str) -> tuple[User, str]:
    """Set a new password for who knows the old one → (user, new default token); the old default token ends.

    Raises `Invalid` for the new password, and what `credentials.check` raises.
    """
    if old_password == new_password:
        raise Invalid("the given passwords are the same")
    user = login.authenticate(username, old_password)
    encoded = _encoded(user, new_password)
    with transaction.atomic():
        store_password(user, new_password, encoded, actor=user)
        return user, cargo_tokens.replace_default(user)


def change_own_password(principal: Principal, username: str, old_password: str, new: str, confirmation: str) -> User:
    """The same for who is signed in as `username`, and stays so; who administers may change that of others.

    It is their own old password that they prove it by. Raises `PermissionDenied` and `NotFound`, too.
    """
    own = principal.user
    user: User | None = own
    if names.canonical(username) != names.canonical(own.username):
        roles.require_administrator(own, "You can change your own password only.")
        user = User.objects.named(username).first()
    own.password = login.authenticate(own.username, old_password).password  # it may have hashed it anew
    if user is None:
        raise NotFound("There is no user of this name.", code="user_missing")
    if new != confirmation:
        raise Invalid("The two passwords differ.", code="passwords_differ")
    encoded = _encoded(user, new)
    with transaction.atomic():
        principal.revalidate_and_lock(user)
        store_password(user, new, encoded, actor=own)
    return user


def store_password(user: User, password: str, encoded: str, *, actor: User) -> None:
    """Of two changes at once that begin from the same password one wins; all other sessions of the user end.

    Raises `WrongPassword`.
    """
    unchanged = User.objects.filter(pk=user.pk, password=user.password)
    with transaction.atomic():
        if not unchanged.update(password=encoded):
            raise WrongPassword("The password has changed meanwhile.")
        user.password = encoded
        password_validation.password_changed(password, user)
        audit.record(actor, "user.change_password", str(user))


def validate_password(password: str, user: User) -> None:
    """Raises `Invalid` with all that is wrong with it."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), code=error.error_list[0].code or "invalid") from error


def _encoded(user: User, password: str) -> str:
    """The hash of a password that is allowed. It takes its time, as a mail does: never inside a transaction."""
    validate_password(password, user)
    return make_password(password)


def _wanted(email: str) -> str:
    """The address as this registry's settings want it: normal, or none."""
    if settings.EMAIL_ON_SIGNUP == "none" or not email.strip():
        if settings.EMAIL_ON_SIGNUP == "required":
            raise Invalid("An e-mail address is needed to sign up here.", code="email_required")
        return ""
    return emails.normalized(email.strip())


def _refuse_taken(username: str, email: str) -> None:
    if NameReservation.objects.filter(name=names.canonical(username)).exists():
        raise Conflict(f"the user identified '{names.KTRA_PREFIX}{username}' already exists", code="name_taken")
    if email and User.objects.with_email(email).exists():
        raise Conflict(f"The address {email} belongs to an account already.", code="email_taken")


def _open(username: str, email: str, encoded: str, actor: User | None = None, **fields: object) -> User:
    try:
        with transaction.atomic():
            user: User = User.objects.open(username, email, encoded, **fields)
            audit.record(actor or user, "user.register", str(user), admin=user.is_superuser)
    except IntegrityError:
        _refuse_taken(username, email)  # says which of the two it was
        raise
    return user
