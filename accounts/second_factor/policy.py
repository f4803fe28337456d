"""Who needs a second factor: by `REGISTRY_REQUIRE_SECOND_FACTOR`, of those who can sign in by a password."""

from django.conf import settings

from accounts import roles
from accounts.models import User
from accounts.second_factor import proofs
from registry_site.errors import SecondFactorRequired


def is_missing(user: User) -> bool:
    """Return whether the account has to get a second factor before it is used by its password."""
    required_of = settings.REQUIRE_SECOND_FACTOR
    if required_of == "none" or not (settings.PASSWORD_LOGIN and user.has_usable_password()):
        return False
    is_bound = required_of == "all" or user.is_staff or roles.is_administrator(user)
    return is_bound and not proofs.has_second_factor(user)


def missing() -> SecondFactorRequired:
    """Return the refusal of such an account."""
    return SecondFactorRequired(
        f"This registry requires a second factor of your account: open {settings.PUBLIC_URL}/account/security in a "
        "browser, and add one."
    )


def require_none_of_new_accounts() -> None:
    """Raise `SecondFactorRequired` where a new account must not get a token before it has a second factor."""
    if settings.REQUIRE_SECOND_FACTOR == "all":
        raise SecondFactorRequired(
            f"This registry requires a second factor: sign up at {settings.PUBLIC_URL}/sign-up in a browser, and make "
            "a token there."
        )
