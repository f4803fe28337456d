"""Name and password: the one gate for every dialect and for the admin."""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import check_password, make_password
from django.http import HttpRequest

from accounts import verification
from accounts.guessing import Guard
from accounts.models import User
from registry_site import peers
from registry_site.errors import Denied, WrongPassword

MAXIMUM_PASSWORD = 4096  # bytes that are worth hashing; more is refused before


def check(login: str, password: str) -> User:
    """The user of this name or e-mail address and password, if in good standing.

    Raises `WrongPassword` in all other cases alike, `TooMany` after too many of them, and `Denied` for a right
    password of an account whose address is not verified yet.
    """
    user = _find(login)
    guard = Guard(login, user)
    guard.refuse_too_many()
    if not _is_proven(user, password):
        guard.count_failure()
        raise WrongPassword("The user name or the password is wrong.")
    assert user is not None  # noqa: S101 - nobody is never proven
    guard.refuse_too_many()
    guard.forgive()
    if settings.EMAIL_VERIFICATION and user.email and not user.email_verified_at:
        verification.remind(user)
        raise Denied(
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
    if not check_password(password, user.password, setter=lambda raw: _rehash(user, raw)):
        return False
    in_good_standing = User.objects.in_good_standing().filter(pk=user.pk).exists()
    return in_good_standing and user.admits(peers.current())


def _rehash(user: User, password: str) -> None:
    """Of another kind than we make today, such as one that was imported: hash it as we do."""
    encoded = make_password(password)
    if User.objects.filter(pk=user.pk, password=user.password).update(password=encoded):
        user.password = encoded


class PasswordBackend(ModelBackend):
    """Django's log-in forms through the same gate; on each request `accounts.sessions` looks at the row."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if username is None or password is None:
            return None
        try:
            return check(username, password)
        except WrongPassword:
            return None
