"""That a person reads the mail of an address: a signed link to it, good for some days and for that address alone."""

from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any

from django.conf import settings
from django.core import signing
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import User
from registry_site import audit
from registry_site.errors import Conflict, Invalid, RegistryError, TooManyRequests, Unavailable
from registry_site.models import AuditEvent

SALT = "verify an e-mail address"
LIFETIME = timedelta(days=3)
REMINDER_PAUSE = timedelta(minutes=10)
CHANGES_WINDOW = timedelta(hours=1)
MAX_CHANGES = 5  # links to other addresses within that time


def send_for_signup(username: str, address: str) -> None:
    """Send the link to the address that an account has, or is about to be opened with.

    Raises `Invalid` when the mail server refuses the address and `Unavailable` when it does not take the mail.
    """
    _send(username, address, {"user": username, "email": address})


def send_for_change(user: User, address: str) -> None:
    """Send the link to another address than the account has: following it makes it the account's.

    Raises as `send_for_signup`, and `TooManyRequests` to who would have strangers written to.
    """
    since = timezone.now() - CHANGES_WINDOW
    links = AuditEvent.objects.filter(actor=user, action=audit.Action.USER_ASK_FOR_EMAIL, at__gt=since)
    if links.count() >= MAX_CHANGES:
        seconds = int(CHANGES_WINDOW.total_seconds())
        raise TooManyRequests(
            f"{MAX_CHANGES} links were sent within an hour; follow one, or wait.", retry_after=seconds
        )
    audit.record(user, audit.Action.USER_ASK_FOR_EMAIL, user, email=address)
    _send(user.username, address, {"pk": user.pk, "email": address, "former": user.email, "since": _since(user)})


def resend(user: User) -> None:
    """Send the link to the account's address again, but not at every attempt; raises as `send_for_signup`."""
    before, now = user.verification_sent_at, timezone.now()
    long_ago = Q(verification_sent_at=None) | Q(verification_sent_at__lt=now - REMINDER_PAUSE)
    if not User.objects.filter(long_ago, pk=user.pk).update(verification_sent_at=now):
        return
    try:
        send_for_signup(user.username, user.email)
    except RegistryError:  # it counts only once it is out
        User.objects.filter(pk=user.pk, verification_sent_at=now).update(verification_sent_at=before)
        raise


def verify(token: str) -> User:
    """The address of the link is verified, however often it is followed; raises `Invalid` and `Conflict`."""
    try:
        claims = signing.loads(token, salt=SALT, max_age=LIFETIME)
    except signing.BadSignature as error:
        raise _not_good() from error
    with transaction.atomic():
        user = _held(claims)
        if user.email == claims["email"] and user.email_verified_at:
            return user
        user.email, user.email_verified_at = claims["email"], timezone.now()
        try:
            with transaction.atomic():
                user.save(update_fields=["email", "email_verified_at"])
        except IntegrityError as error:
            raise Conflict("This address belongs to another account meanwhile.", code="email_taken") from error
        audit.record(user, audit.Action.USER_VERIFY_EMAIL, user, email=user.email)
        return user


def _held(claims: dict[str, Any]) -> User:
    """The account that a link is for; raises `Invalid` when its address has changed since the link was sent."""
    users = User.objects.select_for_update(no_key=True)
    user: User | None = (users.filter(pk=claims["pk"]) if "pk" in claims else users.named(claims["user"])).first()
    if user is None:
        raise _not_good()
    as_it_was = "pk" in claims and (user.email, _since(user)) == (claims["former"], claims["since"])
    if user.email != claims["email"] and not as_it_was:
        raise _not_good()
    return user


def _since(user: User) -> str:
    return user.email_verified_at.isoformat() if user.email_verified_at else ""


def _not_good() -> Invalid:
    return Invalid("Token invalid.", code="link_invalid")


def _send(username: str, address: str, claims: dict[str, Any]) -> None:
    link = f"{settings.PUBLIC_URL}/v1/user/email/verify/{signing.dumps(claims, salt=SALT)}"
    context = {"username": username, "link": link, "days": LIFETIME.days, "public_url": settings.PUBLIC_URL}
    try:
        send_mail("Verify your e-mail address", render_to_string("mail/verify.txt", context), None, [address])
    except (SMTPException, OSError) as error:
        if isinstance(error, SMTPRecipientsRefused) and all(code >= 500 for code, _ in error.recipients.values()):
            raise Invalid(f"The mail server refuses the address {address}.", code="email_invalid") from error
        raise Unavailable(
            "The verification mail could not be sent; nothing was changed.", retry_after=60, code="mail_failed"
        ) from error
