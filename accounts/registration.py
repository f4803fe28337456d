"""Registration: accounts opened over the web, by an operator or by staff."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import email_verification, emails, names, roles
from accounts.models import NameReservation, Role, User
from accounts.passwords.change import encode_password, validate_password
from registry_site import audit
from registry_site.errors import Conflict, Invalid, PermissionDenied
from registry_site.http import client_address
from registry_site.rate_limits import RateLimit


def sign_up(username: str, password: str, email: str = "", *, confirmation: str | None = None) -> User:
    """Open an account over the web; it never has rights over others.

    Raises `PermissionDenied` while sign-up is closed, `Invalid` for the name, the password or the e-mail address,
    `Conflict` if the name, one that looks alike, or the address is taken, and `TooManyRequests`.
    """
    if not settings.SIGNUP_OPEN:
        raise PermissionDenied(
            "This registry does not take new accounts over the web; ask its operator for one.", code="signup_closed"
        )
    names.validate_for_signup(username)
    email = "" if settings.EMAIL_ON_SIGNUP == "none" else email.strip()
    if settings.EMAIL_ON_SIGNUP == "required" and not email:
        raise Invalid("An e-mail address is needed to sign up here.", code="email_required")
    email = emails.normalize(email) if email else ""
    if confirmation not in (None, password):
        raise Invalid("The two passwords differ.", code="passwords_differ")
    validate_password(password, User(username=username))
    _require_free(username, email)
    _check_rate()
    encoded = make_password(password)
    with transaction.atomic():
        if not (email and settings.EMAIL_VERIFICATION):
            return _open_account(username, email, encoded)
        user = _open_account(username, email, encoded, verification_sent_at=timezone.now())
        email_verification.send_for_signup(username, email)
    return user


def register(
    username: str,
    password: str | None,
    email: str = "",
    *,
    admin: bool = False,
    granted_roles: Sequence[Role] = (),
    actor: User | None = None,
) -> User:
    """Open an account as an operator (no `actor`) or as staff, who vouch for its e-mail address; perhaps no password.

    Raises `Invalid` and `Conflict`, and `PermissionDenied` as `roles.grant` does.
    """
    names.validate(username)
    encoded = make_password(None) if password is None else encode_password(User(username=username), password)
    email = emails.normalize(email) if email else ""
    verified_at = timezone.now() if email else None
    with transaction.atomic():
        user = _open_account(
            username, email, encoded, actor, is_staff=admin, is_superuser=admin, email_verified_at=verified_at
        )
        for role in granted_roles:
            roles.grant(user, role, actor=actor)
    return user


def missing_way_in(user: User) -> str:
    """Return what lets an account in that has a password at most while passwords are good nowhere, or an empty text."""
    if settings.PASSWORD_LOGIN or User.objects.able_to_sign_in().filter(pk=user.pk).exists():
        return ""
    return (
        f"{user} cannot sign in yet: passwords are good nowhere (REGISTRY_LOGIN=oidc). Link its identity at "
        f"{settings.OIDC_ISSUER}: manage.py linkidentity {user.username} SUBJECT"
    )


def _require_free(username: str, email: str) -> None:
    if NameReservation.objects.filter(name=names.canonical(username)).exists():
        raise Conflict(f"the user identified '{names.KTRA_PREFIX}{username}' already exists", code="name_taken")
    NameReservation.objects.require_free(username)
    if email and User.objects.with_claim_to_email(email).exists():
        raise emails.taken(email)


def _check_rate() -> None:
    """Limit the accounts that are created from one network within an hour; raises `TooManyRequests`."""
    network = client_address.client_network()
    if settings.SIGNUPS_PER_HOUR and network:
        message = "Too many accounts were created from your address; wait {seconds} seconds."
        RateLimit("sign-ups", settings.SIGNUPS_PER_HOUR, timedelta(hours=1), message, is_exact=True).count(network)


def _open_account(username: str, email: str, encoded: str, actor: User | None = None, **fields: object) -> User:
    try:
        with transaction.atomic():
            user: User = User.objects.create_with_hash(username, email, encoded, **fields)
            audit.record(actor or user, audit.Action.USER_REGISTER, user, admin=user.is_superuser)
    except (Conflict, IntegrityError) as error:
        _require_free(username, email)  # raises the conflict with its reason: the name or the address
        if isinstance(error, Conflict) or not email:
            raise
        # Staff vouch for an address that an account has which was never asked to prove it.
        raise emails.taken(email) from error
    return user
