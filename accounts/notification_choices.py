"""Which mails a user wants: the choices, and the links in mails that switch a kind off."""

from typing import Any, NamedTuple

from django.conf import settings
from django.core import signing
from django.db import transaction

from accounts.models import NotificationChoices, User
from accounts.principals import Principal
from accounts.scopes import Scope
from registry_site import audit
from registry_site.errors import Invalid

SALT = "switch a kind of mails off"
LINK_ENDED = "This link is not whole. Sign in, and switch the mails off at /account/notifications."


def choices_of(user: User) -> NotificationChoices:
    """Return the choices of a user; all mails are wanted until the first change."""
    return NotificationChoices.objects.filter(user=user).first() or NotificationChoices(user=user)


def label_of(choice: str) -> str:
    """Return what the mails of a choice are about."""
    field: Any = NotificationChoices._meta.get_field(choice)
    return str(field.verbose_name)


def change_choices(principal: Principal, **choices: bool) -> None:
    """Change which mails the principal gets, by the names of the fields. Raises `PermissionDenied`."""
    principal.require(Scope.ACCOUNT)
    _store(principal.user, choices)


def unsubscribe_headers(user: User, choice: str) -> dict[str, str]:
    """Return the headers by which mail programs show a button that switches such mails off (RFC 8058)."""
    token = signing.dumps({"user": user.pk, "choice": choice}, salt=SALT)
    return {
        "List-Unsubscribe": f"<{settings.PUBLIC_URL}/unsubscribe/{token}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


class MailLink(NamedTuple):
    """A link that switches a kind of mails off."""

    user: User
    choice: str

    @property
    def label(self) -> str:
        return label_of(self.choice)


def read_link(token: str) -> MailLink:
    """Return what a link is for, and change nothing; raises `Invalid`."""
    try:
        claims = signing.loads(token, salt=SALT)
    except signing.BadSignature as error:
        raise Invalid(LINK_ENDED, code="link_invalid") from error
    user = User.objects.filter(pk=claims["user"]).first()
    if user is None:
        raise Invalid(LINK_ENDED, code="link_invalid")
    return MailLink(user, claims["choice"])


def unsubscribe(token: str) -> MailLink:
    """Switch off the mails that a link is for; raises `Invalid`."""
    link = read_link(token)
    _store(link.user, {link.choice: False}, by="a link")
    return link


def _store(user: User, choices: dict[str, bool], **detail: str) -> None:
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)  # so that of two first changes none fails
        row = choices_of(user)
        changed = {name: value for name, value in choices.items() if getattr(row, name) != value}
        if changed:
            NotificationChoices.objects.update_or_create(user=user, defaults=changed)
            audit.record(user, audit.Action.USER_CHANGE_NOTIFICATIONS, user, **changed, **detail)
