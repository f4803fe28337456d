"""Name and password: the one gate for every dialect and for the admin."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import check_password, make_password
from django.http import HttpRequest

from accounts.models import User
from registry_site.errors import WrongPassword

MAXIMUM_PASSWORD = 4096  # bytes that are worth hashing; more is refused before


def check(username: str, password: str) -> User:
    """The user of this name and password, if in good standing; raises `WrongPassword` in all other cases alike."""
    if len(password.encode("utf-8", "replace")) > MAXIMUM_PASSWORD:
        raise WrongPassword("The user name or the password is wrong.")
    user: User | None = User.objects.named(username).first()
    # An unknown name costs one hash too, or the time would tell which names exist.
    if user is None:
        make_password(password)
    elif check_password(password, user.password) and User.objects.in_good_standing().filter(pk=user.pk).exists():
        return user
    raise WrongPassword("The user name or the password is wrong.")


class PasswordBackend(ModelBackend):
    """Django's log-in forms through the same gate; a ban ends an admin session on its next request."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if username is None or password is None:
            return None
        try:
            return check(username, password)
        except WrongPassword:
            return None

    def get_user(self, user_id: int) -> User | None:
        user: User | None = User.objects.in_good_standing().filter(pk=user_id).first()
        return user
