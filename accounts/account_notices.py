"""Mails about one's own account: tokens, sign-ins from new places, and what concerns its security."""

import ipaddress
from datetime import timedelta
from typing import Any

from django.dispatch import receiver

from accounts.models import Credential, User, UserQuerySet
from accounts.notification_choices import label_of
from accounts.notifications import Topic, add_topic, notify, on, queue, with_address
from accounts.signals import token_ending
from registry_site import mail, outbox
from registry_site.audit import Action
from registry_site.event_sentences import sentence_of
from registry_site.models import AuditEvent, OutboxEntry

END_KIND = "token_ending"  # in the outbox
OWN = "You get this mail because it is about your account."
MEMORY = timedelta(days=90)
MAX_REMEMBERED = 1000  # sign-ins that are compared; a program may sign in for each of its jobs
NETWORK_BITS = {4: 24, 6: 48}

TOKENS = add_topic(
    Topic(
        "token_made",
        "a token or an app key for your account was made:",
        "If it was not you, revoke it, change your password, and end all other sessions:",
        "/account/tokens",
        OWN,
        choice="tokens_made",
    )
)
ENDING = add_topic(
    Topic(
        "token_ending",
        "these tokens of your account end within a week:",
        "Make new ones in time:",
        "/account/tokens",
        OWN,
        choice="tokens_ending",
    )
)
SIGN_INS = add_topic(
    Topic(
        "new_sign_in",
        "somebody signed in to your account from a network or with a program that is new to it:",
        "If it was not you, change your password, and end all other sessions:",
        "/account/sessions",
        OWN,
        choice="new_sign_ins",
    )
)
SECURITY = add_topic(
    Topic(
        "account",
        "your account was changed:",
        "If it was not you, ask the operator of the registry at once, and look at your account:",
        "/account",
        OWN,
    )
)


def account_of(event: AuditEvent) -> UserQuerySet:
    """Return the account that an event is about, as a query."""
    users: UserQuerySet = User.objects.filter(pk=event.object_id)
    return users


def line_of(event: AuditEvent) -> str:
    """Return what happened, when, and by whom; the address only of the account's own actions."""
    by = "" if event.actor_id == event.object_id else f" By {event.actor_name}."
    origin = f", from {event.ip_address}" if event.actor_id == event.object_id and event.ip_address else ""
    return f"{sentence_of(event)}{by} {event.at:%Y-%m-%d %H:%M} UTC{origin}"


@on(Action.TOKEN_ISSUE, Action.APP_KEY_ISSUE)
def tell_of_token(event: AuditEvent) -> None:
    notify(TOKENS, account_of(event), "A token for your account was made", line_of(event))


@receiver(token_ending)
def queue_end(token: Credential, **kwargs: Any) -> None:
    if mail.is_configured():
        outbox.add(END_KIND, token=token.pk)


@outbox.work_kind(END_KIND, "job: notice of a token that ends")
def tell_of_end(entry: OutboxEntry) -> None:
    token = Credential.objects.live().filter(pk=entry.arguments["token"]).first()
    if token is not None:
        line = f"{token.name}: {token.expires_at:%Y-%m-%d %H:%M} UTC"
        notify(ENDING, User.objects.filter(pk=token.user_id), "A token of your account ends soon", line)


@on(Action.USER_LOG_IN)
def tell_of_sign_in(event: AuditEvent) -> None:
    if is_from_new_place(event):
        client = event.detail.get("client") or "an unknown program"
        line = f"{line_of(event)}, with {client}"
        notify(SIGN_INS, account_of(event), "A sign-in from a new place", line)


def is_from_new_place(event: AuditEvent) -> bool:
    """Tell whether a sign-in is from a network or a program that none of the last 90 days was from; never the first."""
    earlier = AuditEvent.objects.filter(actor=event.actor_id, action=event.action, pk__lt=event.pk)
    if not earlier.exists():
        return False
    recent = earlier.filter(at__gt=event.at - MEMORY).order_by("-at")[:MAX_REMEMBERED]
    return not any(is_same_place(event, former) for former in recent.only("ip_address", "detail"))


def is_same_place(event: AuditEvent, former: AuditEvent) -> bool:
    # Sign-ins of before programs were recorded are compared by their networks alone.
    is_same_client = former.detail.get("client", event.detail.get("client")) == event.detail.get("client")
    return is_same_client and network_of(event.ip_address) == network_of(former.ip_address)


def network_of(address: str | None) -> str:
    if not address:
        return ""
    ip = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((ip, NETWORK_BITS[ip.version]), strict=False))


@on(Action.USER_CHANGE_EMAIL, Action.USER_VERIFY_EMAIL)
def tell_of_address(event: AuditEvent) -> None:
    """Tell both addresses of a change; a first address is no change."""
    former, user = event.detail.get("former"), account_of(event).first()
    # An address that another account has proven was never proven by this one.
    if former and user is not None and "proven_by" not in event.detail:
        addresses = {former, event.detail["email"]} - {""}
        queue(SECURITY, dict.fromkeys(addresses, user), "Your e-mail address was changed", line_of(event))


@on(Action.USER_CHANGE_NOTIFICATIONS)
def tell_of_choices(event: AuditEvent) -> None:
    """Tell which mails were switched off, for who did that may be a stranger who wants to act unseen."""
    labels = [label_of(name) for name, is_on in event.detail.items() if is_on is False]
    if labels:
        line = f"{line_of(event)}; switched off: {', '.join(labels)}"
        notify(SECURITY, account_of(event), "Mails to you were switched off", line)


@on(Action.USER_CLOSE)
def tell_of_closing(event: AuditEvent) -> None:
    users = {user.email: user for user in with_address(account_of(event))}
    queue(SECURITY, users, "Your account is closed", line_of(event))


SUBJECTS: dict[str, str] = {
    Action.USER_CHANGE_PASSWORD: "Your password was changed",
    Action.IDENTITY_LINK: "Another way to sign in to your account",
    Action.IDENTITY_UNLINK: "A way to sign in to your account was removed",
    Action.SECOND_FACTOR_ADD: "A second factor was added to your account",
    Action.SECOND_FACTOR_REMOVE: "A second factor was taken off your account",
    Action.SECOND_FACTOR_RESET: "The second factor of your account was taken off",
    Action.SECOND_FACTOR_MAKE_CODES: "New recovery codes were made for your account",
    Action.SECOND_FACTOR_USE_CODE: "A recovery code of your account was used",
}


@on(*SUBJECTS)
def tell_of_security(event: AuditEvent) -> None:
    if event.detail.get("first"):
        return  # the codes that come with a factor: the mail about that one is enough
    notify(SECURITY, account_of(event), SUBJECTS[event.action], line_of(event))
