"""Lost passwords: links in mails, by which the owner of an account chooses a new one.

A link is signed. It ends after an hour, with the password that it replaces, and with the next sign-in of a browser. No
row stores it.
"""

from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction

from accounts import email_verification, emails, mails, roles
from accounts.models import User, UserQuerySet
from accounts.passwords import login_throttle
from accounts.passwords.change import encode_password, store_password
from registry_site import audit, outbox
from registry_site.encoding import token_digest
from registry_site.errors import Conflict, Invalid, PermissionDenied, TooManyRequests
from registry_site.http import client_address
from registry_site.logs import request_id
from registry_site.models import AuditEvent, OutboxEntry
from registry_site.outbox import Mail
from registry_site.rate_limits import RateLimit

VISITOR = "visitor"  # the actor of events: whoever asks for a link has proven nothing
LINK_ENDED = "This link has ended, was used, or is not whole. Ask for another one."
REQUEST_KIND, LINK_KIND = "accounts.lost_password", "accounts.reset_password"
HOUR = timedelta(hours=1)
NETWORK_LIMIT = RateLimit(
    "password-resets", 20, HOUR, "Too many links were asked for from your network; wait {seconds} seconds.", True
)
ADDRESS_LIMIT = RateLimit(
    "password-resets-of-one",
    5,
    HOUR,
    "Five links were asked for with this e-mail address. Follow the last one, or wait {seconds} seconds.",
    True,
)
ACCOUNT_LIMIT = RateLimit("password-resets-of-account", 5, HOUR, "Too many links for this account.")


class LinkTokens(PasswordResetTokenGenerator):
    """The signed part of a link, over the password's hash, the address and the last sign-in."""

    key_salt = "accounts.passwords.reset"


link_tokens = LinkTokens()


def request_link(address: str) -> None:
    """Let a link be sent to the account of this address, if there is one: the answer and its time tell nothing of that.

    The account is looked for when the outbox is worked off.

    Raises `Invalid` for what is no address, `TooManyRequests`, and `PermissionDenied` where passwords are good nowhere.
    """
    if not settings.PASSWORD_LOGIN:
        raise PermissionDenied("Accounts of this registry have no passwords.")
    address = emails.normalize(address.strip())
    NETWORK_LIMIT.count(client_address.client_network())
    ADDRESS_LIMIT.count(token_digest(emails.mailbox_of(address)))
    outbox.add(REQUEST_KIND, address, ip_address=client_address.client_ip(), request_id=request_id.get())


@outbox.work_kind(REQUEST_KIND, "job: link for a lost password")
def send_link(entry: OutboxEntry) -> None:
    """Send a link to the account of an address; to one that waits for its verification, that link first.

    Nothing is sent to an account that must not be used, and to one that was sent several within an hour.
    """
    user: User | None = User.objects.with_email(entry.recipient).first()
    if user is None or not User.objects.in_good_standing().filter(pk=user.pk).exists():
        return
    if email_verification.is_missing(user):
        email_verification.resend(user)
        return
    action = audit.Action.USER_ASK_FOR_PASSWORD
    events = AuditEvent.objects.filter(object_type=User._meta.label_lower, object_id=user.pk, action=action)
    with suppress(TooManyRequests), transaction.atomic():
        ACCOUNT_LIMIT.check_rows(events)
        mails.queue_link(LINK_KIND, user.email, user=user.pk)
        event = audit.new_event(VISITOR, action, user)
        event.ip_address, event.request_id = entry.arguments["ip_address"], entry.arguments["request_id"]
        audit.record_all([event])


@outbox.mail_kind(LINK_KIND, "mail with a link for a new password")
def write_link(entry: OutboxEntry) -> Mail | None:
    """Write the mail with a link to choose a new password."""
    user = User.objects.in_good_standing().filter(pk=entry.arguments["user"], email=entry.recipient).first()
    if user is None:
        return None  # the account has changed meanwhile
    minutes = settings.PASSWORD_RESET_TIMEOUT // 60
    link = link_of(user)
    return mails.write("Choose a new password", "mail/reset_password.txt", username=user, link=link, minutes=minutes)


def make_link(user: User, *, actor: User | None) -> str:
    """Return a link by which the password of the account can be changed; `actor` is None for the operator."""
    audit.record(actor, audit.Action.USER_ASK_FOR_PASSWORD, user)
    return link_of(user)


def send_link_as_staff(user: User, *, actor: User) -> bool:
    """Send a link to the address of an account, whose owner chooses a new password; return True.

    Raises `PermissionDenied` where passwords are good nowhere and to staff without rank over the account, `Conflict`
    for an account without an address of its own or that must not be used, and `TooManyRequests`.
    """
    roles.require_may_act_on(actor, user)
    if not settings.PASSWORD_LOGIN:
        raise PermissionDenied("Accounts of this registry have no passwords.")
    if not can_mail_link(user):
        raise Conflict(f"{user} has no verified e-mail address: a link would go nowhere, or to somebody else.")
    if not User.objects.in_good_standing().filter(pk=user.pk).exists():
        raise Conflict(f"{user} is banned or closed, and could not sign in with a new password.")
    action = audit.Action.USER_ASK_FOR_PASSWORD
    events = AuditEvent.objects.filter(object_type=User._meta.label_lower, object_id=user.pk, action=action)
    with transaction.atomic():
        ACCOUNT_LIMIT.check_rows(events)
        mails.queue_link(LINK_KIND, user.email, user=user.pk)
        audit.record(actor, action, user)
    return True


def can_mail_link(user: User) -> bool:
    """Return whether passwords are good here, and the account has an address that is its own."""
    return settings.PASSWORD_LOGIN and bool(user.email) and not email_verification.is_missing(user)


def link_of(user: User) -> str:
    return f"{settings.PUBLIC_URL}/password-reset/{user.pk}-{link_tokens.make_token(user)}"


def read_link(token: str) -> User:
    """Return the account of a link, and change nothing; raises `Invalid` for one that is forged, used or has ended."""
    return _open(token, User.objects.all())


def set_password(token: str, password: str, confirmation: str) -> User:
    """Change the password of a link's account, which ends all its sessions and the link.

    Raises `Invalid` for the link and for the new password.
    """
    user = read_link(token)
    if password != confirmation:
        raise Invalid("The two passwords differ.", code="passwords_differ")
    encoded = encode_password(user, password)
    with transaction.atomic():
        user = _open(token, User.objects.select_for_update(no_key=True))
        store_password(user, password, encoded, actor=user, by="a link")
    login_throttle.forgive(user)
    return user


def _open(token: str, users: UserQuerySet) -> User:
    key, _, signed = token.partition("-")
    is_key = key.isascii() and key.isdigit() and len(key) < 19  # of 64 bits
    user = users.filter(pk=key).first() if is_key and settings.PASSWORD_LOGIN else None
    if user is None or not link_tokens.check_token(user, signed):
        raise Invalid(LINK_ENDED, code="link_invalid")
    return user
