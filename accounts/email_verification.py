"""Verification of e-mail addresses by signed links in mails.

A link verifies one address of one account, and expires some days after its mail was written. No row stores it. A new
address of an account that has a verified one needs two links: first that to the new address, then one to the former,
which allows the change.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts import mails
from accounts.models import User, UserQuerySet
from registry_site import audit, outbox
from registry_site.errors import Conflict, Invalid, TooManyRequests
from registry_site.models import AuditEvent, OutboxEntry
from registry_site.outbox import Mail
from registry_site.rate_limits import RateLimit

LINK_ENDED = "This link has ended, or is not whole. Sign in, or ask for another one."
SALT = "verify an e-mail address"
KIND = "accounts.verify_email"
LIFETIME = timedelta(days=3)
RESEND_INTERVAL = timedelta(minutes=10)
# Of mails to new addresses; without a limit, a user could have strangers flooded.
CHANGE_LIMIT = RateLimit(
    "email-changes", 5, timedelta(hours=1), "5 links were sent within an hour; follow one, or wait."
)


def send_for_signup(username: str, address: str) -> None:
    """Send a link that verifies the address of an account. Raises `TooManyRequests` after too many mails to it."""
    mails.queue_link(KIND, address, claims={"user": username, "email": address})


def send_for_change(user: User, address: str) -> None:
    """Send a link that makes the address the account's. Raises `TooManyRequests` after too many mails."""
    CHANGE_LIMIT.check_rows(AuditEvent.objects.filter(actor=user, action=audit.Action.USER_ASK_FOR_EMAIL))
    audit.record(user, audit.Action.USER_ASK_FOR_EMAIL, user, email=address)
    # The link is void once the account's address changes in another way: it must not undo a later change.
    state = {"former": user.email, "since": _verified_since(user)}
    mails.queue_link(KIND, address, claims={"pk": user.pk, "email": address, **state})


def resend(user: User) -> None:
    """Send the link to the account's address again, at most once in ten minutes."""
    now = timezone.now()
    is_due = Q(verification_sent_at=None) | Q(verification_sent_at__lt=now - RESEND_INTERVAL)
    if User.objects.with_claim_to_email(user.email).exists():
        return  # the address has been proven to be another's
    with suppress(TooManyRequests), transaction.atomic():  # many mails with links are there
        if User.objects.filter(is_due, pk=user.pk).update(verification_sent_at=now):
            audit.record(user, audit.Action.USER_ASK_FOR_EMAIL, user, email=user.email)
            send_for_signup(user.username, user.email)


def is_missing(user: User) -> bool:
    """Return whether the account cannot be used before its address is verified."""
    return settings.EMAIL_VERIFICATION and bool(user.email) and not user.has_verified_email


class EmailLink(NamedTuple):
    """A link: the account, the address that it verifies, and whether the former address has to allow that, too."""

    user: User
    address: str
    needs_former: bool


def read_link(token: str) -> EmailLink:
    """Return what a link is for, and change nothing; raises `Invalid` for a forged, expired or outdated one."""
    return _open(_read_claims(token), User.objects.all())


def verify(token: str) -> EmailLink:
    """Verify the address of a link; a second visit of the link changes nothing.

    The link that a change needs beside this one is sent to the former address instead. Raises `Invalid` for a forged,
    expired or outdated link, `Conflict` when another account has the address, and `TooManyRequests`.
    """
    claims = _read_claims(token)
    link = _open(claims, User.objects.all())
    if link.needs_former:
        mails.queue_link(KIND, link.user.email, claims={**claims, "proven": True})
        return link
    with transaction.atomic():
        user, address, _ = _open(claims, User.objects.select_for_update(no_key=True))
        if user.email == address and user.email_verified_at:
            return link
        former = {"former": user.email} if user.has_verified_email else {}
        user.email, user.email_verified_at = address, timezone.now()
        _take_from_others(user)
        try:
            with transaction.atomic():
                user.save(update_fields=["email", "email_verified_at"])
        except IntegrityError as error:
            raise Conflict("This address belongs to another account meanwhile.", code="email_taken") from error
        audit.record(user, audit.Action.USER_VERIFY_EMAIL, user, email=user.email, **former)
    return link


def _read_claims(token: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = signing.loads(token, salt=SALT, max_age=LIFETIME)
    except signing.BadSignature as error:
        raise Invalid(LINK_ENDED, code="link_invalid") from error
    return claims


def _open(claims: dict[str, Any], users: UserQuerySet) -> EmailLink:
    """Return the link of these claims, while the account is as it was; raises `Invalid`."""
    is_change = "pk" in claims
    user = (users.filter(pk=claims["pk"]) if is_change else users.named(claims["user"])).first()
    if user is None:
        raise Invalid(LINK_ENDED, code="link_invalid")
    is_done = user.email == claims["email"]
    if not is_done and not (is_change and (user.email, _verified_since(user)) == (claims["former"], claims["since"])):
        raise Invalid(LINK_ENDED, code="link_invalid")
    return EmailLink(user, claims["email"], not is_done and user.has_verified_email and "proven" not in claims)


def _take_from_others(user: User) -> None:
    """Remove the address that the user has just proven from accounts that were never asked to prove it.

    Accounts that were asked keep it: without it, they could be used.
    """
    others = User.objects.with_email(user.email).filter(email_verified_at=None, verification_sent_at=None)
    for other in others.exclude(pk=user.pk):
        User.objects.filter(pk=other.pk).update(email="")
        audit.record(user, audit.Action.USER_CHANGE_EMAIL, other, former=other.email, email="", proven_by=user.username)


def _verified_since(user: User) -> str:
    return user.email_verified_at.isoformat() if user.email_verified_at else ""


@outbox.mail_kind(KIND, "mail to verify an address")
def write_link(entry: OutboxEntry) -> Mail | None:
    """Write the mail with a link that verifies the address, or with one that allows the change to a new one."""
    claims = entry.arguments["claims"]
    try:
        user, address, _ = _open(claims, User.objects.all())
    except Invalid:
        return None  # the account has changed meanwhile
    link = f"{settings.PUBLIC_URL}/v1/user/email/verify/{signing.dumps(claims, salt=SALT)}"
    context: dict[str, Any] = {"username": user.username, "link": link, "days": LIFETIME.days, "new_address": address}
    if "proven" in claims:
        return mails.write("Allow the change of your e-mail address", "mail/allow_new_email.txt", **context)
    return mails.write("Verify your e-mail address", "mail/verify.txt", **context)
