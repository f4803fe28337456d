"""Opening an account, and changing its password."""

from django.conf import settings
from django.contrib.auth import password_validation
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts import audit, credentials, names, tokens
from accounts.models import User
from registry_site.errors import Conflict, Denied, Invalid, WrongPassword

LONGEST_EMAIL = 254  # RFC 5321


def sign_up(username: str, password: str, email: str = "") -> User:
    """An account that somebody opens for themselves over the web; it never has any right over others.

    Raises `Denied` while sign-up is closed, `Invalid` for the name, the password or the e-mail address, `Conflict`
    for a taken name.
    """
    if not settings.SIGNUP_OPEN:
        raise Denied("This registry does not take new accounts over the web; ask its operator for one.")
    names.validate_for_signup(username)
    return register(username, password, email, actor=None)


def register(username: str, password: str, email: str = "", *, admin: bool = False, actor: User | None = None) -> User:
    """An account that an operator or staff opens; raises `Invalid` and `Conflict`."""
    names.validate(username)
    validate_password(password, User(username=username))
    if email:
        _validate_email(email)
    encoded = make_password(password)  # takes its time: never inside a transaction
    try:
        with transaction.atomic():
            user: User = User.objects.open(username, email, encoded, is_staff=admin, is_superuser=admin)
            audit.record(actor or user, "user.register", str(user), admin=admin)
    except IntegrityError as error:
        raise Conflict(f"the user identified '{names.KTRA_PREFIX}{username}' already exists") from error
    return user


def change_password(username: str, old_password: str, new_password: str) -> tuple[User, str]:
    """Set a new password for who knows the old one → (user, new default token); the old default token ends.

    Raises `Invalid` for the new password and `WrongPassword`.
    """
    if old_password == new_password:
        raise Invalid("the given passwords are the same")
    user = credentials.check(username, old_password)
    validate_password(new_password, user)
    # Of two changes at once that know the same old password, the second finds it gone.
    unchanged = User.objects.filter(pk=user.pk, password=user.password)
    user.password = make_password(new_password)
    with transaction.atomic():
        if not unchanged.update(password=user.password):
            raise WrongPassword("The user name or the password is wrong.")
        audit.record(user, "user.change_password", str(user))
        return user, tokens.replace_default(user)


def _validate_email(email: str) -> None:
    try:
        if len(email) > LONGEST_EMAIL or not email.isprintable():
            raise ValidationError("too long, or with control characters")
        validate_email(email)
    except ValidationError as error:
        raise Invalid(f"The e-mail address is not valid: {email[:80]!r}.") from error


def validate_password(password: str, user: User) -> None:
    """Raises `Invalid` with all that is wrong with it."""
    try:
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from error
