"""That a person reads the mail of an address: a signed link to it, good for some days and for that address alone."""

from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused

from django.conf import settings
from django.core import signing
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils import timezone

from accounts import audit
from accounts.models import User
from registry_site.errors import Conflict, Invalid, Unavailable

SALT = "verify an e-mail address"
LIFETIME = timedelta(days=3)
REMINDER_PAUSE = timedelta(minutes=10)


def send(username: str, address: str, former: str = "") -> None:
    """Send the link to `address`; following it makes it the account's in the place of `former`, if it is another.

    Raises `Invalid` when the mail server refuses the address and `Unavailable` when it does not take the mail.
    """
    token = signing.dumps({"user": username, "email": address, "former": former}, salt=SALT)
    link = f"{settings.PUBLIC_URL}/v1/user/email/verify/{token}"
    context = {"username": username, "link": link, "days": LIFETIME.days, "public_url": settings.PUBLIC_URL}
    try:
        send_mail("Verify your e-mail address", render_to_string("mail/verify.txt", context), None, [address])
    except SMTPRecipientsRefused as error:
        raise Invalid(f"The mail server refuses the address {address}.", code="email_invalid") from error
    except (SMTPException, OSError) as error:
        raise Unavailable(
            "The verification mail could not be sent; nothing was changed.", retry_after=60, code="mail_failed"
        ) from error


def remind(user: User) -> None:
    """Send the link again, but not at every attempt; raises as `send` does."""
    long_ago = Q(verification_sent_at=None) | Q(verification_sent_at__lt=timezone.now() - REMINDER_PAUSE)
    if User.objects.filter(long_ago, pk=user.pk).update(verification_sent_at=timezone.now()):
        send(user.username, user.email)


def verify(token: str) -> User:
    """The address of the link is verified, however often it is followed; raises `Invalid` and `Conflict`."""
    refusal = Invalid("Token invalid.", code="link_invalid")
    try:
        claims = signing.loads(token, salt=SALT, max_age=LIFETIME)
    except signing.BadSignature as error:
        raise refusal from error
    with transaction.atomic():
        user: User | None = User.objects.select_for_update(no_key=True).named(claims["user"]).first()
        if user is None or user.email not in (claims["email"], claims["former"]):
            raise refusal
        if user.email == claims["email"] and user.email_verified_at:
            return user
        user.email, user.email_verified_at = claims["email"], timezone.now()
        try:
            with transaction.atomic():
                user.save(update_fields=["email", "email_verified_at"])
        except IntegrityError as error:
            raise Conflict("This address belongs to another account meanwhile.", code="email_taken") from error
        audit.record(user, "user.verify_email", str(user), email=user.email)
        return user
