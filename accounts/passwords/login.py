"""Log-in by password, the only one for all dialects, the pages and the admin site, and its second factor."""

from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password

from accounts import email_verification
from accounts.models import Ban, LoginFailure, User
from accounts.passwords.login_throttle import LoginThrottle
from accounts.passwords.opaque_strings import prepare
from accounts.passwords.verification import verify_password
from accounts.second_factor import codes, header, policy, proofs
from registry_site.errors import AccountClosed, PermissionDenied, SecondFactorRequired, WrongPassword
from registry_site.http import client_address

Refusal = LoginFailure.Refusal
MAX_PASSWORD_BYTES = 4096  # longer input is refused before it costs a hash


def authenticate(login: str, password: str) -> User:
    """Return the user of this name or e-mail address and password, for every dialect.

    An account with a second factor needs a code of it in the header X-OTP, and one that has to have it is refused
    without. Raises what `authenticate_password` raises; after the right password also `SecondFactorRequired`, and what
    `codes.use` raises.
    """
    user = authenticate_password(login, password)
    if proofs.has_second_factor(user):
        code = header.one_time_code()
        if not code:
            raise SecondFactorRequired(
                f"This account has a second factor. Send a code of it in the header {header.NAME}, or use a token that "
                f"you make at {settings.PUBLIC_URL}/account/tokens."
            )
        codes.use(user, code)
    elif policy.is_missing(user):
        raise policy.missing()
    return user


def authenticate_password(login: str, password: str) -> User:
    """Return the user of this name or e-mail address and password, if the account may be used.

    The caller sees to the second factor. Raises `WrongPassword` for every other case alike, `TooManyRequests` after too
    many failures, this or `Unavailable` while too many threads check passwords, and `PermissionDenied` for the right
    password of an account whose address is not verified yet.
    """
    users = User.objects.with_email(login) if "@" in login else User.objects.named(login)
    user: User | None = users.first()
    with LoginThrottle(login, user):
        wrong = WrongPassword("The user name or the password is wrong.")
        if len(password.encode("utf-8", "replace")) > MAX_PASSWORD_BYTES:
            raise wrong
        if user is None:
            # An unknown name costs the same hashes: otherwise the time would reveal which names exist.
            verify_password(password, None)
            raise wrong
        if not _verify_and_upgrade(user, password):
            raise wrong
        if closing := closing_of(user):
            raise AccountClosed(wrong.message, closing.explanation, closing.refusal)
    if settings.EMAIL_VERIFICATION and user.email and not user.email_verified_at:
        email_verification.resend(user)
        raise PermissionDenied(
            f"Verify your e-mail address first: follow the link that was sent to {user.email}.", code="unverified"
        )
    return user


class Closing(NamedTuple):
    """Why an account must not be used at present."""

    refusal: Refusal
    explanation: str  # for its owner


def closing_of(user: User) -> Closing | None:
    """Return why an account must not be used at present, or None."""
    ban = Ban.objects.in_force().filter(user=user).first()
    if ban is not None:
        end = f" until {ban.until:%Y-%m-%d %H:%M} UTC" if ban.until else ""
        because = f": {ban.reason}" if ban.reason else ""
        return Closing(Refusal.BANNED, f"This account is banned{end}{because}. Ask the operator of this registry.")
    if not User.objects.in_good_standing().filter(pk=user.pk).exists():
        refusal = Refusal.CLOSED if not user.is_active else Refusal.PROVIDER
        return Closing(refusal, "This account is closed. The operator of this registry can open it again.")
    if not user.is_allowed_from(client_address.client_ip()):
        explanation = "This account must not be used from your address. Ask the operator of this registry."
        return Closing(Refusal.ADDRESS, explanation)
    return None


def _verify_and_upgrade(user: User, password: str) -> bool:
    """Return whether the password is right; replace the hash if it was made in another way than today's."""
    is_right, is_outdated = verify_password(password, user.password)
    if is_right and password != prepare(password) and not check_password(prepare(password), user.password):
        is_outdated = True  # the hash is of the raw form
    if not (is_right and is_outdated):
        return is_right
    encoded = make_password(password)
    if User.objects.filter(pk=user.pk, password=user.password).update(password=encoded):
        user.password = encoded
        return True
    # Another log-in has upgraded the hash, or the password has just changed.
    user.refresh_from_db(fields=["password"])
    return check_password(password, user.password)
