"""Name and password: the one gate for every dialect and for the admin."""

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password, verify_password

from accounts import email_verification
from accounts.models import User
from accounts.passwords.throttle import LoginThrottle
from registry_site.errors import PermissionDenied, WrongPassword
from registry_site.http import client_address

MAXIMUM_PASSWORD = 4096  # bytes that are worth hashing; more is refused before


def authenticate(login: str, password: str) -> User:
    """The user of this name or e-mail address and password, if in good standing.

    Raises `WrongPassword` in all other cases alike, `TooManyRequests` after too many of them, and `PermissionDenied`
    for a right password of an account whose address is not verified yet.
    """
    user = _find(login)
    guard = LoginThrottle(login, user)
    guard.refuse_too_many()
    if not _is_proven(user, password):
        guard.count_failure()
        raise WrongPassword("The user name or the password is wrong.")
    assert user is not None  # noqa: S101 - nobody is never proven
    guard.refuse_too_many()
    guard.forgive()
    if settings.EMAIL_VERIFICATION and user.email and not user.email_verified_at:
        email_verification.resend(user)
        raise PermissionDenied(
            f"Verify your e-mail address first: follow the link that was sent to {user.email}.", code="unverified"
        )
    return user


def _find(login: str) -> User | None:
    users = User.objects.with_email(login) if "@" in login else User.objects.named(login)
    found: User | None = users.first()
    return found


def _is_proven(user: User | None, password: str) -> bool:
    if len(password.encode("utf-8", "replace")) > MAXIMUM_PASSWORD:
        return False
    # An unknown name costs one hash too, or the time would tell which names exist.
    if user is None:
        make_password(password)
        return False
    if not _matches(user, password):
        return False
    in_good_standing = User.objects.in_good_standing().filter(pk=user.pk).exists()
    return in_good_standing and user.admits(client_address.client_ip())


def _matches(user: User, password: str) -> bool:
    """Hashes the password as we do when it matches a hash of another kind, such as one that was imported."""
    is_right, is_outdated = verify_password(password, user.password)
    if not (is_right and is_outdated):
        return is_right
    encoded = make_password(password)
    if User.objects.filter(pk=user.pk, password=user.password).update(password=encoded):
        user.password = encoded
        return True
    user.refresh_from_db(fields=["password"])  # another log-in was first, or the password has just changed
    return check_password(password, user.password)
